"""Dead letters in tests: failing apps, records and failures, letters in a topic."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest

from evkafka import Handler
from evkafka.config import producer_settings
from evkafka.config.settings import ConnectionSettings
from evkafka.dlq import DeadLetterFilter, DeadLetterTopic
from evkafka.runtime.dead_letters.headers import FailureInfo, Headers
from tests.support.backends import RealBackend
from tests.support.kafka_topics import MakeTopic, read_committed

TO_DLQ = {"max_attempts": 1, "then": "dead_letter"}


def failing(*event_types: str) -> Handler:
    """A handler whose endpoints always fail."""
    handler = Handler()
    for event_type in event_types or ("E",):

        @handler.event(event_type)
        async def on_event(value: bytes) -> None:
            raise ValueError("poison")

    return handler


ID = "billing/orders/2/41"


@dataclass(frozen=True)
class Source:
    """The record that a dead letter is written for."""

    topic: str = "orders"
    partition: int = 2
    offset: int = 41
    timestamp: int = 1_700_000_000_000
    key: bytes | None = b"k"
    value: bytes | None = b"v"
    headers: list[tuple[str, bytes | None]] = field(default_factory=list)


def failure(**changes: object) -> FailureInfo:
    """Why the record is a dead letter; keywords replace the defaults."""
    defaults: dict[str, object] = {
        "group_id": "billing",
        "event_type": "OrderPlaced",
        "attempts": 3,
        "reason": "attempt 3 of 3 failed",
        "error": ValueError("no such order"),
        "failed_at": datetime(2026, 11, 23, 12, 0, tzinfo=UTC),
    }
    return FailureInfo(**{**defaults, **changes})  # type: ignore[arg-type]


FORGED: Headers = [
    ("evkafka-dlq-topic", b"payments"),
    ("evkafka-dlq-partition", b"0"),
    ("evkafka-dlq-offset", b"0"),
    ("evkafka-dlq-id", b"billing/orders/2/42"),
    ("evkafka-dlq-replays", b"1000000"),
    ("evkafka-dlq-unreadable", b"7-7"),
    ("evkafka-dlq-signature", b"00"),
    ("evkafka-dlq-anything", None),
    ("kafka_dlt-original-topic", b"payments"),
]


ALL = DeadLetterFilter()


@dataclass(frozen=True)
class Given:
    """A topic, its dead-letter topic, and the reader of that."""

    source: str
    dead: str
    dead_letters: DeadLetterTopic
    kafka: RealBackend
    connection: ConnectionSettings

    async def write(self, offset: int, *, partition: int = 0, replays: int = 0, event_type: str = "E") -> None:
        story = {
            "topic": self.source,
            "partition": str(partition),
            "offset": str(offset),
            "group": "g",
            "event-type": event_type,
            "error-type": "builtins.ValueError",
            "error-message": f"poison {offset}",
            "error-traceback": "Traceback ...",
            "failed-at": "2026-11-23T12:00:00Z",
            "id": f"g/{self.source}/{partition}/{offset}",
        } | ({"replays": str(replays)} if replays else {})
        headers: list[tuple[str, bytes | None]] = [("x", b"\xff"), ("x", None)]
        headers += [(f"evkafka-dlq-{name}", value.encode()) for name, value in story.items()]
        await self.kafka.send(self.dead, b"value %d" % offset, event_type, key=b"k%d" % offset, headers=headers)

    async def open(self, wanted: DeadLetterFilter = ALL) -> list[int | None]:
        return [letter.offset async for letter, _ in self.dead_letters.read(wanted)]

    async def sent(self, partition: int = 0) -> list[Any]:
        return await read_committed(self.kafka.servers, self.source, partition)


@pytest.fixture
async def given(kafka: RealBackend, topic: MakeTopic) -> Given:
    source = await topic(partitions=2)
    dead = await topic(name=f"{source}.g.dlq")
    connection = producer_settings({"bootstrap_servers": kafka.servers}).connection
    return Given(source, dead, DeadLetterTopic(connection, dead), kafka, connection)
