"""Records that are being sent, and the batches that they are sent in."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from evkafka.exceptions import DeliveryError
from evkafka.kafka.producer.idempotent_producer import IdempotentProducer
from evkafka.records import RecordMetadata, TopicPartition


class PendingRecord:
    """One record whose delivery is not confirmed yet.

    Attributes:
        confirmed: done with the broker's answer.
        event_type: for error messages.
        timestamp_ms: the record's timestamp, or that of its first place in a batch.
        deadline_s: when it must have been confirmed, by the loop's clock.
        timeout_s: the same as a duration, for error messages.
        room: done when it has a place in a batch; None if it had one at once.
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

    def end_waiting(self) -> None:
        """Wake the sender if it waits for room."""
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
        """End it with an error, unless it is done already."""
        if not self.confirmed.done():
            where = f"{partition.topic}[{partition.partition}]"
            error = delivery_error(why, partition.topic, where, self.event_type, may_have_been_written, kind=kind)
            error.__cause__ = cause
            self.confirmed.set_exception(error)
        self.end_waiting()


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
    """Records that are sent together.

    Attributes:
        sent, producer: aiokafka's batch and the producer it was submitted to; None before that.
        tries: how often it was sent before, by other producers.
    """

    __slots__ = ("builder", "producer", "records", "sent", "tries")

    def __init__(self, builder: Any, *, tries: int = 0) -> None:
        self.builder = builder
        self.records: list[PendingRecord] = []
        self.sent: Any = None
        self.producer: IdempotentProducer | None = None
        self.tries = tries

    def add(self, record: PendingRecord) -> bool:
        """Add a record. False if the batch is full; then it takes no other record either."""
        placed = self.builder.append(
            timestamp=record.timestamp_ms, key=record.key, value=record.value, headers=record.headers
        )
        if placed is None:
            return False
        record.timestamp_ms = placed.timestamp
        self.records.append(record)
        return True

    def unfinished(self) -> list[PendingRecord]:
        """The records that are not done."""
        return [record for record in self.records if not record.confirmed.done()]
