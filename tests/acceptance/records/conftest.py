"""What the tests of unusual records share: an app on the real Kafka, and what it handled."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from evkafka import EVKafkaApp, Handler, Request
from evkafka.broker import KafkaBroker
from tests.conformance.backends import RealBackend
from tests.support.waiting import eventually


@pytest.fixture
async def kafka(kafka_broker: KafkaBroker) -> AsyncIterator[RealBackend]:
    backend = RealBackend(kafka_broker.bootstrap_servers)
    yield backend
    await backend.close()


class Handled(Handler):
    """A handler of events "E" that keeps (partition, offset, value) of each record."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[tuple[int, int, bytes]] = []

        @self.event("E")
        async def on_event(value: bytes, request: Request) -> None:
            self.records.append((request.partition, request.offset, value))


@contextlib.asynccontextmanager
async def running(config: dict[str, Any], handler: Handler) -> AsyncIterator[EVKafkaApp]:
    app = EVKafkaApp()
    app.add_consumer(config, handler)  # type: ignore[arg-type]
    async with app.running(on_failure=lambda _: None):
        yield app


async def committed_is(kafka: RealBackend, config: dict[str, Any], topic: str, offset: int, partition: int = 0) -> None:
    async def reached() -> bool:
        assert await kafka.committed(config, topic, partition) == offset
        return True

    await eventually(reached)
