"""The async fixtures for pytest-asyncio, also in its strict mode. It is imported when a test uses one."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio

from evkafka import EVKafkaApp
from evkafka.testing import AsyncTestClient, InMemoryKafka
from pytest_evkafka._running import running


@pytest_asyncio.fixture
async def _evkafka_client_asyncio(evkafka_app: EVKafkaApp) -> AsyncIterator[AsyncTestClient]:
    async with AsyncTestClient(evkafka_app) as client:
        yield client


@pytest_asyncio.fixture
async def _evkafka_memory_asyncio(evkafka_app: EVKafkaApp) -> AsyncIterator[InMemoryKafka]:
    async with InMemoryKafka() as kafka, running(kafka, evkafka_app):
        yield kafka
