"""A client without a broker for the partition queue."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

from evkafka.kafka.producer.batch import PendingRecord
from evkafka.kafka.producer.idempotent_producer import Refusal


@dataclass
class Placed:
    timestamp: int = 0


class Builder:
    """A batch that has room for everything."""

    def __init__(self) -> None:
        self._closed = False

    def append(self, **_: Any) -> Placed:
        return Placed()

    def closed(self) -> bool:
        return self._closed

    def close(self) -> None:
        self._closed = True

    def size(self) -> int:
        return 100


@dataclass
class Sent:
    """A batch that was submitted: how often it was sent, and how it ended."""

    retry_count: int = 0
    future: asyncio.Future[Any] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Client:
    """Replaces a producer, and the sink that has it."""

    def __init__(self) -> None:
        self.sent: list[Sent] = []
        self.retired = False
        self.unfinished = 0
        self.code: int | None = None

    @property
    def newest_producer(self) -> Any:
        return self

    def current_producer(self) -> Any:
        return self

    def replace_producer(self, *_: object) -> None: ...
    def close_producer_if_drained(self, *_: object) -> None: ...

    def reason_nothing_can_be_sent(self) -> str:
        return ""

    def create_builder(self, _: int | None) -> Builder:
        return Builder()

    def submit_batch(self, *_: object) -> Sent:
        self.sent.append(Sent())
        return self.sent[-1]

    def send_full_batches(self) -> None: ...

    def broke_sequence(self, _: object) -> bool:
        return True

    def refusal_of_last_batch(self, *_: object) -> Refusal:
        return Refusal(self.code, "by the test")


def record() -> PendingRecord:
    loop = asyncio.get_running_loop()
    return PendingRecord(loop.create_future(), b"v", None, None, (), "E", 10.0, loop.time() + 10.0)
