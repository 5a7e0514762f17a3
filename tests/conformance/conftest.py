"""Each test of the suite runs twice: on the in-memory Kafka, and on a real one."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.conformance.backends import Backend, MemoryBackend, RealBackend


@pytest.fixture(params=["memory", pytest.param("real", marks=pytest.mark.kafka)])
async def backend(request: pytest.FixtureRequest) -> AsyncIterator[Backend]:
    if request.param == "memory":
        memory = MemoryBackend()
        async with memory.kafka:
            yield memory
    else:
        real = RealBackend(request.getfixturevalue("kafka_broker").bootstrap_servers)
        yield real
        await real.close()
