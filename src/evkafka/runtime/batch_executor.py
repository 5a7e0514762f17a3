"""Step 3 of 7 for batches: one attempt at many records, and a verdict on each of them.

If the whole batch failed it is tried again unchanged, with one count of attempts. If the endpoint named the records
that failed (`BatchError`), each of those has its own verdict. Records of the same lane after a failed one count as not
done: the endpoint may have stopped there, and does not know whether it is tried again. Records after one to which the
endpoint gave an outcome are done; if that outcome is a dead letter, once the dead letter is confirmed.

What an exactly-once batch has sent belongs to all of its records, because nobody knows which send belongs to which one.
It counts if all of them are done. Otherwise it is dropped, the failed records are settled, and the others are handled
again without those.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from copy import copy
from functools import cached_property
from typing import Protocol

from evkafka.exceptions import StopApp
from evkafka.outcomes import Failed, FailureOutcome, PartialFailure, Skip, Unmatched
from evkafka.records import NotReady, Record
from evkafka.runtime.attempt import ABANDONED, classify_result
from evkafka.runtime.interfaces import ConsumerServices, DecideFor
from evkafka.runtime.kept_sends import take_outputs
from evkafka.runtime.partition import Batch, Lane, LaneState, SettledAfterWrite
from evkafka.runtime.pending_writes import PendingWrites
from evkafka.runtime.ports import BatchAttempt, OutgoingRecord, Slot
from evkafka.runtime.settle import Finish, SendToDeadLetter, SendToRetryTopic, StopConsuming, Verdict, Wait, address_of

OpenBatch = Callable[[Sequence[Record], Slot], BatchAttempt]


class AttemptRunner(Protocol):
    """The part of the executor that a batch uses."""

    slot: Slot
    started_s: float

    def classify_raised(self, error: BaseException, record: Record) -> object: ...
    async def clear_cancellation_of_ended_attempt(self) -> None: ...
    async def run_cleanup_again_if_cancelled(self, step: Callable[[], Awaitable[None]]) -> None: ...


def _is_success_or_skip(end: object) -> bool:
    return end is None or isinstance(end, Skip)


class BatchRun:
    """One attempt at one batch, by one executor."""

    def __init__(
        self,
        runner: AttemptRunner,
        batch: Batch,
        services: ConsumerServices,
        decide: DecideFor,
        writes: PendingWrites,
    ) -> None:
        self._runner = runner
        self._batch = batch
        self._scheduler = services.scheduler
        self._report = services.report
        self._clock = services.clock
        self._decide = decide
        self._writes = writes
        self._records = batch.close_and_take_records()
        self._open = dict(enumerate(self._records))  # the records that are not settled, by index
        self._attempted: Collection[int] = self._open.keys()  # the records of the step that runs, or is settled
        self._failed: dict[Lane, int] = {}  # the record of a lane after which none of the lane counts as done
        self._written: dict[Lane, int] = {}  # the first record of a lane that is written to another topic
        self._waits: dict[int, float] = {}  # the records that are tried again, with the seconds until then
        self._done_first: dict[int, FailureOutcome | None] = {}  # done before the endpoint ran, and settled with it
        self._again = False  # the records that are not settled are handled again, without a run

    async def run_and_settle(self, open_batch: OpenBatch) -> None:
        """Decode, settle the records that cannot be decoded, run the others and settle them."""
        runner, first = self._runner, self._records[0]
        runner.slot.attempt, runner.slot.route, runner.slot.record = self._batch.attempt, self._batch.route, first
        runner.started_s = self._clock.now()
        attempt = open_batch(self._records, runner.slot)
        try:
            result = await self._await_step_and_classify_error(attempt.run_up_to_endpoint())
            wanted = list(self._open)
            if isinstance(result, Mapping):
                prepared = self._outcomes_to_settle_before_endpoint(result)
                if prepared and not self._settle_records(prepared, len(wanted)):
                    return
                wanted = self._runnable_indexes()
                if wanted:
                    self._attempted = wanted
                    runner.started_s = self._clock.now()
                    result = await self._await_step_and_classify_error(attempt.run_endpoint(wanted))
        finally:
            await runner.run_cleanup_again_if_cancelled(attempt.close)
        if result is ABANDONED:
            self._report.report_dropped(runner.slot.route, first)
        elif isinstance(result, NotReady) or not (wanted or self._done_first) or self._settle_run(result, wanted):
            self._put_back_unfinished(())

    @property
    def unsettled_records(self) -> Collection[Record]:
        """The records that are neither finished nor back in their lanes."""
        return self._open.values()

    def records_whose_attempt_failed(self) -> Sequence[Record]:
        """When a record stops the app: the records that were attempted with it, and are neither settled nor to be tried
        again. Those after a failed record of their lane count as not attempted."""
        return [self._records[index] for index in self._attempted if index in self._open and index not in self._waits]

    @cached_property
    def _lane_of_each_record(self) -> list[Lane | None]:
        """Each record's lane; None for records that need no order. Used only if something failed."""
        return [self._batch.partition.lane_of(record) for record in self._records]

    async def _await_step_and_classify_error(self, step: Awaitable[object]) -> object:
        try:
            result = await step
        except BaseException as error:  # the executor decides what it means, or raises it again
            result = self._runner.classify_raised(error, self._records[0])
        await self._runner.clear_cancellation_of_ended_attempt()
        return result

    def _runnable_indexes(self) -> list[int]:
        """The records to run: none that has failed and waits, none after such a record of the same lane, and none of a
        lane with a pending write: the rest of that lane runs together when the write is confirmed."""
        if self._again:
            return []
        if self._done_first:
            return [index for index in self._open if index not in self._done_first]
        if not self._waits and not self._written:
            return list(self._open)
        failed, written, owners = self._failed, self._written, self._lane_of_each_record
        return [
            index
            for index in self._open
            if index not in self._waits
            and ((owner := owners[index]) is None or (owner not in written and index < failed.get(owner, 1 << 62)))
        ]

    # ------------------------------------------------------------------ verdicts

    def _outcomes_to_settle_before_endpoint(
        self, prepared: Mapping[int, FailureOutcome | None]
    ) -> Mapping[int, FailureOutcome | None]:
        """The records that are settled before the endpoint runs, of those that have ended before it."""
        kept = self._runner.slot.kept
        if kept is None or not kept.records:
            return prepared
        failed = {index: end for index, end in prepared.items() if not _is_success_or_skip(end)}
        if failed:
            self._again = True
            self._runner.slot.kept = None
        else:
            self._done_first.update(prepared)
        return failed

    def _settle_run(self, result: object, wanted: Sequence[int]) -> bool:
        """Settle the records that were run. False if nothing more must be done with this batch."""
        sent = take_outputs(self._runner.slot)
        return self._settle_with_sends(result, wanted, sent) if sent else self._settle_all_by_result(result, wanted)

    def _settle_with_sends(self, result: object, wanted: Sequence[int], sent: Sequence[OutgoingRecord]) -> bool:
        ends: Mapping[int, FailureOutcome | None] = {}
        match result:
            case PartialFailure(ends=partial):
                ends = {index: partial.get(index) for index in wanted}
            case _ if wanted:
                outcome = classify_result(result)
                if not _is_success_or_skip(outcome):
                    return self._settle_all_by_result(result, wanted)
                ends = dict.fromkeys(wanted, outcome)
        ends = {**ends, **self._done_first}
        if failed := {index: end for index, end in ends.items() if not _is_success_or_skip(end)}:
            return self._settle_records(failed, len(ends), partial=True)
        if not self._settle_records(ends, len(ends)):
            return False
        self._batch.partition.outbox.add([self._records[index].offset for index in sorted(ends)], sent)
        return True

    def _settle_all_by_result(self, result: object, wanted: Sequence[int]) -> bool:
        if isinstance(result, PartialFailure):
            ends = {index: result.ends.get(index) for index in wanted}
            return self._settle_records(ends, len(wanted), partial=True)
        outcome = classify_result(result)
        if outcome is None:
            return self._finish_all_as_succeeded(wanted)
        verdict = self._decide(self._batch.partition.tp.topic, self._batch.route, outcome, self._batch.attempt)
        if isinstance(verdict, Wait):
            self._retry_batch(wanted, outcome, verdict)
            return False
        return self._settle_records(dict.fromkeys(wanted, outcome), len(wanted))

    def _finish_all_as_succeeded(self, wanted: Sequence[int]) -> bool:
        """Finish these records: the endpoint has succeeded."""
        slot, report, open_ = self._runner.slot, self._report, self._open
        share_s = (self._clock.now() - self._runner.started_s) / len(wanted)
        ledger = self._batch.partition.ledger
        if ledger.sealed:
            report.report_dropped(slot.route, self._records[wanted[0]])
            return False
        finish = ledger.finish
        for index in wanted:
            finish(open_.pop(index).offset)
        if report.listening:
            for index in wanted:
                report.report_finished(slot, self._records[index], "ok", share_s)
        return True

    def _settle_records(self, ends: Mapping[int, FailureOutcome | None], count: int, *, partial: bool = False) -> bool:
        """Decide on each of these records, and carry it out: first the records that are done, last one that stops the
        app.

        Args:
            partial: each of them was run, and failed by itself or not at all.

        Returns:
            False if the partition was revoked meanwhile.

        Raises:
            StopApp: a record stops the app.
        """
        share_s = (self._clock.now() - self._runner.started_s) / count
        judged = list(self._decide_each_record(ends, partial and not self._writes.at_most_once))
        self._attempted = [index for index, _, _ in judged] if partial else ends.keys()
        settled_after: dict[Lane, list[SettledAfterWrite]] = {}
        for index, end, verdict in judged:
            if isinstance(verdict, Finish):
                owner = self._lane_of_each_record[index]
                if owner is not None and index > self._written.get(owner, index):
                    settled_after.setdefault(owner, []).append(
                        self._take_and_report_settled_record(index, end, verdict, share_s)
                    )
                elif not self._finish_record(index, end, verdict, share_s):
                    return False
        for index, end, verdict in judged:
            if isinstance(verdict, Wait):
                self._report_failed_record(index, end, verdict)
                self._count_failed_attempt(index, share_s)
                self._waits[index] = verdict.delay_s
        for index, end, verdict in judged:
            if isinstance(verdict, SendToRetryTopic | SendToDeadLetter):
                self._begin_dead_letter_or_retry_topic_write(index, end, verdict, share_s)
        for lane, settled in settled_after.items():
            self._writes.add_records_settled_after_write(lane, settled)
        for index, end, verdict in judged:
            if isinstance(verdict, StopConsuming):
                self._report_failed_record(index, end, verdict)
                raise StopApp(f"{address_of(self._records[index])} stops the app: {verdict.reason}", verdict.error)
        return True

    def _decide_each_record(
        self, ends: Mapping[int, FailureOutcome | None], failed_hold_back: bool
    ) -> Iterator[tuple[int, FailureOutcome | None, Verdict]]:
        route, attempt = self._batch.route, self._batch.attempt
        for index in sorted(ends):
            end, owner = ends[index], self._lane_of_each_record[index]
            if owner is not None and index > self._failed.get(owner, index):
                continue  # counts as not done
            if isinstance(end, Unmatched):
                self._report.report_unmatched(self._records[index], end)
            verdict = self._decide(self._batch.partition.tp.topic, route, end, attempt)
            if owner is not None and (
                isinstance(verdict, Wait | StopConsuming) or (failed_hold_back and isinstance(end, Failed))
            ):
                self._failed[owner] = index
            if (
                owner is not None
                and isinstance(verdict, SendToRetryTopic | SendToDeadLetter)
                and not self._writes.at_most_once
            ):
                self._written.setdefault(owner, index)
            yield index, end, verdict

    def _begin_dead_letter_or_retry_topic_write(
        self, index: int, end: FailureOutcome | None, verdict: SendToRetryTopic | SendToDeadLetter, share_s: float
    ) -> None:
        """The record waits in its own lane, which continues when the record is written and the batch is over."""
        lane = self._lane_of_each_record[index] or self._new_lane_without_order(index)
        self._writes.begin_write(lane, self._records[index], self._runner.slot, end, verdict, share_s)
        del self._open[index]

    def _take_and_report_settled_record(
        self, index: int, end: FailureOutcome | None, verdict: Finish, share_s: float
    ) -> SettledAfterWrite:
        self._report_if_failed_or_skipped(index, end, verdict)
        return SettledAfterWrite(self._open.pop(index), copy(self._runner.slot), verdict.status, share_s)

    def _finish_record(self, index: int, end: FailureOutcome | None, verdict: Finish, share_s: float) -> bool:
        record = self._open.pop(index)
        self._report_if_failed_or_skipped(index, end, verdict)
        if not self._batch.partition.ledger.finish(record.offset):
            self._report.report_dropped(self._runner.slot.route, record)  # the partition was revoked meanwhile
            return False
        self._report.report_finished(self._runner.slot, record, verdict.status, share_s)
        return True

    def _report_if_failed_or_skipped(self, index: int, end: FailureOutcome | None, verdict: Finish) -> None:
        if isinstance(end, Failed):
            self._report_failed_record(index, end, verdict)
        elif isinstance(end, Skip):
            self._report.report_skipped(self._runner.slot, self._records[index], end)

    def _report_failed_record(self, index: int, end: FailureOutcome | None, verdict: Verdict) -> None:
        self._report.report_failed(self._runner.slot, self._records[index], end, verdict)

    # ------------------------------------------------------------------ trying again

    @property
    def _forbids_retries(self) -> bool:
        """Whether its partition is being revoked: records that are not done are dropped, the next owner reads them."""
        return self._batch.partition.forbids_retries

    def _retry_batch(self, wanted: Sequence[int], outcome: FailureOutcome, verdict: Wait) -> None:
        """The batch is tried again unchanged."""
        share_s = (self._clock.now() - self._runner.started_s) / len(wanted)
        self._report_failed_record(wanted[0], outcome, verdict)
        for index in wanted:
            self._count_failed_attempt(index, share_s)
        if self._forbids_retries:
            return
        batch = self._batch
        batch.queue.extend(self._open.pop(index) for index in wanted)
        self._put_back_unfinished({self._lane_of_each_record[index] for index in wanted})
        for lane in self._written.keys() & batch.members.keys():
            self._scheduler.remove_lane_from_batch(batch, lane)
        batch.count_failed_attempt()
        self._scheduler.schedule_retry(batch, verdict.delay_s)

    def _put_back_unfinished(self, staying: Collection[Lane | None]) -> None:
        """Put the records that are not done back to the head of their lanes.

        Args:
            staying: lanes with records in this batch, which is tried again: they wait for it.
        """
        if self._forbids_retries:
            return
        left: dict[Lane, list[Record]] = {}
        for index, record in self._open.items():
            left.setdefault(self._lane_of_each_record[index] or self._new_lane_without_order(index), []).append(record)
        for lane, records in left.items():
            lane.queue.extendleft(reversed(records))
        for lane in self._written:
            lane.sort_records()
        for index, delay_s in self._waits.items():
            lane = self._lane_of_each_record[index] or self._new_lane_without_order(index)
            if self._failed.get(lane, index) == index and lane not in staying:
                self._scheduler.schedule_retry(lane, delay_s)
                self._scheduler.remove_lane_from_batch(self._batch, lane)
        for lane in left:
            if lane.state is LaneState.IDLE:  # a new lane, for a record that is handled again without a wait
                self._scheduler.make_ready(lane)

    def _count_failed_attempt(self, index: int, share_s: float) -> None:
        """This record has failed, and is to be tried again."""
        record = self._records[index]
        if self._batch.partition.count_failed_attempt(record.offset, self._batch.attempt):
            self._report.report_finished(self._runner.slot, record, "retried", share_s)
        else:
            self._report.report_dropped(self._runner.slot.route, record)

    def _new_lane_without_order(self, index: int) -> Lane:
        """A new lane, in which a record that needs no order waits."""
        lane = self._lane_of_each_record[index] = self._batch.partition.new_lane_without_order()
        return lane
