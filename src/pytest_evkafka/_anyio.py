"""The async fixtures, as anyio's plugin runs them: any async fixture of a test that has an anyio backend.

Imported when a test asks for one. `_asyncio.py` has the same once more, for pytest-asyncio marks the functions as its.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from evkafka import EVKafkaApp
from evkafka.testing import AsyncTestClient, InMemoryKafka
from pytest_evkafka._running import running


@pytest.fixture
async def _evkafka_client_anyio(evkafka_app: EVKafkaApp) -> AsyncIterator[AsyncTestClient]:
    async with AsyncTestClient(evkafka_app) as opened:
        yield opened


@pytest.fixture
async def _evkafka_memory_anyio(evkafka_app: EVKafkaApp) -> AsyncIterator[InMemoryKafka]:
    async with InMemoryKafka() as kafka, running(kafka, evkafka_app):
        yield kafka
