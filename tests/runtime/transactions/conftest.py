"""An exactly-once relay on the in-memory Kafka."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest

from evkafka import EVKafkaApp, Handler, Middleware, Request, Sender
from evkafka.sender import OutboundEndpoint
from evkafka.testing import InMemoryKafka

IN, OUT, GROUP = "in", "out", "g"

WARM = b"warm"

Then = Callable[[bytes, Request], Awaitable[object]]


async def nothing(value: bytes, request: Request) -> None:
    """An endpoint that does nothing more."""


async def fail(value: bytes, request: Request) -> None:
    """An endpoint that fails after it has sent."""
    raise ValueError(value)


class Relay:
    """An app whose endpoint sends each value on, and then does what the test says.

    Attributes:
        handled: the values of all attempts, in order.
        middleware: that of the consumer; None: the usual one.
    """

    def __init__(self, kafka: InMemoryKafka) -> None:
        self.kafka = kafka
        self.handled: list[bytes] = []
        self.then: Then = nothing
        self.middleware: list[Middleware] | None = None
        self.app = EVKafkaApp()
        self.handler = Handler()
        self.sender = Sender()
        self.send_out = self.declare("Out", OUT)

        @self.handler.event("E")
        async def relay(value: bytes, request: Request) -> object:
            self.handled.append(value)
            await self.send_out(value, key=request.key)
            return await self.then(value, request)

    def declare(self, event_type: str, topic: str) -> OutboundEndpoint[bytes]:
        @self.sender.event(event_type, topic=topic)
        async def send(value: bytes) -> None: ...

        return send

    def declare_consumer(self, **keys: Any) -> None:
        config: dict[str, Any] = {
            "topics": [IN],
            "group_id": GROUP,
            "auto_offset_reset": "earliest",
            "auto_commit_mode": "exactly-once",
            "max_endpoint_exec_time_ms": 3_600_000,  # the virtual clock must not time out an endpoint that waits
            **keys,
        }
        self.app.add_consumer(config, self.handler, "it", middleware=self.middleware)  # type: ignore[arg-type]

    def running(self, producer: Any = None, **keys: Any) -> AbstractAsyncContextManager[object]:
        """Run it; `keys` go into the consumer's config."""
        self.declare_consumer(**keys)
        self.app.add_producer({**(producer or {})}, self.sender, "sends")
        return self.kafka.running(self.app)

    async def feed(self, *values: bytes, key: str | None = None, partition: int = 0, event_type: str = "E") -> None:
        for value in values:
            await self.kafka.send(IN, value, event_type, key=key, partition=partition)

    async def warm_up(self, *partitions: int) -> None:
        """Handle a record, whose commit comes after that of the assignment's beginning."""
        for partition in partitions or (0,):
            await self.feed(WARM, partition=partition)
        await self.kafka.settle()

    @property
    def out(self) -> list[bytes | None]:
        """What a reader of committed records sees."""
        return [record.value for record in self.kafka.records(OUT)]

    @property
    def written(self) -> list[bytes | None]:
        """What is in the log, records of open and aborted transactions included."""
        return [record.value for record in self.kafka.records(OUT, isolation_level="read_uncommitted")]


@pytest.fixture
async def relay() -> AsyncIterator[Relay]:
    async with InMemoryKafka(seed=1) as kafka:
        kafka.create_topic(IN, 2)
        kafka.create_topic(OUT, 1)
        yield Relay(kafka)
