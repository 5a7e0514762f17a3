"""The tests of dead letters run on the in-memory Kafka and on a real one, as the conformance suite does."""

from __future__ import annotations

from tests.cli.support import call, call_here
from tests.support.backends import backend, kafka
from tests.support.dead_letters import given
from tests.support.engine import bench

__all__ = ["backend", "bench", "call", "call_here", "given", "kafka"]
