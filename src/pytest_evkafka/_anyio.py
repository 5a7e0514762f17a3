"""The async fixtures for anyio's pytest plugin, which runs any async fixture of a test with an anyio backend.

It is imported when a test uses one. `_asyncio.py` has the same fixtures, because pytest-asyncio marks the functions.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from evkafka import EVKafkaApp
from evkafka.testing import AsyncTestClient, InMemoryKafka
from pytest_evkafka._running import running


@pytest.fixture
async def _evkafka_client_anyio(evkafka_app: EVKafkaApp) -> AsyncIterator[AsyncTestClient]:
    async with AsyncTestClient(evkafka_app) as client:
        yield client


@pytest.fixture
async def _evkafka_memory_anyio(evkafka_app: EVKafkaApp) -> AsyncIterator[InMemoryKafka]:
    async with InMemoryKafka() as kafka, running(kafka, evkafka_app):
        yield kafka
