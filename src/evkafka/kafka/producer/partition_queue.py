"""The queue of one partition: its records in order, from `put` to the broker's answer or their deadline.

At any time aiokafka has at most one batch of the partition (`_submitted`). The next one is filled here (`_filling`);
records that do not fit wait for space (`_waiting`). So there are three guarantees that aiokafka does not give:

- A record that has not been sent is dropped at its deadline. It is never written after its caller has received an
  error, and a handler that tries again during an outage does not pile up copies.
- A record that has been sent keeps its place: its outcome is known before a later record is sent.
- A partition changes from one producer to the next between two batches, so the change cannot break its order.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Protocol

from aiokafka import errors as kafka

from evkafka.config.time_limits import send_limit_text
from evkafka.exceptions import DeliveryError, RecordRefused, RecordTooLarge
from evkafka.kafka.errors import ErrorCode
from evkafka.kafka.producer.batch import Batch, PendingRecord
from evkafka.kafka.producer.idempotent_producer import IdempotentProducer, Refusal, was_sent
from evkafka.records import RecordMetadata, TopicPartition

logger = logging.getLogger("evkafka.runtime.kafka")

NEVER = float("inf")

MAX_TRIES = 3
"""How often a batch is sent again by another producer, after a refusal that was not its own fault."""

NOT_THE_BATCH = frozenset(
    {
        ErrorCode.CORRUPT_MESSAGE,
        ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER,
        ErrorCode.INVALID_PRODUCER_EPOCH,
        ErrorCode.UNKNOWN_PRODUCER_ID,
        ErrorCode.PRODUCER_FENCED,
    }
)
"""Refusals that are not the fault of the batch: it was damaged on the network, or the broker does not accept its
producer id, sequence or epoch. It was not written."""

ONE_RECORD: Mapping[int | None, type[DeliveryError]] = {
    ErrorCode.MESSAGE_TOO_LARGE: RecordTooLarge,
    ErrorCode.RECORD_LIST_TOO_LARGE: RecordTooLarge,
    ErrorCode.INVALID_TIMESTAMP: RecordRefused,
    ErrorCode.INVALID_RECORD: RecordRefused,
}
"""Refusals of a whole batch that one of its records can cause, with their error. Any other is a DeliveryError."""

MAYBE_WRITTEN = frozenset({ErrorCode.REQUEST_TIMED_OUT, ErrorCode.NOT_ENOUGH_REPLICAS_AFTER_APPEND})
"""Answers that leave open whether the batch was written."""


def describe_topic_refusal(refusal: Refusal, batch_bytes: int, *, lacks_key: bool) -> str:
    """Why a topic does not take a record, and the fix."""
    match refusal.code:
        case ErrorCode.MESSAGE_TOO_LARGE | ErrorCode.RECORD_LIST_TOO_LARGE:
            return (
                f"the record, {batch_bytes} bytes as a batch, is larger than the topic's max.message.bytes; send less,"
                " or raise that limit"
            )
        case ErrorCode.INVALID_RECORD if lacks_key:
            return (
                f"{refusal}: the record has no key, and a compacted topic requires one; give it a key, or use"
                " cleanup.policy=delete for the topic"
            )
        case _:
            return str(refusal)


class Producers(Protocol):
    """The producers of a sink, as its queues use them."""

    @property
    def newest_producer(self) -> IdempotentProducer:
        """The newest producer. It creates builders even after it has been retired."""

    def current_producer(self) -> IdempotentProducer | None:
        """The producer that takes batches; None while it is being replaced."""

    def replace_producer(self, producer: IdempotentProducer, why: Refusal) -> None:
        """Replace this producer, because its sequence is broken."""

    def close_producer_if_drained(self, producer: IdempotentProducer) -> None:
        """Close this producer if it is retired and has no unfinished batch left."""

    def reason_nothing_can_be_sent(self) -> str:
        """Why nothing can be sent at the moment, for an error message; empty if unknown."""


class PartitionQueue:
    """One partition's queue. It runs on the event loop and awaits nothing, so each method is one step."""

    def __init__(self, partition: TopicPartition, producers: Producers, *, standard_timeout_s: float) -> None:
        self.partition = partition
        self._producers = producers
        self._standard_timeout_s = standard_timeout_s
        self._loop = asyncio.get_running_loop()
        self._submitted: Batch | None = None
        self._filling: Batch | None = None
        self._resend: deque[tuple[list[PendingRecord], int]] = deque()  # sent first, each as a batch; with their tries
        self._waiting: deque[PendingRecord] = deque()
        self._max_bytes: int | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at_s = NEVER

    # ------------------------------------------------------------------ adding records

    def add_to_batch_or_waiting_records(self, record: PendingRecord) -> None:
        """Add a record. If it gets an `added_to_batch`, the caller waits for that before it adds the next."""
        if self._waiting or not (
            self._add_to_submitted_batch(record) or self._add_to_filling_batch_unless_full(record)
        ):
            record.added_to_batch = self._loop.create_future()
            self._waiting.append(record)
        if self._submitted is None:
            self.submit_next()
        if record.deadline_s < self._timer_at_s:
            self._set_deadline_timer(record.deadline_s)

    def _add_to_submitted_batch(self, record: PendingRecord) -> bool:
        """Add to the submitted batch if it has not been sent yet; not if that would overtake another batch."""
        submitted = self._submitted
        if submitted is None or self._filling is not None or self._resend or was_sent(submitted.sent):
            return False
        assert submitted.producer is not None
        if submitted.producer.retired or submitted.tries or submitted.builder.closed():
            return False
        if submitted.try_to_add_record(record):
            return True
        submitted.producer.send_full_batches()  # it is full: it need not linger
        return False

    def _add_to_filling_batch_unless_full(self, record: PendingRecord) -> bool:
        if self._filling is None:
            self._filling = Batch(self._create_builder())
        return not self._filling.builder.closed() and self._filling.try_to_add_record(record)

    def _create_builder(self) -> Any:
        return self._producers.newest_producer.create_builder(self._max_bytes)

    # ------------------------------------------------------------------ submitting batches

    def submit_next(self) -> None:
        """Submit the next batch, unless one is submitted already or there is no producer."""
        producer = self._producers.current_producer()
        if self._submitted is not None or producer is None:
            return
        batch = self._next_batch()
        if batch is None:
            return
        batch.producer = producer
        batch.sent = producer.submit_batch(self.partition, batch.builder)
        batch.sent.future.add_done_callback(partial(self._on_answer, batch))
        self._submitted = batch
        self._fill_from_waiting()

    def _next_batch(self) -> Batch | None:
        while self._resend:
            records, tries = self._resend.popleft()
            if batch := self._rebuild_batch(records, tries):
                return batch
        while self._filling is not None:
            batch, self._filling = self._filling, None
            if len(batch.unfinished()) == len(batch.records):
                return batch
            if rebuilt := self._rebuild_batch(batch.records, 0):
                return rebuilt
            self._fill_from_waiting()
        return None

    def _rebuild_batch(self, records: Iterable[PendingRecord], tries: int) -> Batch | None:
        """A batch of the records that are not done; None if all are. Records that do not fit any more come next."""
        unfinished = [record for record in records if not record.confirmed.done()]
        if not unfinished:
            return None
        batch = Batch(self._create_builder(), tries=tries)
        for index, record in enumerate(unfinished):
            if not batch.try_to_add_record(record):
                self._resend.appendleft((unfinished[index:], tries))
                break
        batch.builder.close()
        return batch

    def _fill_from_waiting(self) -> None:
        """Move waiting records into the batch, in order."""
        while self._waiting:
            record = self._waiting[0]
            if not record.confirmed.done() and not self._add_to_filling_batch_unless_full(record):
                break
            self._waiting.popleft()
            record.wake_caller_waiting_for_space()

    # ------------------------------------------------------------------ answers

    def _on_answer(self, batch: Batch, answer: asyncio.Future[Any]) -> None:
        if batch is not self._submitted:
            return  # it was taken back, or dropped at the stop
        self._submitted = None
        assert batch.producer is not None
        error = _error_of(answer)
        if error is None:
            self._confirm(batch, answer.result())
        else:
            self._on_failure(batch, batch.producer, error)
        batch.producer.unfinished -= 1
        self._producers.close_producer_if_drained(batch.producer)
        self.submit_next()

    def _confirm(self, batch: Batch, answer: Any) -> None:
        topic, partition = self.partition
        # Without acks there is no answer, and the answer to a batch that the broker had already has no offset.
        first = answer.offset if answer is not None and answer.offset >= 0 else None
        appended_ms = answer.timestamp if answer is not None and answer.timestamp != -1 else None
        kind = 0 if appended_ms is None else 1
        log_start = answer.log_start_offset if answer is not None else None
        for index, record in enumerate(batch.records):
            if not record.confirmed.done():
                offset = first + index if first is not None else -1
                timestamp = record.timestamp_ms if appended_ms is None else appended_ms
                record.confirmed.set_result(RecordMetadata(topic, partition, offset, timestamp, kind, log_start))

    def _on_failure(self, batch: Batch, producer: IdempotentProducer, error: BaseException) -> None:
        """Decide about a batch's records after it has ended without a confirmation."""
        sent_once = batch.sent.retry_count == 1
        refusal = producer.refusal_of_last_batch(self.partition, error)
        if producer.broke_sequence(batch.sent):
            self._producers.replace_producer(producer, refusal)
        if not was_sent(batch.sent):
            # The producer ended with the batch still in its queue.
            self._resend.appendleft((batch.records, batch.tries))
        elif refusal.code in NOT_THE_BATCH and sent_once and batch.tries < MAX_TRIES:
            logger.warning("%s[%d]: %s; sending its batch again", *self.partition, refusal)
            self._resend.appendleft((batch.records, batch.tries + 1))
        elif refusal.code in ONE_RECORD and sent_once and len(batch.records) > 1:
            self._split_batch(batch, too_large=refusal.code == ErrorCode.MESSAGE_TOO_LARGE)
        else:
            # After a refusal of the first try nothing was written. An earlier try without an answer may be written.
            unknown = refusal.code is None or refusal.code in MAYBE_WRITTEN or not sent_once
            why = self._describe_refusal(batch, refusal)
            kind = ONE_RECORD.get(refusal.code, DeliveryError)
            for record in batch.records:
                record.fail(self.partition, why, may_have_been_written=unknown, cause=error, kind=kind)

    def _split_batch(self, batch: Batch, *, too_large: bool) -> None:
        """Send it in halves, until only the record at fault fails."""
        half = len(batch.records) // 2
        self._resend.appendleft((batch.records[half:], batch.tries))
        self._resend.appendleft((batch.records[:half], batch.tries))
        largest = max(len(record.value or b"") + len(record.key or b"") for record in batch.records)
        max_bytes = batch.builder.size() // 2
        if too_large and largest < max_bytes:
            # Most likely only the batch is too large, and none of its records: fill smaller ones from now on.
            self._max_bytes = max_bytes
            filling, self._filling = self._filling, None
            if filling is not None:
                self._resend.append((filling.records, 0))

    def _describe_refusal(self, batch: Batch, refusal: Refusal) -> str:
        if refusal.code == ErrorCode.TOPIC_AUTHORIZATION_FAILED:
            return f"not authorized for topic {self.partition.topic}: an ACL for WRITE is missing"
        lacks_key = any(record.key is None for record in batch.records)
        return describe_topic_refusal(refusal, batch.builder.size(), lacks_key=lacks_key)

    # ------------------------------------------------------------------ deadlines

    def _set_deadline_timer(self, when_s: float) -> None:
        """Set the timer, one for all records, at the first deadline: most records are done long before it."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at_s = when_s
        self._timer = self._loop.call_at(when_s, self._on_deadline_timer)

    def _on_deadline_timer(self) -> None:
        self._timer, self._timer_at_s = None, NEVER
        now_s = self._loop.time()
        self._fail_overdue_in_all_batches(now_s)
        next_s = min((r.deadline_s for r in self._all_records() if not r.confirmed.done()), default=NEVER)
        if next_s != NEVER:
            self._set_deadline_timer(max(next_s, now_s))

    def _fail_overdue_in_all_batches(self, now_s: float) -> None:
        submitted, taken_back = self._submitted, False
        if submitted is not None and _is_any_record_overdue(submitted.records, now_s):
            taken_back = self._take_batch_back_if_unsent(submitted)
            self._fail_each_overdue(submitted.records, now_s, may_have_been_written=not taken_back)
        unsent = [record for records, _ in self._resend for record in records]
        unsent += self._filling.records if self._filling is not None else []
        if _is_any_record_overdue((*unsent, *self._waiting), now_s):
            self._fail_each_overdue([*unsent, *self._waiting], now_s, may_have_been_written=False)
            self._waiting = deque(record for record in self._waiting if not record.confirmed.done())
            self._rebuild_filling_batch()
        if taken_back:
            self.submit_next()

    def _take_batch_back_if_unsent(self, submitted: Batch) -> bool:
        assert submitted.producer is not None
        if not submitted.producer.remove_batch_if_unsent(self.partition, submitted.sent):
            return False
        self._submitted = None
        self._resend.appendleft((submitted.records, submitted.tries))
        self._producers.close_producer_if_drained(submitted.producer)
        return True

    def _rebuild_filling_batch(self) -> None:
        """Rebuild the batch without the records that are done."""
        if self._filling is not None and len(unfinished := self._filling.unfinished()) < len(self._filling.records):
            self._filling = None
            for record in unfinished:
                self._add_to_filling_batch_unless_full(record)
            self._fill_from_waiting()

    def _fail_each_overdue(
        self, records: Sequence[PendingRecord], now_s: float, *, may_have_been_written: bool
    ) -> None:
        cause = ""
        for record in records:
            if record.deadline_s <= now_s and not record.confirmed.done():
                cause = cause or self._describe_delay()
                limit = send_limit_text(record.timeout_s, self._standard_timeout_s)
                why = f"no confirmation within {limit}: {cause}"
                record.fail(self.partition, why, may_have_been_written=may_have_been_written)

    def _describe_delay(self) -> str:
        cause = self._producers.reason_nothing_can_be_sent()
        if not cause and self._submitted is not None:
            return "the broker has not answered"
        return cause or "the partition has no leader, or its broker cannot be reached"

    # ------------------------------------------------------------------ flush and stop

    def end_linger_and_get_pending_futures(self) -> list[asyncio.Future[RecordMetadata]]:
        """The futures that are not done; an unsent batch lingers no longer."""
        if self._submitted is not None and not was_sent(self._submitted.sent):
            assert self._submitted.producer is not None
            self._submitted.producer.end_linger(self._submitted.sent)
        return [record.confirmed for record in self._all_records() if not record.confirmed.done()]

    def stop_and_fail_records(self, why: str) -> None:
        """Fail every record that is not done."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        submitted, self._submitted = self._submitted, None
        if submitted is not None:
            assert submitted.producer is not None
            removed = submitted.producer.remove_batch_if_unsent(self.partition, submitted.sent)
            for record in submitted.records:
                record.fail(self.partition, why, may_have_been_written=not removed)
        for record in self._all_records():
            record.fail(self.partition, why, may_have_been_written=False)
        self._filling = None
        self._resend.clear()
        self._waiting.clear()

    def _all_records(self) -> Iterator[PendingRecord]:
        for batch in (self._submitted, self._filling):
            if batch is not None:
                yield from batch.records
        for records, _ in self._resend:
            yield from records
        yield from self._waiting


def _is_any_record_overdue(records: Iterable[PendingRecord], now_s: float) -> bool:
    return any(record.deadline_s <= now_s and not record.confirmed.done() for record in records)


def _error_of(answer: asyncio.Future[Any]) -> BaseException | None:
    return kafka.ProducerClosed() if answer.cancelled() else answer.exception()
