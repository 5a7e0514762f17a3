"""The engine under test on the in-memory Kafka, and endpoints that wait until a test opens them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest

from evkafka import EVKafkaApp, Handler
from evkafka.records import TopicPartition
from evkafka.runtime.consumer import Consumer
from evkafka.testing import InMemoryKafka

TOPIC, GROUP = "t", "g"


class Bench:
    """An in-memory Kafka with one topic, and the app under test."""

    def __init__(self, kafka: InMemoryKafka) -> None:
        self.kafka = kafka
        self.app = EVKafkaApp()

    def running(self, handler: Any, **keys: Any) -> AbstractAsyncContextManager[object]:
        """Run one consumer with this handler; `keys` go into its config."""
        config: dict[str, Any] = {
            "topics": [TOPIC],
            "group_id": GROUP,
            "auto_offset_reset": "earliest",
            "auto_commit_interval_ms": 100,
            "max_endpoint_exec_time_ms": 3_600_000,  # the virtual clock must not time out a blocked endpoint
            **keys,
        }
        self.app.add_consumer(config, handler, "it")  # type: ignore[arg-type]
        return self.kafka.running(self.app)

    @property
    def consumer(self) -> Consumer:
        assert self.app.service is not None
        return self.app.service.consumers["it"]

    async def send(self, *values: bytes, key: str | None = None, partition: int = 0, event_type: str = "E") -> None:
        for value in values:
            await self.kafka.send(TOPIC, value, event_type, key=key, partition=partition)

    async def until(self, predicate: Callable[[], object], *, ms: float = 60_000) -> None:
        """Advance the virtual clock, 10 ms at a time, until the predicate is true."""
        for _ in range(int(ms / 10)):
            await asyncio.sleep(0)
            if predicate():
                return
            await self.kafka.advance(ms=10)
        raise AssertionError(f"did not come about within {ms} ms of the virtual clock")

    def committed(self, partition: int = 0) -> int | None:
        return self.kafka.committed(GROUP, TOPIC, partition)


class Gates:
    """An endpoint that waits until the test opens its record's gate; `begun` and `ended` are in order."""

    def __init__(self) -> None:
        self.begun: list[bytes] = []
        self.ended: list[bytes] = []
        self._events: dict[bytes, asyncio.Event] = {}
        self._all_open = False

    async def __call__(self, value: bytes) -> None:
        self.begun.append(value)
        if not self._all_open:
            await self._events.setdefault(value, asyncio.Event()).wait()
        self.ended.append(value)

    def open(self, *values: bytes) -> None:
        for value in values:
            self._events.setdefault(value, asyncio.Event()).set()

    def open_all(self) -> None:
        self._all_open = True
        for event in self._events.values():
            event.set()

    @property
    def running(self) -> set[bytes]:
        return set(self.begun) - set(self.ended)


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    async with InMemoryKafka(seed=1, partitions=2) as kafka:
        kafka.create_topic(TOPIC, 2)
        yield Bench(kafka)


@pytest.fixture
def gates() -> Gates:
    return Gates()


@pytest.fixture
def handler(gates: Gates) -> Handler:
    """A handler with one endpoint, for type E, which waits at its gate."""
    handler = Handler()
    handler.event("E")(gates.__call__)
    return handler


class SourceAt:
    """A source with this position that records its seeks."""

    def __init__(self, position: int) -> None:
        self.sought: list[tuple[TopicPartition, int]] = []
        self._position = position

    def position(self, partition: TopicPartition) -> int:
        return self._position

    def last_commit_before_assignment(self, partition: TopicPartition) -> None:
        return None

    def seek(self, partition: TopicPartition, offset: int) -> None:
        self.sought.append((partition, offset))
