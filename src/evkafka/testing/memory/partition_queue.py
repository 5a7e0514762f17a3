"""The way out to one partition: records in order, each with its deadline."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from evkafka.exceptions import DeliveryError, EVKafkaError, RecordTooLarge
from evkafka.records import RecordMetadata, TopicPartition
from evkafka.runtime.clock import sleep
from evkafka.runtime.ports import TimerHandle
from evkafka.testing.memory.topics import TooLarge

if TYPE_CHECKING:
    from evkafka.testing.memory.cluster import MemoryCluster

MOST_IN_A_BATCH = 500


@dataclass(slots=True, eq=False)
class PendingRecord:
    """One record on its way.

    Attributes:
        task: who sends it; the virtual clock goes on while a task of an endpoint waits for nothing but this.
        gone: it has left the client, and may have been written.
        over: it has failed or was taken back: it is not written any more.
    """

    tp: TopicPartition
    value: bytes | None
    key: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]
    timestamp_ms: int
    event_type: str | None
    within_s: float
    answer: asyncio.Future[RecordMetadata]
    task: asyncio.Task[Any] | None = field(default_factory=asyncio.current_task)
    gone: bool = False
    over: bool = False
    timer: TimerHandle | None = None

    def confirm(self, offset: int) -> None:
        self._end()
        if not self.answer.done():
            self.answer.set_result(
                RecordMetadata(self.tp.topic, self.tp.partition, offset, self.timestamp_ms, 0, 0 if offset >= 0 else -1)
            )

    def fail(self, why: str, *, may_have_been_written: bool, cause: Exception | None = None) -> None:
        self._end()
        if not self.answer.done():
            kind = RecordTooLarge if isinstance(cause, TooLarge) else DeliveryError
            self.answer.set_exception(
                undelivered(self.event_type, self.tp.topic, why, may_have_been_written=may_have_been_written, kind=kind)
            )
            if cause is not None:
                error = self.answer.exception()
                assert error is not None
                error.__cause__ = cause

    def take_back(self) -> None:
        self._end()
        self.answer.cancel()

    def _end(self) -> None:
        self.over = True
        if self.timer is not None:
            self.timer.cancel()


class PartitionQueue:
    """One partition's, of one producer: no record overtakes another, and one whose answer is out holds up the next."""

    def __init__(self, kafka: MemoryCluster, tp: TopicPartition) -> None:
        self._kafka = kafka
        self._tp = tp
        self._queue: deque[PendingRecord] = deque()
        self._out: list[PendingRecord] = []
        self._task: asyncio.Task[None] | None = None

    def put(self, record: PendingRecord) -> None:
        record.timer = self._kafka.clock.call_later(record.within_s, lambda: self._late(record))
        self._queue.append(record)
        if self._task is None or self._task.done():
            self._task = self._kafka.background(self._run())

    def _late(self, record: PendingRecord) -> None:
        away = ", for the in-memory Kafka is away" if self._kafka.away else ""
        record.fail(f"no answer came within {record.within_s:g} s{away}", may_have_been_written=record.gone)

    async def _run(self) -> None:
        kafka = self._kafka
        while self._queue:
            await kafka.until_back()
            self._out = [self._queue.popleft() for _ in range(min(len(self._queue), MOST_IN_A_BATCH))]
            for record in self._out:
                record.gone = not record.over
            latency_s = kafka.faults.take_s(kafka.faults.produce_s)
            if latency_s:
                await sleep(kafka.clock, latency_s / 2)
            await kafka.until_back()  # a request that an outage swallows is sent again after it
            written = [(record, offset) for record in self._out if (offset := await self._write(record)) is not None]
            self._out = []
            await kafka.hop()
            if latency_s:
                await sleep(kafka.clock, latency_s / 2)
            for record, offset in written:
                record.confirm(offset)

    async def _write(self, record: PendingRecord) -> int | None:
        """The record's offset; None where nothing is to be confirmed."""
        if record.over or record.answer.cancelled():
            return None
        match self._kafka.faults.next_send(self._tp.topic):
            case "refused":
                record.fail("refused by the test", may_have_been_written=False)
                return None
            case "timed out, written":
                self._append(record)
                await self._without_an_answer(record)
                return None
            case "timed out, lost":
                await self._without_an_answer(record)
                return None
        try:
            return self._append(record)
        except EVKafkaError as error:
            record.fail(str(error), may_have_been_written=False, cause=error)
            return None

    def _append(self, record: PendingRecord) -> int:
        return self._kafka.append(
            self._tp,
            key=record.key,
            value=record.value,
            headers=record.headers,
            timestamp_ms=record.timestamp_ms,
            by_app=True,
        ).offset

    @staticmethod
    async def _without_an_answer(record: PendingRecord) -> None:
        """What became of it must be known before a later record may follow, and it never will: its time must end."""
        await asyncio.wait({record.answer})

    def crash(self, *, arrives: bool) -> None:
        """The process is gone. What is under way still arrives, or does not; what is queued is lost."""
        if self._task is not None:
            self._task.cancel()
        for record in self._out:
            if arrives and not record.over:
                self._append(record)
        for record in (*self._out, *self._queue):
            record.take_back()
        self._out = []
        self._queue.clear()


def undelivered(
    event_type: str | None,
    topic: str,
    why: str,
    *,
    may_have_been_written: bool,
    kind: type[DeliveryError] = DeliveryError,
) -> DeliveryError:
    written = "it may have been written all the same" if may_have_been_written else "it was not written"
    return kind(
        f"event {event_type!r} to topic {topic!r} was not delivered: {why}; {written}",
        topic=topic,
        event_type=event_type,
        may_have_been_written=may_have_been_written,
    )
