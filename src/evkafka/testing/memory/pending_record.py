"""One record that a producer has sent, until it is confirmed or has failed."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

from evkafka.exceptions import DeliveryError, RecordTooLarge
from evkafka.records import RecordMetadata, TopicPartition
from evkafka.runtime.delivery_error import delivery_error
from evkafka.runtime.ports import TimerHandle
from evkafka.testing.memory.topics import TooLarge


@dataclass(slots=True, eq=False)
class PendingRecord:
    """A record, from the send to its confirmation.

    Attributes:
        task: the task that sends it; the virtual clock may advance while an endpoint only waits for this.
        in_flight: it has left the client, and may have been written.
        done: it was confirmed, has failed or was cancelled: it is not written any more.
    """

    tp: TopicPartition
    value: bytes | None
    key: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]
    timestamp_ms: int
    event_type: str | None
    timeout_s: float
    answer: asyncio.Future[RecordMetadata]
    task: asyncio.Task[Any] | None = field(default_factory=asyncio.current_task)
    in_flight: bool = False
    done: bool = False
    timer: TimerHandle | None = None

    def confirm(self, offset: int) -> None:
        self._mark_done_and_cancel_timer()
        if not self.answer.done():
            self.answer.set_result(
                RecordMetadata(self.tp.topic, self.tp.partition, offset, self.timestamp_ms, 0, 0 if offset >= 0 else -1)
            )

    def fail(self, why: str, *, may_have_been_written: bool, cause: Exception | None = None) -> None:
        self._mark_done_and_cancel_timer()
        if not self.answer.done():
            kind = RecordTooLarge if isinstance(cause, TooLarge) else DeliveryError
            self.answer.set_exception(
                delivery_error(
                    self.tp.topic, self.event_type, why, may_have_been_written=may_have_been_written, kind=kind
                )
            )
            if cause is not None:
                error = self.answer.exception()
                assert error is not None
                error.__cause__ = cause

    def cancel(self) -> None:
        self._mark_done_and_cancel_timer()
        self.answer.cancel()

    def _mark_done_and_cancel_timer(self) -> None:
        self.done = True
        if self.timer is not None:
            self.timer.cancel()
