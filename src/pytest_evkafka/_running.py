"""Runs an app for the lifetime of a fixture."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from evkafka import EVKafkaApp
from evkafka.runtime.backend import current_backend, use_backend
from evkafka.testing import InMemoryKafka
from evkafka.testing.blocking_portal import TaskOwnedContext


@asynccontextmanager
async def running(kafka: InMemoryKafka, app: EVKafkaApp) -> AsyncIterator[None]:
    """Run the app on the in-memory Kafka in one task, although a fixture is set up and torn down in two tasks.

    Producers that the test itself starts also write into the in-memory Kafka.
    """
    owned = TaskOwnedContext(kafka.running(app))
    async with owned:
        backend = owned.context[current_backend]
        assert backend is not None
        with use_backend(backend):
            yield
