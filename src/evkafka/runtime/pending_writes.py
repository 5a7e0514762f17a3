"""Writes of records to other topics: to dead-letter topics and retry topics.

Each record waits in its lane until its write is confirmed, and uses no executor meanwhile: a topic that cannot be
written to delays only the lanes whose records go there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from copy import copy
from functools import partial
from typing import Any

from evkafka.config.settings import DeadLetterLimitSettings
from evkafka.exceptions import StopApp
from evkafka.outcomes import FailureOutcome
from evkafka.records import Record
from evkafka.runtime.dead_letter_limit import DeadLetterLimit
from evkafka.runtime.interfaces import ConsumerServices, DeadLetterSink
from evkafka.runtime.partition import Lane, Partition, PendingWrite, SettledAfterWrite
from evkafka.runtime.ports import OutgoingRecord, Route, Slot, WriteGivenUp
from evkafka.runtime.settle import SendToDeadLetter, SendToRetryTopic, address_of, written_status
from evkafka.telemetry import Status


class PendingWrites:
    """The records of one consumer that are being written to other topics.

    Args:
        dead_letters: writes them.
        limit: the limits of the consumer.
        dead_letter_limit: an endpoint's limit, if it has one.
        at_most_once: a failing write is tried to its end, even if its partition is revoked: its offset is committed
            already.
    """

    def __init__(
        self,
        services: ConsumerServices,
        dead_letters: DeadLetterSink,
        limit: DeadLetterLimit,
        *,
        dead_letter_limit: Callable[[Route | None], DeadLetterLimitSettings | None],
        at_most_once: bool,
    ) -> None:
        self._services = services
        self._scheduler = services.scheduler
        self._report = services.report
        self._tasks = services.tasks
        self._dead_letters = dead_letters
        self._limit = limit
        self._dead_letter_limit = dead_letter_limit
        self.at_most_once = at_most_once
        self._pending: set[PendingWrite] = set()

    def cancel_all_writes(self) -> None:
        """Cancel all writes: the consumer ends, or crashes."""
        for write in self._pending:
            if write.task is not None:
                self._tasks.cancel_and_allow_end(write.task)

    def begin_write(
        self,
        lane: Lane,
        record: Record,
        slot: Slot,
        outcome: FailureOutcome | None,
        verdict: SendToRetryTopic | SendToDeadLetter,
        duration_s: float,
    ) -> None:
        """Report the failed attempt, and write the record. It is put back into its lane, which waits for the
        confirmation before it continues.

        Args:
            lane: a lane that the caller runs, or one that is idle.

        Raises:
            StopApp: the partition's `dead_letter_limit` is reached.
        """
        partition, limit_reached = lane.partition, None
        if isinstance(verdict, SendToDeadLetter) and not partition.ledger.sealed:
            limit_reached = partition.dead_letters.refusal_reason(self._dead_letter_limit(slot.route))
        self._report.report_failed(slot, record, outcome, verdict, limit_reached=limit_reached is not None)
        if partition.ledger.sealed:  # it was revoked meanwhile: its next owner handles the record again
            self._report.report_dropped(slot.route, record)
            return
        if limit_reached is not None:
            raise self._limit.limit_error(address_of(record), limit_reached, verdict.error)
        if isinstance(verdict, SendToDeadLetter):
            partition.dead_letters.pending += 1
        slot.kept = None  # what the failed attempt has sent is not written
        write = PendingWrite(
            lane,
            record,
            copy(slot),  # the executor's next attempt overwrites it
            verdict,
            duration_s=duration_s,
            since_s=self._services.clock.now(),
            on_abandoned=self._report_abandoned_write_as_dropped,
        )
        self._pending.add(write)
        self._scheduler.add_pending_write(lane, write)
        self._start_write_task(write)

    def add_records_settled_after_write(self, lane: Lane, settled_after: Sequence[SettledAfterWrite]) -> None:
        """These records end with the lane's pending writes."""
        if lane.writes:
            self._scheduler.add_records_settled_after_write(lane, settled_after)
        else:  # it was revoked meanwhile
            for settled in settled_after:
                self._report.report_dropped(settled.slot.route, settled.record)

    def _start_write_task(self, write: PendingWrite) -> None:
        write.task = self._tasks.start_task(f"write-{address_of(write.record)}", self._create_write_coroutine(write))
        self._tasks.allow_end(write.task)  # `_on_write_ended` decides what its end means
        write.task.add_done_callback(partial(self._on_write_ended, write))

    def _create_write_coroutine(self, write: PendingWrite) -> Coroutine[Any, Any, Sequence[OutgoingRecord]]:
        failed = partial(self._note_failed_write_or_abandon_it, write)
        match write.verdict:
            case SendToDeadLetter() as bury:
                return self._dead_letters.send_to_dead_letter(write.record, write.slot, bury, failed)
            case SendToRetryTopic() as defer:
                return self._dead_letters.send_to_retry_topic(write.record, write.slot, defer, failed)

    def _note_failed_write_or_abandon_it(self, write: PendingWrite, topic: str, error: BaseException) -> None:
        """It could not be written, and is tried again, unless its partition is being revoked."""
        write.topic, write.error, write.failed_writes = topic, error, write.failed_writes + 1
        if write.partition.forbids_retries and not write.ended and not self.at_most_once:
            settled_after = write.lane.settled_after_writes
            write.abandon()
            self._remove_from_lane(write, settled_after)
        write.partition.notify_waiters()

    def _on_write_ended(self, write: PendingWrite, task: asyncio.Task[Sequence[OutgoingRecord]]) -> None:
        if task.cancelled() and not write.ended and self._tasks.must_ignore_cancellation:
            # Cancelled from outside: it is not known whether the record was written, so it is written again.
            self._start_write_task(write)
            return
        self._pending.discard(write)
        if write.ended or task.cancelled():
            return
        error = task.exception()
        if error is None:
            self._finish_write(write, written_status(write.verdict), task.result())
        elif isinstance(error, WriteGivenUp):
            self._finish_write(write, "lost", ())
        else:
            settled_after = write.lane.settled_after_writes
            failed = (write.record,) if isinstance(error, StopApp) else ()
            # Without an await in between: no later one may begin.
            self._services.close_partition_and_report_failed(write.partition, write.slot, failed, write.duration_s)
            if not write.ended:
                write.mark_ended()
            write.lane.settled_after_writes = ()
            self._remove_from_lane(write, settled_after)
            self._services.fail(error)

    def _finish_write(self, write: PendingWrite, status: Status, kept: Sequence[OutgoingRecord]) -> None:
        """It is written, or will be, by the transaction that commits its record; or it is lost."""
        partition, record = write.partition, write.record
        if status == "dead_lettered":
            partition.dead_letters.count_dead_letter()
        settled = SettledAfterWrite(record, write.slot, status, write.duration_s)
        self._finish_record(partition, settled, kept)
        partition.clear_mark_of_written_suspect(record.offset)
        write.mark_ended()
        settled_after: tuple[SettledAfterWrite, ...] = ()
        if not write.lane.writes:
            settled_after, write.lane.settled_after_writes = write.lane.settled_after_writes, ()
        for settled in settled_after:
            self._finish_record(partition, settled)
        self._remove_from_lane(write, settled_after)
        self._services.resume_reading_and_flush_reports_soon()

    def _finish_record(
        self, partition: Partition, settled: SettledAfterWrite, kept: Sequence[OutgoingRecord] = ()
    ) -> None:
        if partition.finish(settled.record.offset, kept):
            self._report.report_finished(settled.slot, settled.record, settled.status, settled.duration_s)
        else:
            self._report.report_dropped(settled.slot.route, settled.record)

    def _remove_from_lane(self, write: PendingWrite, settled_after: Sequence[SettledAfterWrite]) -> None:
        self._scheduler.remove_after_write(write.lane, [write.record, *(settled.record for settled in settled_after)])

    def _report_abandoned_write_as_dropped(self, write: PendingWrite) -> None:
        self._report.report_dropped(write.slot.route, write.record)
        settled_after, write.lane.settled_after_writes = write.lane.settled_after_writes, ()
        for settled in settled_after:
            self._report.report_dropped(settled.slot.route, settled.record)
