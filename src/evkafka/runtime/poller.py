"""Step 1 of 7: the poll loop, and how records come from a poll into their partitions' lanes.

It alone takes records from the source, and is always in the poll or on its way back into it: that keeps the
membership alive, also when everything is full, idle or draining. Records that come for a partition that is not ours,
or is leaving, are dropped: its next owner reads them again.
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
from evkafka.runtime.dead_letters.retry_topics import RetryTopics
from evkafka.runtime.delayed_records import DelayedRecords
from evkafka.runtime.flow_control import NONE
from evkafka.runtime.partition import Partition
from evkafka.runtime.ports import RecordSource
from evkafka.runtime.reporting import TelemetryReporter
from evkafka.runtime.supervision.stop_signal import StopSignal
from evkafka.telemetry import CommitFailed, RecordsReceived

VALUE = attrgetter("value")


class Poller:
    """One consumer's.

    Args:
        retry_topics: the retry topics that it reads; None for a consumer that reads none.

    Attributes:
        open: set to False, the loop ends with the poll under way.
    """

    def __init__(
        self,
        held: Assignment,
        ending: StopSignal,
        report: TelemetryReporter,
        limit: DeadLetterLimit,
        *,
        retry_topics: RetryTopics | None,
    ) -> None:
        self._held = held
        self._ending = ending
        self._report = report
        settings = held.settings
        # Without a group there is nothing to commit, and nothing to wait for.
        self._commits_first = (
            held.at_most_once and settings.auto_commit_interval_s == 0 and settings.group_id is not None
        )
        self._limit = limit
        self._waiting = DelayedRecords(held, retry_topics, self._hand_out) if retry_topics is not None else None
        self._positions_due_s = 0.0
        self._progressed = False
        self.open = False

    # ------------------------------------------------------------------ the poll loop

    async def run(self, source: RecordSource, polled: Callable[[], None]) -> None:
        """Poll and hand out, until `open` is False.

        Args:
            polled: called whenever a poll has returned.
        """
        held = self._held
        while self.open:
            wanted = self._wanted()
            closed = wanted is not None and not wanted
            batches = await source.poll(
                wanted,
                timeout_s=0 if closed else held.settings.consumer_timeout_s,
                max_records=self._poll_size(),
            )
            polled()
            if batches:
                await self._take(source, batches)
            if not batches or held.clock.now() >= self._positions_due_s:
                self._read_positions(source)
                if self._commits_first:
                    await self._commit_positions(source)
            if batches:
                await asyncio.sleep(0)  # the executors' turn, also when the next poll would return at once
            if closed:
                await self._wait_for_room()

    def _wanted(self) -> Collection[TopicPartition] | None:
        if self._ending.is_set or self._poll_size() == 0:
            return NONE
        return self._held.flow.wanted()

    def _poll_size(self) -> int:
        """How many records the next poll may bring. At most once, no more than one poll's worth is in hand."""
        most = self._held.settings.max_poll_records
        return most - self._held.pending if self._held.at_most_once else most

    async def _wait_for_room(self) -> None:
        """Nothing can be read now. Half a second at most, for the membership wants a poll now and then."""
        room = self._held.flow.room
        room.clear()
        if not self._ending.stopping.done():
            self._progress()  # what was finished since may have made room already
        if self.open and not room.is_set():
            waiter = asyncio.ensure_future(room.wait())
            try:
                await wait_any(self._held.clock, waiter, timeout_s=0.5)
            finally:
                waiter.cancel()
        await asyncio.sleep(0)  # neither this nor a poll of nothing need suspend: others must have their turn

    # ------------------------------------------------------------------ from a poll into the lanes

    async def _take(self, source: RecordSource, batches: Mapping[TopicPartition, Sequence[Record]]) -> None:
        """Put what the poll returned into its partitions' lanes; positions are read in this same step."""
        if self._commits_first:
            await self._commit_and_take(source, batches)
            return
        for tp, records in batches.items():
            self._open(source, tp, records)

    def _open(self, source: RecordSource, tp: TopicPartition, records: Sequence[Record]) -> None:
        partition = self._held.partitions.get(tp)
        if not records:
            return
        if partition is None or not self._takes(partition):
            self._hand_back(source, tp, records[0])
            return
        if not self._limit.allows(source, partition):
            return
        if self._held.telemetry.wants(RecordsReceived):
            sizes = [*map(len, filter(None, map(VALUE, records)))]
            self._held.telemetry.emit(RecordsReceived(self._held.name, tp.topic, tp.partition, len(records), sizes))
        if self._waiting is not None:
            self._waiting.keep(partition, records)
        else:
            self._hand_out(partition, records)

    def _hand_out(self, partition: Partition, records: Sequence[Record]) -> None:
        held, tp = self._held, partition.tp
        assert held.source is not None
        held.taken += len(records)
        held.lanes.add_records(partition, records, held.source.position(tp))
        held.flow.took(partition)
        if held.flow.is_full(tp) or self._poll_size() == 0:
            held.lanes.close_batches(partition)

    def _takes(self, partition: Partition) -> bool:
        """Whether its records may still begin. At most once, what comes while it is leaving has its drain time too."""
        return not (partition.closed or (partition.leaving and not self._held.at_most_once))

    def _hand_back(self, source: RecordSource, tp: TopicPartition, first: Record) -> None:
        """A poll under way has brought records of a partition that was given back meanwhile.

        Post-commit, nothing is to be done: they are not committed. At most once the client commits its position, at
        its stop too, and that has moved past them in this very step: moved back, their next reader gets them.
        """
        if self._held.at_most_once:
            source.seek(tp, first.offset)

    async def _commit_and_take(self, source: RecordSource, batches: Mapping[TopicPartition, Sequence[Record]]) -> None:
        """At most once, strictly: nothing runs before its commit has been confirmed.

        A revoke waits for the lock, so the records are in their lanes before it drains them. When the answer
        stays out, none of them is run: the source is made anew and reads on from whatever was written.
        """
        held = self._held
        async with held.handing_over:
            assigned = dict(held.partitions)
            offsets = {
                tp: records[-1].offset + 1
                for tp, records in batches.items()
                if records and (partition := assigned.get(tp)) is not None and self._takes(partition)
            }
            try:
                await source.commit(offsets, timeout_s=COMMIT_TIMEOUT_S)
            except CommitRefused as error:
                # Nothing was written, for a rebalance has begun: the next owner reads these records again.
                held.telemetry.emit(CommitFailed(held.name, offsets, error))
                for tp, records in batches.items():
                    if records and held.partitions.get(tp) is assigned.get(tp):
                        self._hand_back(source, tp, records[0])  # else the position behind them would be committed
                return
            for tp, records in batches.items():
                if (partition := held.partitions.get(tp)) is assigned.get(tp):  # else somebody has sought elsewhere
                    if partition is not None and tp in offsets:
                        partition.committed = offsets[tp]
                    self._open(source, tp, records)
                elif partition is None and tp in offsets:  # given back before the answer came
                    held.left(records)

    async def _commit_positions(self, source: RecordSource) -> None:
        """At most once, strictly: what lies behind the last record and is none (markers, what the client could not
        read) is committed too, so that lag reads 0. All that lies before the position has been handed out."""
        held = self._held
        async with held.handing_over:
            moved = {
                partition: position
                for tp, partition in held.partitions.items()
                if self._takes(partition)
                and not partition.leaving
                and (position := source.position(tp)) is not None
                and position != partition.committed
            }
            if not moved:
                return
            offsets = {partition.tp: position for partition, position in moved.items()}
            try:
                await source.commit(offsets, timeout_s=COMMIT_TIMEOUT_S)
            except BrokerRefused:
                raise
            except BrokerError as error:  # the next look commits it
                held.telemetry.emit(CommitFailed(held.name, offsets, error))
                return
            for partition, position in moved.items():
                partition.committed = position

    def _read_positions(self, source: RecordSource) -> None:
        """Where the client stands in this step, all that it handed out being in the ledgers: what is idle may be
        committed up to here, so that lag reads 0 behind transaction markers."""
        held = self._held
        self._positions_due_s = held.clock.now() + 1.0
        for tp, partition in held.partitions.items():
            # What a poll under way brings for one that is leaving is dropped, and the client stands behind it.
            # Nor what it brings for one that a failing record has closed.
            if (
                not (partition.leaving or partition.closed)
                and source.position(tp) is not None
                and self._limit.allows(source, partition)
            ):
                partition.arrive(source.position(tp))
        if held.settings.auto_commit_interval_s == 0 and held.uncommitted:
            held.commit_due.set()

    # ------------------------------------------------------------------ making room

    def note_progress(self) -> None:
        """An executor got on. It is looked at once for all of them, on the loop's next round."""
        if not self._progressed:
            self._progressed = True
            asyncio.get_running_loop().call_soon(self._progress)

    def _progress(self) -> None:
        held = self._held
        self._progressed = False
        held.flow.progress()
        self._report.flush()
        if held.at_most_once and not held.flow.room.is_set():
            if held.pending <= held.settings.max_poll_records // 2:
                held.flow.room.set()
        elif held.settings.auto_commit_interval_s == 0:
            held.commit_due.set()
