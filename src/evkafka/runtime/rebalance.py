"""The consumer's side of a rebalance: partitions are assigned, revoked and lost, positions are reset.

A rebalance moves some partitions, or all of them: nothing here touches the others. A revoke and the drain at a stop are
the same.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Collection, Sequence

from evkafka.exceptions import BrokerRefused
from evkafka.records import OffsetReset, TopicPartition, Unreadable
from evkafka.runtime.assignment import Assignment
from evkafka.runtime.clock import acquire_lock, wait_any
from evkafka.runtime.committer import COMMIT_TIMEOUT_S
from evkafka.runtime.corrupt_records import CorruptRecords
from evkafka.runtime.executor import Executor
from evkafka.runtime.partition import Partition
from evkafka.runtime.ports import PositionsCommit
from evkafka.runtime.reporting import TelemetryReporter
from evkafka.runtime.supervision.stop_signal import StopSignal
from evkafka.telemetry import CommitFailed, OffsetsCommitted, PartitionsAssigned, PartitionsRevoked, PositionReset

CANCEL_S = 1.0
"""How long a cancelled attempt may take to end before the consumer continues without it."""


class RebalanceListener:
    """The listener of one consumer's sources; implements SourceListener.

    Attributes:
        attempts_cancelled_at_stop: how many attempts the stop's drain time was too short for.
    """

    def __init__(
        self,
        assignment: Assignment,
        stop_signal: StopSignal,
        executors: Sequence[Executor],
        report: TelemetryReporter,
        corrupt_records: CorruptRecords,
    ) -> None:
        self._assignment = assignment
        self._stop_signal = stop_signal
        self._executors = executors
        self._report = report
        self._corrupt_records = corrupt_records
        self.attempts_cancelled_at_stop = 0

    # ------------------------------------------------------------------ the source's calls

    async def on_revoked(self, partitions: Collection[TopicPartition]) -> None:
        """Let running attempts end within the drain time, commit them, and give these partitions back."""
        assignment = self._assignment
        drain_s = await self._wait_until_polled_records_are_in_lanes(assignment.settings.revoke_drain_timeout_s)
        revoked = [assignment.partitions[tp] for tp in partitions if tp in assignment.partitions]
        try:
            await self.release_partitions(revoked, drain_s, lambda: COMMIT_TIMEOUT_S)
        except BrokerRefused as error:
            self._stop_signal.fail(error)

    async def on_lost(self, partitions: Collection[TopicPartition]) -> None:
        """Cancel what runs of these partitions, and commit nothing of them: they have another owner already.

        Without an `await`: a result that comes after this call does not count.
        """
        assignment = self._assignment
        lost = [assignment.partitions[tp] for tp in partitions if tp in assignment.partitions]
        self._corrupt_records.cancel_dead_letters(lost)
        self._end_assignment_and_report_revoked(lost, self._cancel_unfinished(lost), lost=True)

    async def on_assigned(self, partitions: Collection[TopicPartition]) -> None:
        """New ledgers for these partitions. What the last commit says about them is read when they are first read."""
        assignment = self._assignment
        for tp in partitions:
            assignment.flow.remove_assignment_reasons(tp)
            partition = assignment.add_new_partition(tp)
            if self._stop_signal.is_set:  # the drain has begun without it: nobody would wait for its records
                partition.close()
        assignment.flow.room.set()
        total = len(assignment.partitions)
        epoch = assignment.source.group_epoch() if assignment.source is not None else None
        assignment.telemetry.emit(
            PartitionsAssigned(assignment.name, tuple(sorted(partitions)), total, *(epoch or (None, None)))
        )

    def on_reset(self, reset: OffsetReset) -> None:
        """The position that the reset rule found is committed at once: a crash before the first commit skips
        nothing."""
        assignment = self._assignment
        assignment.telemetry.emit(PositionReset(assignment.name, reset, assignment.settings.auto_offset_reset))
        partition = assignment.partitions.get(reset.partition)
        if partition is None or partition.is_being_revoked:
            return
        to_offset = reset.to_offset
        partition.was_reset = reset.reason != "retention"
        assignment.inherit_last_commit(partition)
        if to_offset <= partition.last_read_offset:  # offsets will be read again: that needs a new ledger
            to_offset = self._seek_to_unfinished_after_truncation(partition, reset)
            assignment.report_open_as_lost_if_at_most_once((partition,))
            partition = assignment.replace_partition_with_new_ledger(partition)
        partition.set_read_position(to_offset)
        assignment.commit_timer.due.set()

    def _seek_to_unfinished_after_truncation(self, partition: Partition, reset: OffsetReset) -> int:
        """After a truncation, go back to the first unfinished record if it lies before the truncation point."""
        done, source = partition.ledger.committable(), self._assignment.source
        if reset.reason != "truncated" or done is None or done >= reset.to_offset or self._assignment.at_most_once:
            return reset.to_offset
        assert source is not None
        source.seek(reset.partition, done)
        return done

    def on_positions_commit(self, commit: PositionsCommit) -> None:
        assignment, offsets = self._assignment, dict(commit.offsets)
        if commit.error is not None:
            assignment.telemetry.emit(CommitFailed(assignment.name, offsets, commit.error))
            return
        for tp, offset in offsets.items():
            if (partition := assignment.partitions.get(tp)) is not None:
                partition.committed = offset
        assignment.telemetry.emit(OffsetsCommitted(assignment.name, offsets, commit.duration_s))

    def on_unreadable_records(self, unreadable: Unreadable) -> None:
        self._corrupt_records.handle(unreadable)

    # ------------------------------------------------------------------ giving partitions back

    async def release_all_partitions(self, drain_s: float, commit_s: Callable[[], float]) -> None:
        """Give back everything, as `release_partitions` does."""
        drain_s = await self._wait_until_polled_records_are_in_lanes(drain_s)
        await self.release_partitions(list(self._assignment.partitions.values()), drain_s, commit_s)

    async def _wait_until_polled_records_are_in_lanes(self, drain_s: float) -> float:
        """At most once, wait until the records of a poll that are being committed are in their lanes: they must run.

        Returns the drain time that is left. The wait is part of the drain, so that a commit without a response does not
        make the drain longer.
        """
        clock, until_s = self._assignment.clock, self._assignment.clock.now() + drain_s
        if await acquire_lock(clock, self._assignment.committing_polled, drain_s):
            self._assignment.committing_polled.release()
        return max(until_s - clock.now(), 0.0)

    async def release_partitions(
        self, revoked: Collection[Partition], drain_s: float, commit_s: Callable[[], float]
    ) -> None:
        """Give partitions back: let running attempts end, cancel those that do not, commit, end the assignment.

        In at-least-once mode, records that have not begun are dropped at once, because the next owner reads them. In
        at-most-once mode their offsets may be committed already: they still run within the drain time. What has not
        ended then, cancelled attempts included, is reported as lost.

        Args:
            commit_s: the time for the commit, called when it begins.
        """
        assignment, scheduler = self._assignment, self._assignment.scheduler
        revoked = [partition for partition in revoked if not partition.ledger.sealed]
        if not revoked:
            return
        self._corrupt_records.cancel_dead_letters(revoked)
        for partition in revoked:
            partition.clear_own_mark_and_attempt_before_revoke()
            partition.begin_revoke()
            if not assignment.at_most_once:
                scheduler.drop_unbegun_records(partition)
                continue
            scheduler.resume_partition(partition)  # even if a user has paused it, what was read still runs
            scheduler.end_batch_waits(partition)
        await self._wait_until_idle(revoked, drain_s)
        cut = self._cancel_unfinished(revoked)
        if self._stop_signal.stopping.done():
            self.attempts_cancelled_at_stop += cut
        if cut:
            await self._wait_until_idle(revoked, CANCEL_S)
        if assignment.committer is not None and not assignment.at_most_once:
            await assignment.committer.commit(revoked, timeout_s=commit_s())
        self._end_assignment_and_report_revoked(revoked, cut)

    def _cancel_unfinished(self, partitions: Collection[Partition]) -> int:
        """No more of their records begin, and what runs or is written is cancelled; returns how much that was."""
        scheduler = self._assignment.scheduler
        for partition in partitions:
            scheduler.close_partition_and_drop_unbegun(partition)
        cut = self._cancel_attempts(partitions)
        return cut + sum(len(scheduler.abandon_partition_writes(partition)) for partition in partitions)

    def _end_assignment_and_report_revoked(
        self, partitions: Collection[Partition], cut: int, *, lost: bool = False
    ) -> None:
        """End the assignment of these partitions, unless a stop or a loss has ended it during the drain."""
        assignment = self._assignment
        ended = [partition for partition in partitions if not partition.ledger.sealed]
        # Before the reports of attempts that ended: a record whose attempt has ended is not open any more.
        assignment.report_open_as_lost_if_at_most_once(ended)
        for partition in ended:
            assignment.end_partition(partition)
        self._report.flush()
        if ended:
            addresses = tuple(sorted(partition.tp for partition in ended))
            assignment.telemetry.emit(PartitionsRevoked(assignment.name, addresses, cut, lost=lost))

    async def _wait_until_idle(self, revoked: Collection[Partition], timeout_s: float) -> None:
        # A seek or a reset begins a new `Partition`. An attempt of the one before may still run, and must end too
        # before another member begins the record.
        waiting = {*revoked, *(one.lane.partition for one in self._executors_of(revoked) if one.lane)}
        if any(partition.has_running_or_queued_records for partition in waiting):
            # A revoke and the stop may wait for the same partition; cancelling one gather cancels
            # the futures of the other too, hence return_exceptions.
            all_quiet = asyncio.gather(*(partition.wait_until_idle() for partition in waiting), return_exceptions=True)
            await wait_any(self._assignment.clock, all_quiet, timeout_s=timeout_s)
            if not all_quiet.done():
                all_quiet.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await all_quiet

    def _cancel_attempts(self, partitions: Collection[Partition]) -> int:
        """Cancel the running attempts of these partitions; returns how many. A thread runs on, and blocks its lane."""
        running = self._executors_of(partitions)
        for executor in running:
            executor.cancel_attempt("abandoned")
        return len(running)

    def _executors_of(self, partitions: Collection[Partition]) -> list[Executor]:
        """The executors that run a lane of these partitions."""
        tps = {partition.tp for partition in partitions}
        return [one for one in self._executors if one.lane is not None and one.lane.partition.tp in tps]
