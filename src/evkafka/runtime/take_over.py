"""The beginning of a partition: what its earlier owner has left, and the mark of this one.

Before the first record of an assignment begins, this owner commits its mark (`BEGUN`) at the offset that it begins at.
The mark goes with the first commit after that offset, after a minute, or when the partition is released. So an owner
that finds the mark knows that an earlier one has died there, and looks for the record that did it
(`suspect_records.py`).

A commit that fails delays nothing for longer than its own time limit: the marks only help to find such a record.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from evkafka.exceptions import BrokerRefused
from evkafka.records import Record
from evkafka.runtime.assignment import Assignment
from evkafka.runtime.commit_metadata import OwnerMark, Ownership
from evkafka.runtime.partition import Partition
from evkafka.runtime.ports import RecordSource
from evkafka.runtime.supervision.tasks import SupervisedTasks
from evkafka.runtime.suspect_records import SuspectRecords

BEGUN_S = 60.0
"""How long the mark of an owner stays, if nothing is committed after the offset that it began at."""

MARK_S = 3.0
"""How long the first records of an assignment wait for the commit of the mark at most."""


class PartitionTakeOver:
    """Begins the partitions of one consumer.

    Args:
        hand_out: puts records into their lanes.
        owner: identifies this consumer in its marks.
    """

    def __init__(
        self,
        assignment: Assignment,
        tasks: SupervisedTasks,
        suspects: SuspectRecords,
        hand_out: Callable[[Partition, Sequence[Record]], None],
        fail: Callable[[BaseException], object],
        *,
        owner: str,
    ) -> None:
        self._assignment = assignment
        self._tasks = tasks
        self._suspects = suspects
        self._hand_out = hand_out
        self._fail = fail
        self._owner = owner
        self._marks_due: dict[Partition, None] = {}
        self._marking: asyncio.Task[None] | None = None

    def drop_finished_by_earlier_owner(
        self, source: RecordSource, partition: Partition, records: Sequence[Record]
    ) -> Sequence[Record]:
        """Those of the records, which were just read, that no earlier owner has finished."""
        inherited, ledger, tp = partition.inherited, partition.ledger, partition.tp
        epoch = source.leader_epoch_before(tp, records[-1].offset + 1)
        if inherited is not None and -1 < inherited.epoch < epoch:
            # No earlier owner has read these. What it says about their offsets is about records that were there before
            # the log was truncated (KIP-320).
            partition.forget_inherited_at_or_after(
                next(one.offset for one in records if source.leader_epoch_before(tp, one.offset + 1) > inherited.epoch),
                epoch,
            )
        if not ledger.has_inherited_at_or_after(records[0].offset):
            return records
        return [one for one in records if not ledger.is_inherited(one.offset)]

    # ------------------------------------------------------------------ this owner's mark

    def hand_out_after_trying_to_commit_mark(self, partition: Partition, records: Sequence[Record]) -> None:
        """Hand the records out as soon as the mark is committed. They were just read."""
        if partition.began_at is None and self._assignment.committer is not None and not self._assignment.at_most_once:
            partition.began_at = records[0].offset
            partition.hold_records(records)
            self._start_mark_commit_or_suspect_handling(partition)
        elif partition.is_held:
            partition.hold_records(records)
        else:
            self._hand_out(partition, records)

    def _start_mark_commit_or_suspect_handling(self, partition: Partition) -> None:
        """Start the task after which its held records are handed out. Until then it is not read."""
        self._assignment.flow.add_reason(partition.tp, "beginning")
        found = partition.inherited_mark
        # A mark of our own is one that we could not take back, because the connection was lost: nobody has died.
        if found.ownership is not Ownership.OPEN and found.owner != self._owner:
            what = f"suspects-{partition.tp.topic}-{partition.tp.partition}"
            self._start_task_repeated_if_cancelled(what, lambda: self._handle_suspects(partition, found))
            return
        self._marks_due[partition] = None
        if self._marking is None or self._marking.done():
            self._marking = self._start_task_repeated_if_cancelled("mark", self._commit_owner_marks)

    def _start_task_repeated_if_cancelled(self, what: str, step: Callable[[], Awaitable[None]]) -> asyncio.Task[None]:
        """Run a step in a task. After a cancellation from outside it runs again: its records would never begin."""
        return self._tasks.start_task(what, self._tasks.run_step_again_if_cancelled(step), returns=True)

    async def _commit_owner_marks(self) -> None:
        """Commit the marks of all partitions that begin now, in one request."""
        await asyncio.sleep(0)  # the other partitions of this poll
        while self._marks_due:
            marked = list(self._marks_due)
            await self._mark_and_hand_out(marked)
            for partition in marked:
                del self._marks_due[partition]

    async def _handle_suspects(self, partition: Partition, found: OwnerMark) -> None:
        await self._suspects.handle_one_at_a_time(partition, found)
        partition.began_at = partition.first_unfinished_offset
        await self._mark_and_hand_out([partition])

    async def _mark_and_hand_out(self, partitions: Sequence[Partition]) -> None:
        """Commit the mark, and let the partitions be read as usual."""
        committer = self._assignment.committer
        owned = [one for one in partitions if self._assignment.may_partition_begin_records(one)]
        for partition in owned:
            if not partition.is_suspect_being_written:
                partition.mark = OwnerMark(Ownership.BEGUN, 1, owner=self._owner)
        if committer is not None and owned:
            try:
                await committer.commit(owned, timeout_s=MARK_S)
            except BrokerRefused as error:
                self._fail(error)
        for partition in partitions:
            self._hand_out_held(partition)

    def _hand_out_held(self, partition: Partition) -> None:
        records = partition.release_held()
        if not self._assignment.may_partition_begin_records(partition):
            return
        self._assignment.flow.remove_reason(partition.tp, "beginning")
        self._assignment.clock.call_later(BEGUN_S, partition.clear_own_mark)
        if records:
            self._hand_out(partition, records)
