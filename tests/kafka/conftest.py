"""Fixtures for tests of kafka/: the fake cluster, a proxy, records to read, readers that are stopped."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable

import pytest

from tests.support.fake_kafka import fake, fake_cluster, fake_program
from tests.support.kafka_reader import read
from tests.support.proxy import proxy

__all__ = ["fake", "fake_cluster", "fake_program", "proxy", "read"]

Produce = Callable[..., Awaitable[None]]


@pytest.fixture
def name() -> str:
    """A name that no other test has, for a topic or a group."""
    return f"n{uuid.uuid4().hex[:12]}"
