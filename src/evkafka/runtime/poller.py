"""Step 1 of 7: the poll loop, and how records get from a poll into their partitions' lanes.

It alone takes records from the source. It polls also while all partitions are full, idle or draining, because a poll
raises the failure of its source, and applies resets; the watchdog restarts a consumer whose polls have ended. Records
of a partition that is not assigned any more, or is being revoked, are dropped: its next owner reads them again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from operator import attrgetter

from evkafka.exceptions import BrokerError, BrokerRefused, CommitRefused
from evkafka.records import Record, TopicPartition
from evkafka.runtime.assignment import Assignment
from evkafka.runtime.clock import wait_any
from evkafka.runtime.committer import COMMIT_TIMEOUT_S
from evkafka.runtime.dead_letter_limit import DeadLetterLimit
from evkafka.runtime.flow_control import NO_PARTITIONS
from evkafka.runtime.partition import Partition
from evkafka.runtime.ports import RecordSource
from evkafka.runtime.progress import Progress
from evkafka.runtime.reporting import TelemetryReporter
from evkafka.runtime.supervision.stop_signal import StopSignal
from evkafka.runtime.take_over import PartitionTakeOver
from evkafka.telemetry import CommitFailed, OffsetsCommitted, RecordsReceived

VALUE = attrgetter("value")


class Poller:
    """The poll loop of one consumer.

    Args:
        limit: decides whether a partition may be read.

    Attributes:
        running: once it is False, the poll loop ends after the current poll.
    """

    def __init__(
        self,
        assignment: Assignment,
        stop_signal: StopSignal,
        report: TelemetryReporter,
        limit: DeadLetterLimit,
        take_over: PartitionTakeOver,
        progress: Progress,
    ) -> None:
        self._assignment = assignment
        self._stop_signal = stop_signal
        self._report = report
        self._commits_first = assignment.settings.commits_each_poll_before_running_it
        self._limit = limit
        self._take_over = take_over
        self._progress = progress
        self._positions_due_s = self._commits_due_s = 0.0
        self.running = False

    # ------------------------------------------------------------------ the poll loop

    async def run(self, source: RecordSource, polled: Callable[[], None]) -> None:
        """Poll and hand out records, until `running` is False.

        Args:
            polled: called whenever a poll has returned.
        """
        assignment = self._assignment
        while self.running:
            partitions = self._partitions_to_read()
            reads_nothing = partitions is not None and not partitions
            batches = await source.poll(
                partitions,
                timeout_s=0 if reads_nothing else assignment.settings.consumer_timeout_s,
                max_records=self._assignment.next_poll_max_records(),
            )
            polled()
            if batches:
                await self._hand_out_polled_records(source, batches)
            if not batches or assignment.clock.now() >= self._positions_due_s:
                self._update_ledger_positions(source)
                if self._commits_first:
                    await self._commit_positions_if_moved(source)
            if batches:
                await asyncio.sleep(0)  # let the executors run, even if the next poll would return at once
            if reads_nothing:
                await self._wait_until_readable()

    def _partitions_to_read(self) -> Collection[TopicPartition] | None:
        if self._stop_signal.is_set or self._assignment.next_poll_max_records() == 0:
            return NO_PARTITIONS
        return self._assignment.flow.partitions_to_poll()

    async def _wait_until_readable(self) -> None:
        """Wait while nothing can be read. Half a second at most: only a poll shows that the source has failed."""
        room = self._assignment.flow.room
        room.clear()
        if not self._stop_signal.stopping.done():
            # Records that were finished before `room.clear` may have made room.
            self._progress.resume_reading_and_flush_reports()
        if self.running and not room.is_set():
            waiter = asyncio.ensure_future(room.wait())
            try:
                await wait_any(self._assignment.clock, waiter, timeout_s=0.5)
            finally:
                waiter.cancel()
        # Let other tasks run: this wait and a poll of no partition may both return without suspending.
        await asyncio.sleep(0)

    # ------------------------------------------------------------------ from a poll into the lanes

    async def _hand_out_polled_records(
        self, source: RecordSource, batches: Mapping[TopicPartition, Sequence[Record]]
    ) -> None:
        """Hand the records of a poll to their partitions, without an `await` in between, except when each poll is
        committed first. A partition enters them in its ledger and lanes; or it holds them, until this owner's mark is
        committed (`PartitionTakeOver`) or until their time has come (retry topics)."""
        if self._commits_first:
            await self._commit_polled_then_hand_out(source, batches)
            return
        for tp, records in batches.items():
            self._hand_out_partition_records(source, tp, records)

    def _hand_out_partition_records(self, source: RecordSource, tp: TopicPartition, records: Sequence[Record]) -> None:
        if not records:
            return
        partition = self._assignment.partitions.get(tp)
        if partition is None or not self._may_hand_out(partition):
            self._seek_to_dropped_records_if_at_most_once(source, tp, records[0])
            return
        if not self._inherit_commit_and_check_stored_limit(partition):  # this call has stopped the app
            return
        if self._assignment.telemetry.wants(RecordsReceived):
            sizes = [*map(len, filter(None, map(VALUE, records)))]
            self._assignment.telemetry.emit(
                RecordsReceived(self._assignment.name, tp.topic, tp.partition, len(records), sizes)
            )
        unfinished = self._take_over.drop_finished_by_earlier_owner(source, partition, records)
        if unfinished:
            self._take_over.hand_out_after_trying_to_commit_mark(partition, unfinished)
        else:
            partition.set_read_position(source.position(tp))

    def _inherit_commit_and_check_stored_limit(self, partition: Partition) -> bool:
        """Whether the partition may be read, by what the last commit says. If not, this stops the app."""
        self._assignment.inherit_last_commit(partition)
        return self._limit.may_read_partition_else_stop_app(partition)

    def _may_hand_out(self, partition: Partition) -> bool:
        """Whether its records may still begin. In at-most-once mode, records that a poll returns while the partition is
        being revoked run within the drain time too."""
        return not (partition.is_closed or (partition.is_being_revoked and not self._assignment.at_most_once))

    def _seek_to_dropped_records_if_at_most_once(self, source: RecordSource, tp: TopicPartition, first: Record) -> None:
        """A poll has returned records of a partition that was revoked meanwhile: they are dropped.

        In at-least-once mode nothing is to be done: they are not committed. In at-most-once mode the client commits its
        position, also when it stops. The poll has moved that position past these records, and no `await` has come
        since: the client would commit a position past these records. It is set back to the first, so that their next
        reader gets them.
        """
        if self._assignment.at_most_once:
            source.seek(tp, first.offset)

    async def _commit_polled_then_hand_out(
        self, source: RecordSource, batches: Mapping[TopicPartition, Sequence[Record]]
    ) -> None:
        """In at-most-once mode with a commit for each poll: no record runs before its commit has been confirmed.

        A revoke waits for the lock, so the records are in their lanes before it drains them. If there is no response,
        none of them runs: a new source is created, and it reads from the offset that the broker has stored. If that is
        the new one, the records are lost, as at most once allows.
        """
        assignment = self._assignment
        async with assignment.committing_polled:
            assigned = dict(assignment.partitions)
            offsets = {
                tp: records[-1].offset + 1
                for tp, records in batches.items()
                if records and (partition := assigned.get(tp)) is not None and self._may_hand_out(partition)
            }
            try:
                await self._commit_and_report(source, offsets)
            except CommitRefused:
                # Nothing was written, because a rebalance has begun: the next owner reads these records again.
                for tp, records in batches.items():
                    if records and assignment.partitions.get(tp) is assigned.get(tp):
                        # Otherwise the client would commit past them.
                        self._seek_to_dropped_records_if_at_most_once(source, tp, records[0])
                return
            for tp, records in batches.items():
                if (partition := assignment.partitions.get(tp)) is assigned.get(tp):  # else a user has called seek
                    if partition is not None and tp in offsets:
                        partition.committed = offsets[tp]
                    self._hand_out_partition_records(source, tp, records)
                elif partition is None and tp in offsets:  # revoked before the response came
                    assignment.report_records_as_lost(records)

    async def _commit_positions_if_moved(self, source: RecordSource) -> None:
        """In at-most-once mode with a commit for each poll: commit also the offsets after the last record (transaction
        markers, records that the client could not read), so that lag is 0. All records before the position have been
        handed out."""
        assignment = self._assignment
        async with assignment.committing_polled:
            moved = {
                partition: position
                for tp, partition in assignment.partitions.items()
                if self._may_hand_out(partition)
                and not partition.is_being_revoked
                and (position := source.position(tp)) is not None
                and position != partition.committed
            }
            if not moved:
                return
            offsets = {partition.tp: position for partition, position in moved.items()}
            try:
                await self._commit_and_report(source, offsets)
            except BrokerRefused:
                raise
            except BrokerError:  # the next call commits it
                return
            for partition, position in moved.items():
                partition.committed = position

    async def _commit_and_report(self, source: RecordSource, offsets: dict[TopicPartition, int]) -> None:
        """Commit offsets in at-most-once mode; raises the errors of `RecordSource.commit`."""
        assignment, began_s = self._assignment, self._assignment.clock.now()
        try:
            await source.commit(offsets, timeout_s=COMMIT_TIMEOUT_S)
        except BrokerError as error:
            assignment.telemetry.emit(CommitFailed(assignment.name, offsets, error))
            raise
        if offsets:
            assignment.telemetry.emit(OffsetsCommitted(assignment.name, offsets, assignment.clock.now() - began_s))

    def _update_ledger_positions(self, source: RecordSource) -> None:
        """Read the client's positions while all records that it returned are in the ledgers (no `await` comes in
        between): an idle partition may be committed up to its position, so that lag is 0 after transaction markers."""
        assignment, now_s = self._assignment, self._assignment.clock.now()
        self._positions_due_s = now_s + 1.0
        for tp, partition in assignment.partitions.items():
            # While a partition is being revoked, or is closed by a failing record, its position is not recorded: the
            # poll may have moved past dropped records.
            if (
                not (partition.is_being_revoked or partition.is_closed)
                and source.position(tp) is not None
                and self._inherit_commit_and_check_stored_limit(partition)  # stops the app if the limit is reached
            ):
                partition.set_read_position(source.position(tp))
        # The commit timer is told when an executor leaves a lane. Without that, the position, this owner's mark and the
        # dead-letter rate may change, and a record may end in the middle of a lane right after a commit: so one look in
        # each interval.
        if now_s >= self._commits_due_s:
            self._commits_due_s = now_s + assignment.settings.commit_interval_s
            if assignment.has_uncommitted:
                assignment.commit_timer.note_activity()
