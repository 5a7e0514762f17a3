"""The way out to one partition: its records in order, from `put` to the broker's answer or their deadline.

At any time the client has at most one batch of the partition (`_given`); the next one is being filled here (`_held`),
and who finds that one full waits for room (`_waiting`). Three things follow, none of which the client gives:

- A record that has not gone out is dropped at its deadline. It will never be written behind the back of a caller who
  was told that it failed, and a handler that tries again during an outage does not pile up copies.
- A record that has gone out keeps its place: the client finds out what became of it before a later one follows.
- A partition changes from one producer to the next between two batches, so that the change cannot break its order.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Protocol

from aiokafka import errors as kafka

from evkafka.exceptions import DeliveryError, RecordRefused, RecordTooLarge
from evkafka.kafka.producer.batch import Batch, PendingRecord
from evkafka.kafka.producer.idempotent_producer import IdempotentProducer, Refusal, gone_out
from evkafka.records import RecordMetadata, TopicPartition

logger = logging.getLogger("evkafka.runtime.kafka")

NEVER = float("inf")

WHOLE, PART = "delivery_timeout_ms", "what was left of the endpoint's own time"

MOST_TRIES = 3
"""How often a batch is sent anew by another producer, after a refusal that was not its own fault."""

INNOCENT = frozenset({2, 45, 47, 59, 90})
"""Codes that say nothing against the batch: it was damaged on its way, or the broker does not know its producer (any
more), its sequence or its epoch. It was not written."""

CONTENT = frozenset({10, 18, 32, 87})
"""Codes that one record can bring upon a whole batch: too large, bad timestamp, refused by the topic's rules."""

TOO_LARGE, BATCH_TOO_LARGE = 10, 18
INVALID_TIMESTAMP, INVALID_RECORD = 32, 87

KINDS: Mapping[int | None, type[DeliveryError]] = {
    TOO_LARGE: RecordTooLarge,
    BATCH_TOO_LARGE: RecordTooLarge,
    INVALID_TIMESTAMP: RecordRefused,
    INVALID_RECORD: RecordRefused,
}
"""Refusals that are told apart; any other is a plain DeliveryError."""

UNANSWERED = frozenset({7, 20})
"""Codes that leave open whether the batch was written."""


class Producers(Protocol):
    """What an outlet needs of the sink."""

    @property
    def newest(self) -> IdempotentProducer:
        """Makes builders; may have been retired."""

    def current(self) -> IdempotentProducer | None:
        """The one that takes batches; None while it is being replaced."""

    def broken(self, generation: IdempotentProducer, why: Refusal) -> None:
        """This producer's sequence is broken: replace it."""

    def settled(self, generation: IdempotentProducer) -> None:
        """A batch of this producer is settled or was taken back."""

    def trouble(self) -> str:
        """What stands in the way of sending at the moment, for an error."""


class PartitionQueue:
    """One partition's way out. Everything happens on the loop, in single steps: nothing in here awaits."""

    def __init__(self, partition: TopicPartition, producers: Producers, *, standard_timeout_s: float) -> None:
        self.partition = partition
        self._producers = producers
        self._standard_timeout_s = standard_timeout_s
        self._loop = asyncio.get_running_loop()
        self._given: Batch | None = None
        self._held: Batch | None = None
        self._again: deque[tuple[list[PendingRecord], int]] = deque()  # go out first, each as a batch; with their tries
        self._waiting: deque[PendingRecord] = deque()
        self._most_bytes: int | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at_s = NEVER

    # ------------------------------------------------------------------ in

    def put(self, record: PendingRecord) -> None:
        """Take a record. Where it gets a `room`, the next one should wait for that."""
        if self._waiting or not (self._join_given(record) or self._hold(record)):
            record.room = self._loop.create_future()
            self._waiting.append(record)
        if self._given is None:
            self.give()
        if record.deadline_s < self._timer_at_s:
            self._wake_at(record.deadline_s)

    def _join_given(self, record: PendingRecord) -> bool:
        """Into the batch that the client has and has not sent yet; not past a batch that waits here."""
        given = self._given
        if given is None or self._held is not None or self._again or gone_out(given.sent):
            return False
        assert given.generation is not None
        if given.generation.retired or given.tries or given.builder.closed():
            return False
        if given.add(record):
            return True
        given.generation.wake()  # it is full: no use in lingering
        return False

    def _hold(self, record: PendingRecord) -> bool:
        if self._held is None:
            self._held = Batch(self._builder())
        return not self._held.builder.closed() and self._held.add(record)

    def _builder(self) -> Any:
        return self._producers.newest.builder(self._most_bytes)

    # ------------------------------------------------------------------ out

    def give(self) -> None:
        """Give the client the next batch, unless it has one of ours or there is no producer to take it."""
        generation = self._producers.current()
        if self._given is not None or generation is None:
            return
        batch = self._next_batch()
        if batch is None:
            return
        batch.generation = generation
        batch.sent = generation.submit(self.partition, batch.builder)
        batch.sent.future.add_done_callback(partial(self._settled, batch))
        self._given = batch
        self._fill_held()

    def _next_batch(self) -> Batch | None:
        while self._again:
            records, tries = self._again.popleft()
            if batch := self._rebuilt(records, tries):
                return batch
        while self._held is not None:
            batch, self._held = self._held, None
            if len(batch.alive()) == len(batch.records):
                return batch
            if rebuilt := self._rebuilt(batch.records, 0):
                return rebuilt
            self._fill_held()
        return None

    def _rebuilt(self, records: Iterable[PendingRecord], tries: int) -> Batch | None:
        """A batch of those that have not ended; None where all have. Those that do not fit any more come next."""
        alive = [record for record in records if not record.confirmed.done()]
        if not alive:
            return None
        batch = Batch(self._builder(), tries=tries)
        for index, record in enumerate(alive):
            if not batch.add(record):
                self._again.appendleft((alive[index:], tries))
                break
        batch.builder.close()
        return batch

    def _fill_held(self) -> None:
        """Room for those that wait, in their order."""
        while self._waiting:
            record = self._waiting[0]
            if not record.confirmed.done() and not self._hold(record):
                break
            self._waiting.popleft()
            record.may_go_on()

    # ------------------------------------------------------------------ answers

    def _settled(self, batch: Batch, answer: asyncio.Future[Any]) -> None:
        if batch is not self._given:
            return  # it was taken back, or given up at the stop
        self._given = None
        assert batch.generation is not None
        error = _error(answer)
        if error is None:
            self._confirm(batch, answer.result())
        else:
            self._refused(batch, batch.generation, error)
        batch.generation.unsettled -= 1
        self._producers.settled(batch.generation)
        self.give()

    def _confirm(self, batch: Batch, answer: Any) -> None:
        topic, partition = self.partition
        # Without acks there is no answer; and one to a batch that the broker had already has no offset.
        first = answer.offset if answer is not None and answer.offset >= 0 else None
        appended_ms = answer.timestamp if answer is not None and answer.timestamp != -1 else None
        kind = 0 if appended_ms is None else 1
        log_start = answer.log_start_offset if answer is not None else None
        for index, record in enumerate(batch.records):
            if not record.confirmed.done():
                offset = first + index if first is not None else -1
                timestamp = record.timestamp_ms if appended_ms is None else appended_ms
                record.confirmed.set_result(RecordMetadata(topic, partition, offset, timestamp, kind, log_start))

    def _refused(self, batch: Batch, generation: IdempotentProducer, error: BaseException) -> None:
        """What follows for a batch's records, once it has ended without a confirmation."""
        once = batch.sent.retry_count == 1
        refusal = generation.refusal(self.partition, error)
        if generation.breaks(batch.sent):
            self._producers.broken(generation, refusal)
        if not gone_out(batch.sent):
            # The producer ended with the batch still in its queue.
            self._again.appendleft((batch.records, batch.tries))
        elif refusal.code in INNOCENT and once and batch.tries < MOST_TRIES:
            logger.warning("%s[%d]: %s; its batch goes out anew", *self.partition, refusal)
            self._again.appendleft((batch.records, batch.tries + 1))
        elif refusal.code in CONTENT and once and len(batch.records) > 1:
            self._split(batch, too_large=refusal.code == TOO_LARGE)
        else:
            # A plain refusal of the first try was not written. Of an earlier try without an answer nobody knows.
            unknown = refusal.code is None or refusal.code in UNANSWERED or not once
            why = self._said(batch, refusal)
            kind = KINDS.get(refusal.code, DeliveryError)
            for record in batch.records:
                record.fail(self.partition, why, may_have_been_written=unknown, cause=error, kind=kind)

    def _split(self, batch: Batch, *, too_large: bool) -> None:
        """In halves, until only the record that is at fault fails."""
        half = len(batch.records) // 2
        self._again.appendleft((batch.records[half:], batch.tries))
        self._again.appendleft((batch.records[:half], batch.tries))
        largest = max(len(record.value or b"") + len(record.key or b"") for record in batch.records)
        most_bytes = batch.builder.size() // 2
        if too_large and largest < most_bytes:
            # Most likely each record is small enough and only the batch is not: make smaller ones from now on.
            self._most_bytes = most_bytes
            held, self._held = self._held, None
            if held is not None:
                self._again.append((held.records, 0))

    def _said(self, batch: Batch, refusal: Refusal) -> str:
        match refusal.code:
            case 10 | 18:
                return (
                    f"the record, {batch.builder.size()} bytes as a batch, is larger than the topic's"
                    " max.message.bytes; send less, or raise that limit"
                )
            case 87 if any(record.key is None for record in batch.records):
                return (
                    f"{refusal}: the record has no key, and a compacted topic takes none without; give it one, or make"
                    " the topic with cleanup.policy=delete"
                )
            case 29:
                return f"not authorized for topic {self.partition.topic}: an ACL for WRITE is missing"
            case _:
                return str(refusal)

    # ------------------------------------------------------------------ deadlines

    def _wake_at(self, when_s: float) -> None:
        """One timer for all records, at the first deadline: most records have long ended when it strikes."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at_s = when_s
        self._timer = self._loop.call_at(when_s, self._strike)

    def _strike(self) -> None:
        self._timer, self._timer_at_s = None, NEVER
        now_s = self._loop.time()
        self._end_late(now_s)
        next_s = min((r.deadline_s for r in self._all() if not r.confirmed.done()), default=NEVER)
        if next_s != NEVER:
            self._wake_at(max(next_s, now_s))

    def _end_late(self, now_s: float) -> None:
        given, taken_back = self._given, False
        if given is not None and _any_late(given.records, now_s):
            taken_back = self._take_back(given)
            self._end(given.records, now_s, may_have_been_written=not taken_back)
        unsent = [record for records, _ in self._again for record in records]
        unsent += self._held.records if self._held is not None else []
        if _any_late((*unsent, *self._waiting), now_s):
            self._end([*unsent, *self._waiting], now_s, may_have_been_written=False)
            self._waiting = deque(record for record in self._waiting if not record.confirmed.done())
            self._make_room()
        if taken_back:
            self.give()

    def _take_back(self, given: Batch) -> bool:
        assert given.generation is not None
        if not given.generation.take_back(self.partition, given.sent):
            return False
        self._given = None
        self._again.appendleft((given.records, given.tries))
        self._producers.settled(given.generation)
        return True

    def _make_room(self) -> None:
        """The batch held here without those that have ended."""
        if self._held is not None and len(alive := self._held.alive()) < len(self._held.records):
            self._held = None
            for record in alive:
                self._hold(record)
            self._fill_held()

    def _end(self, records: Sequence[PendingRecord], now_s: float, *, may_have_been_written: bool) -> None:
        trouble = ""
        for record in records:
            if record.deadline_s <= now_s and not record.confirmed.done():
                trouble = trouble or self._trouble()
                whole = record.timeout_s == self._standard_timeout_s
                why = f"no confirmation within {record.timeout_s:.3g} s ({WHOLE if whole else PART}): {trouble}"
                record.fail(self.partition, why, may_have_been_written=may_have_been_written)

    def _trouble(self) -> str:
        trouble = self._producers.trouble()
        if not trouble and self._given is not None:
            return "the broker has not answered"
        return trouble or "the partition has no leader, or its broker cannot be reached"

    # ------------------------------------------------------------------ flush and stop

    def pending(self) -> list[asyncio.Future[RecordMetadata]]:
        """What has not ended yet; and the client is told to hurry."""
        if self._given is not None and not gone_out(self._given.sent):
            assert self._given.generation is not None
            self._given.generation.hurry(self._given.sent)
        return [record.confirmed for record in self._all() if not record.confirmed.done()]

    def stop(self, why: str) -> None:
        """End whatever has not ended."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        given, self._given = self._given, None
        if given is not None:
            assert given.generation is not None
            taken_back = given.generation.take_back(self.partition, given.sent)
            for record in given.records:
                record.fail(self.partition, why, may_have_been_written=not taken_back)
        for record in self._all():
            record.fail(self.partition, why, may_have_been_written=False)
        self._held = None
        self._again.clear()
        self._waiting.clear()

    def _all(self) -> Iterator[PendingRecord]:
        for batch in (self._given, self._held):
            if batch is not None:
                yield from batch.records
        for records, _ in self._again:
            yield from records
        yield from self._waiting


def _any_late(records: Iterable[PendingRecord], now_s: float) -> bool:
    return any(record.deadline_s <= now_s and not record.confirmed.done() for record in records)


def _error(answer: asyncio.Future[Any]) -> BaseException | None:
    return kafka.ProducerClosed() if answer.cancelled() else answer.exception()
