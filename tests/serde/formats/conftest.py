from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from evkafka.formats import SchemaRegistry
from evkafka.testing import InMemoryRegistry


@pytest.fixture
def server() -> Iterator[InMemoryRegistry]:
    """A registry on a port of its own."""
    with InMemoryRegistry() as server:
        yield server


@pytest.fixture
async def registry(server: InMemoryRegistry) -> AsyncIterator[SchemaRegistry]:
    registry = SchemaRegistry(server.url)
    yield registry
    await registry.close()
