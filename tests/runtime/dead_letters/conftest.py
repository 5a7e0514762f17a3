"""The dead letters' tests run on both Kafkas, as the conformance suite does."""

from __future__ import annotations

from tests.support.backends import backend, kafka
from tests.support.dead_letters import given
from tests.support.engine import bench

__all__ = ["backend", "bench", "given", "kafka"]
