"""Tests of dead letters run on both Kafkas, like the conformance suite."""

from __future__ import annotations

from tests.support.backends import backend, kafka
from tests.support.dead_letters import given
from tests.support.engine import bench

__all__ = ["backend", "bench", "given", "kafka"]
