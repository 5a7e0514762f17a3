"""Records that are being sent, and the batches that they are sent in."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from evkafka.exceptions import DeliveryError
from evkafka.kafka.producer.idempotent_producer import IdempotentProducer
from evkafka.records import RecordMetadata, TopicPartition
from evkafka.runtime.delivery_error import delivery_error


@dataclass(slots=True, eq=False)
class PendingRecord:
    """One record whose delivery is not confirmed yet.

    Attributes:
        confirmed: done with the broker's answer.
        timestamp_ms: the record's timestamp, or that of its first place in a batch.
        event_type: for error messages.
        timeout_s: how long it may take until it is confirmed, for error messages.
        deadline_s: the same as a time, by the loop's clock.
        added_to_batch: done when it has a place in a batch; None if it had one at once.
    """

    confirmed: asyncio.Future[RecordMetadata]
    value: bytes | None
    key: bytes | None
    timestamp_ms: int | None
    headers: Sequence[tuple[str, bytes | None]]
    event_type: str | None
    timeout_s: float
    deadline_s: float
    added_to_batch: asyncio.Future[None] | None = None

    def wake_caller_waiting_for_space(self) -> None:
        """Let the caller that waits until the record is in a batch continue."""
        if self.added_to_batch is not None and not self.added_to_batch.done():
            self.added_to_batch.set_result(None)

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
            error = delivery_error(
                partition.topic,
                self.event_type,
                why,
                may_have_been_written=may_have_been_written,
                partition=partition.partition,
                kind=kind,
            )
            error.__cause__ = cause
            self.confirmed.set_exception(error)
        self.wake_caller_waiting_for_space()


@dataclass(slots=True, eq=False)
class Batch:
    """Records that are sent together.

    Attributes:
        tries: how often they were sent before, by other producers.
        sent, producer: aiokafka's batch and the producer it was submitted to; None before that.
    """

    builder: Any
    tries: int = 0
    records: list[PendingRecord] = field(default_factory=list)
    sent: Any = None
    producer: IdempotentProducer | None = None

    def try_to_add_record(self, record: PendingRecord) -> bool:
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
