"""The async fixtures, as pytest-asyncio runs them, in its strict mode too. Imported when a test asks for one."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio

from evkafka import EVKafkaApp
from evkafka.testing import AsyncTestClient, InMemoryKafka
from pytest_evkafka._running import running


@pytest_asyncio.fixture
async def _evkafka_client_asyncio(evkafka_app: EVKafkaApp) -> AsyncIterator[AsyncTestClient]:
    async with AsyncTestClient(evkafka_app) as opened:
        yield opened


@pytest_asyncio.fixture
async def _evkafka_memory_asyncio(evkafka_app: EVKafkaApp) -> AsyncIterator[InMemoryKafka]:
    async with InMemoryKafka() as kafka, running(kafka, evkafka_app):
        yield kafka
