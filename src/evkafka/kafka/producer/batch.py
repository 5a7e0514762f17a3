"""What is on its way out: single records, and the batches that they go out in."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from evkafka.exceptions import DeliveryError
from evkafka.kafka.producer.idempotent_producer import IdempotentProducer
from evkafka.records import RecordMetadata, TopicPartition


class PendingRecord:
    """One record on its way.

    Attributes:
        confirmed: ends with the broker's answer.
        event_type: what errors call it.
        timestamp_ms: its own, or that of its first place in a batch.
        deadline_s: when it must have ended, on the loop's clock.
        timeout_s: the same as a duration, for the error.
        room: done when it has a place in a batch; None where it never had to wait for one.
    """

    __slots__ = (
        "confirmed",
        "deadline_s",
        "event_type",
        "headers",
        "key",
        "room",
        "timeout_s",
        "timestamp_ms",
        "value",
    )

    def __init__(
        self,
        confirmed: asyncio.Future[RecordMetadata],
        value: bytes | None,
        key: bytes | None,
        timestamp_ms: int | None,
        headers: Sequence[tuple[str, bytes | None]],
        event_type: str | None,
        timeout_s: float,
        deadline_s: float,
    ) -> None:
        self.confirmed = confirmed
        self.value = value
        self.key = key
        self.timestamp_ms = timestamp_ms
        self.headers = headers
        self.event_type = event_type
        self.timeout_s = timeout_s
        self.deadline_s = deadline_s
        self.room: asyncio.Future[None] | None = None

    def may_go_on(self) -> None:
        if self.room is not None and not self.room.done():
            self.room.set_result(None)

    def fail(
        self,
        partition: TopicPartition,
        why: str,
        *,
        may_have_been_written: bool,
        cause: BaseException | None = None,
        kind: type[DeliveryError] = DeliveryError,
    ) -> None:
        """End it with an error, unless it has ended."""
        if not self.confirmed.done():
            where = f"{partition.topic}[{partition.partition}]"
            error = delivery_error(why, partition.topic, where, self.event_type, may_have_been_written, kind=kind)
            error.__cause__ = cause
            self.confirmed.set_exception(error)
        self.may_go_on()


def delivery_error(
    why: str,
    topic: str,
    where: str,
    event_type: str | None,
    may_have_been_written: bool,
    *,
    kind: type[DeliveryError] = DeliveryError,
) -> DeliveryError:
    what = f"event {event_type!r}" if event_type is not None else "a record"
    written = "it may have been written" if may_have_been_written else "it was not written"
    return kind(
        f"{what} to {where} was not delivered: {why}; {written}",
        topic=topic,
        event_type=event_type,
        may_have_been_written=may_have_been_written,
    )


class Batch:
    """Records that go out together. `sent` and `generation` are set once the client has it."""

    __slots__ = ("builder", "generation", "records", "sent", "tries")

    def __init__(self, builder: Any, *, tries: int = 0) -> None:
        self.builder = builder
        self.records: list[PendingRecord] = []
        self.sent: Any = None
        self.generation: IdempotentProducer | None = None
        self.tries = tries

    def add(self, record: PendingRecord) -> bool:
        """False where the batch is full; it takes no more then."""
        placed = self.builder.append(
            timestamp=record.timestamp_ms, key=record.key, value=record.value, headers=record.headers
        )
        if placed is None:
            return False
        record.timestamp_ms = placed.timestamp
        self.records.append(record)
        return True

    def alive(self) -> list[PendingRecord]:
        return [record for record in self.records if not record.confirmed.done()]
