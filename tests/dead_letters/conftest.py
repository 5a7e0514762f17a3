"""The dead letters' tests run on both Kafkas, as the conformance suite does."""

from __future__ import annotations

from tests.conformance.conftest import backend
from tests.lanes.conftest import bench
from tests.records.conftest import kafka

__all__ = ["backend", "bench", "kafka"]
