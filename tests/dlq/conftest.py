"""The dead letters' tests run on both Kafkas, as the conformance suite does."""

from __future__ import annotations

from tests.acceptance.records.conftest import kafka
from tests.conformance.conftest import backend
from tests.runtime.lanes.conftest import bench

__all__ = ["backend", "bench", "kafka"]
