"""An app that runs for as long as a fixture lasts."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from evkafka import EVKafkaApp
from evkafka.runtime.backend import current_backend, use_backend
from evkafka.testing import InMemoryKafka
from evkafka.testing.blocking_portal import Held


@asynccontextmanager
async def running(kafka: InMemoryKafka, app: EVKafkaApp) -> AsyncIterator[None]:
    """Run the app on the in-memory Kafka: in one task, though a fixture begins and ends in two.

    Producers that the test itself starts write into the in-memory Kafka too.
    """
    life = Held(kafka.running(app))
    async with life:
        backend = life.context[current_backend]
        assert backend is not None
        with use_backend(backend):
            yield
