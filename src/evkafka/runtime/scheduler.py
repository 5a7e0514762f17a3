"""Step 2 of 7: lanes. A lane is a queue of records that must run in order: those of a partition, or of one key.

At concurrency 1 (and with `ordering="partition"`) each partition is one lane, which lives as long as its
assignment. With `ordering="key"` a lane exists while it has records; a record that needs no order has its own
lane. Executors take ready lanes from one queue, so that a record costs neither a task nor a lock, and a lane that waits
for its record's next attempt delays no other.

A lane is idle, ready, running, or blocked. It is blocked while there is a reason why none of its records may begin, and
continues when the last one is removed. Methods of `LaneScheduler` add and remove the reasons, except two that a lane is
created with (`Lane`, `Batch`):

| reason | added by | removed by | when the records are cleared (revoke, seek, stop, failure) |
| --- | --- | --- | --- |
| paused | `pause_partition`; `Lane` of a paused one | `resume_partition` | stays; a new `Partition` begins paused |
| retry_wait | `schedule_retry` | the timer, in `_end_retry_wait` | removed with the timer by `drop_unbegun_records` |
| straggler | `make_ready` | `release_lane` of that attempt | stays until that attempt ends |
| permit | `_admit_lane` | `_release_permit` of another lane | stays until that release, which finds no record in it |
| gathering | `Batch`, when it is created | `_end_batch_wait` | stays, without a timer: it ends with its partition |
| in_batch | `_move_to_batch` | `release_lane` of the batch, `remove_lane_from_batch` | stays until the batch ends |
| writing | `add_pending_write` | the end of the lane's last write | failing writes are abandoned, others continue |
| schema | `block_until_schema_known` | the end of that request | stays until then; no record is left in the lane |

The records of a blocked lane are in its queue, as those of any other. A running lane may get reasons too: they take
effect when the executor releases it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Sequence
from heapq import heappop

from evkafka.records import Record
from evkafka.runtime.admission import Admission
from evkafka.runtime.partition import (
    Batch,
    BlockReason,
    Lane,
    LaneKey,
    LaneState,
    Partition,
    PendingWrite,
    SettledAfterWrite,
)
from evkafka.runtime.ports import BatchLimits, Clock, Route


class LaneScheduler:
    """The ready lanes of one consumer, and the executors that wait for one.

    Partitions with ready lanes take turns, lane by lane: a partition with thousands of busy keys delays no other.
    Within a partition, the lane whose first record is oldest comes first (see `Partition.enqueue_lane`).

    Args:
        admission: None if the consumer has neither batch endpoints nor event types with their own `concurrency`.

    Attributes:
        is_held: no record begins, in any lane.
    """

    def __init__(self, clock: Clock, admission: Admission | None = None) -> None:
        self._clock = clock
        self._admission = admission
        self._turns: deque[Partition] = deque()  # each partition with ready lanes once
        self._waiters: deque[asyncio.Future[None]] = deque()
        self._stragglers: set[LaneKey] = set()
        self._waiting_for_stragglers: dict[LaneKey, Lane] = {}
        self.is_held = False

    @property
    def has_ready_lane(self) -> bool:
        """True while a lane waits for an executor. While all are held, none does."""
        return bool(self._turns) and not self.is_held

    @property
    def does_no_lane_need_batch_or_permit(self) -> bool:
        """Whether no lane ever has to wait for a batch or for a permit."""
        return self._admission is None

    # ------------------------------------------------------------------ records come in

    def add_records(self, partition: Partition, records: Sequence[Record], position: int | None) -> None:
        """These records were just read, up to this position: put them into their lanes."""
        partition.enter_read_offsets(records, position)
        if self._admission is None or partition.only_lane is not None:
            for lane, added in partition.sort_into_lanes(records):
                self.append_records_to_lane(lane, added)
        else:  # each record by itself: a batch takes them in the order of the partition, each with its own attempts
            for record in records:
                self.append_records_to_lane(partition.lane_of(record) or partition.new_lane_without_order(), (record,))

    def append_records_to_lane(self, lane: Lane, records: Sequence[Record]) -> None:
        """Append these records to the lane."""
        lane.queue.extend(records)
        if lane.state is LaneState.IDLE:
            self.make_ready(lane)
        elif "in_batch" in lane.reasons:
            self._add_lane_records_to_its_open_batch(lane)

    def make_ready(self, lane: Lane) -> None:
        """Queue a lane with records and no reasons, unless a straggler or the admission blocks it."""
        if self._stragglers and lane.key in self._stragglers:
            # An attempt of the same lane in an earlier assignment is still running (a thread cannot be cancelled).
            # Two attempts of one key at once would break its order, so this lane waits until that attempt ends.
            self._waiting_for_stragglers[lane.key] = lane
            self.block_lane(lane, "straggler")
            return
        if self._admission is not None and not self._admit_lane(lane, self._admission):
            return
        partition = lane.partition
        lane.state = LaneState.READY
        if not partition.ready:
            self._turns.append(partition)
        partition.enqueue_lane(lane)
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                break

    # ------------------------------------------------------------------ admission

    def _admit_lane(self, lane: Lane, admission: Admission) -> bool:
        """Try to admit the lane. False if it was blocked, or its records were moved into a batch."""
        route = lane.route if isinstance(lane, Batch) else admission.limited_route(lane.queue[0])
        if route is None:
            return True
        if route.batch is not None and not isinstance(lane, Batch):
            self._gather_into_batch(lane, route, route.batch)
            return False
        if not admission.acquire_permit_or_queue_lane(lane, route):
            self.block_lane(lane, "permit")
            return False
        return True

    def _release_permit(self, lane: Lane) -> None:
        if lane.permit is None or self._admission is None:
            return
        waiting = self._admission.release_permit_and_list_waiting_lanes(lane, lane.permit)
        while waiting:
            following = waiting.popleft()
            self.unblock_lane(following, "permit")
            if following.permit is not None:  # not taken if it has no records left, or its partition is paused
                return

    def _gather_into_batch(self, lane: Lane, route: Route, limits: BatchLimits) -> None:
        batch = lane.partition.gathering.get((route, lane.attempt))
        if batch is None:
            gathered = batch = lane.partition.create_open_batch(route, limits, lane.attempt)
            batch.timer = self._clock.call_later(limits.max_wait_s, lambda: self._end_batch_wait(gathered))
        self._move_to_batch(lane, batch)

    def _add_lane_records_to_its_open_batch(self, lane: Lane) -> None:
        """Records came for a lane that is in a batch: perhaps they can go into the batch too."""
        for batch in tuple(lane.partition.gathering.values()):
            if lane in batch.members:
                self._move_to_batch(lane, batch)

    def _move_to_batch(self, lane: Lane, batch: Batch) -> None:
        """Put the lane's first records into the batch, and let the lane wait for it."""
        assert self._admission is not None
        partition = lane.partition
        self._admission.move_first_records_of_lane_to_batch(lane, batch)
        if lane.key is None:
            lane.state = LaneState.IDLE
            partition.forget_lane(lane)
        else:
            batch.members[lane] = None
            self.block_lane(lane, "in_batch")
        if batch.is_full:
            partition.close_batch(batch)
            self._end_batch_wait(batch)
        elif lane is partition.only_lane and (lane.queue or batch.attempt > 1):
            # No more records can be added: the partition's only lane continues with other records.
            self._end_batch_wait(batch)

    def end_batch_waits(self, partition: Partition) -> None:
        """The client has no more records for now: batches do not wait for them."""
        for batch in tuple(partition.gathering.values()):
            self._end_batch_wait(batch)

    def _end_batch_wait(self, batch: Batch) -> None:
        """Stop waiting for more records. Until an executor takes the batch, it accepts them, unless it is full."""
        if batch.timer is not None:
            batch.timer.cancel()
            batch.timer = None
            self.unblock_lane(batch, "gathering")

    def remove_lane_from_batch(self, batch: Batch, lane: Lane) -> None:
        """The batch, which may be tried again, has no record of this lane any more."""
        if lane in batch.members:
            del batch.members[lane]
            self.unblock_lane(lane, "in_batch")

    # ------------------------------------------------------------------ reasons

    def block_lane(self, lane: Lane, reason: BlockReason) -> None:
        """No record of it begins until this reason is removed. Called by the reason's owner only."""
        lane.reasons |= {reason}
        if lane.state is not LaneState.RUNNING:
            lane.state = LaneState.BLOCKED

    def unblock_lane(self, lane: Lane, reason: BlockReason) -> None:
        """This reason is gone. If it was the last, the lane continues."""
        lane.reasons -= {reason}
        if lane.state is LaneState.BLOCKED:
            self._set_lane_blocked_ready_or_idle(lane)

    def _set_lane_blocked_ready_or_idle(self, lane: Lane) -> None:
        """Set its state from its reasons and records. No executor runs it, and it is not among the ready lanes."""
        if lane.reasons:
            lane.state = LaneState.BLOCKED
            return
        lane.state = LaneState.IDLE
        if lane.queue:
            self.make_ready(lane)
        else:
            lane.partition.forget_lane(lane)

    # ------------------------------------------------------------------ pausing

    def pause_partition(self, partition: Partition) -> None:
        """No record of it begins any more; running attempts continue."""
        if partition.paused:
            return
        partition.paused = True
        if partition.ready:
            self._turns.remove(partition)
        ready = [lane for *_, lane in partition.ready]
        partition.ready.clear()
        for lane in partition.lanes():
            if lane.state is LaneState.RUNNING:
                lane.withhold_records_from_running_executor()
            self.block_lane(lane, "paused")
        for lane in ready:  # only after all are blocked: otherwise another lane of this partition would get the permits
            self._release_permit(lane)

    def resume_partition(self, partition: Partition) -> None:
        """Its records begin again, in their order."""
        if not partition.paused:
            return
        partition.paused = False
        for lane in partition.lanes():
            self.unblock_lane(lane, "paused")
        partition.notify_waiters()

    # ------------------------------------------------------------------ all lanes

    def hold_all_lanes(self, partitions: Iterable[Partition]) -> None:
        """No record begins any more, until `continue_all_lanes`; running attempts continue.

        Args:
            partitions: all of the consumer.
        """
        self.is_held = True
        for partition in partitions:
            for lane in partition.lanes():
                if lane.state is LaneState.RUNNING:
                    lane.withhold_records_from_running_executor()

    def continue_all_lanes(self) -> None:
        """Records begin again, in their order. Does nothing unless they are held."""
        if not self.is_held:
            return
        self.is_held = False
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)

    # ------------------------------------------------------------------ executors

    async def wait_until_lane_may_be_ready(self) -> None:
        """Return when a lane may be ready."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        await waiter

    def take_lane(self) -> Lane | None:
        """Of the partition whose turn it is, the lane that comes first: the oldest record, then those tried again.

        It is the caller's until `release_lane`.
        """
        turns = self._turns
        while turns and not self.is_held:
            ready = turns[0].ready
            lane = heappop(ready)[2]
            if not ready:
                turns.popleft()
            elif len(turns) > 1:
                turns.rotate(-1)
            if lane.state is LaneState.READY and lane.queue:
                lane.state = LaneState.RUNNING
                lane.partition.running += 1
                return lane
            if lane.state is LaneState.READY:  # cleared while it was in the queue
                lane.state = LaneState.IDLE
                self._release_permit(lane)
        return None

    def release_lane(self, lane: Lane) -> None:
        """The executor leaves this lane: it is empty, it must wait, or to let another lane run."""
        partition = lane.partition
        partition.running -= 1
        if lane.permit is not None:
            self._release_permit(lane)
        if lane.members and "retry_wait" not in lane.reasons:  # a batch that is tried again as a whole keeps its lanes
            for member in lane.members:
                self.unblock_lane(member, "in_batch")
        self._set_lane_blocked_ready_or_idle(lane)
        if partition.ledger.sealed:
            for ended in (lane, *lane.members):
                self._unblock_lane_behind_straggler(ended)
        partition.notify_waiters()

    def schedule_retry(self, lane: Lane, delay_s: float) -> None:
        """Try the lane's first record, or the batch's records, again after this time. The caller runs the lane, and has
        counted the failed attempt."""
        self.block_lane(lane, "retry_wait")
        lane.timer = self._clock.call_later(delay_s, lambda: self._end_retry_wait(lane))

    def _end_retry_wait(self, lane: Lane) -> None:
        lane.timer = None
        self.unblock_lane(lane, "retry_wait")

    def block_until_schema_known(self, lane: Lane, ready: asyncio.Future[None]) -> None:
        """Begin the lane's first record again once this is done. The caller runs the lane."""
        self.block_lane(lane, "schema")
        ready.add_done_callback(lambda _: self.unblock_lane(lane, "schema"))

    # ------------------------------------------------------------------ writes to other topics

    def add_pending_write(self, lane: Lane, write: PendingWrite) -> None:
        """The record is the lane's first, and is being written to another topic. The lane waits for that.

        Args:
            lane: a lane that the caller runs, or one that is idle.
        """
        lane.queue.appendleft(write.record)
        lane.writes = (*lane.writes, write)
        self.block_lane(lane, "writing")

    def add_records_settled_after_write(self, lane: Lane, settled_after: Sequence[SettledAfterWrite]) -> None:
        """These records are settled, but wait for earlier records that are still being written."""
        lane.settled_after_writes = (*lane.settled_after_writes, *settled_after)
        lane.queue.extendleft(settled.record for settled in settled_after)

    def remove_after_write(self, lane: Lane, records: Iterable[Record]) -> None:
        """The write of these records has ended: they leave the lane, which continues after the last of its writes."""
        lane.remove_records(records)
        if not lane.writes:
            self.unblock_lane(lane, "writing")
        lane.partition.notify_waiters()

    def _abandon_lane_writes(self, lane: Lane, *, failing: bool) -> list[Record]:
        """Abandon writes of the lane; returns the records.

        Args:
            failing: only those that could not be written so far. The others are allowed to complete.
        """
        abandoned = [write for write in lane.writes if write.has_failed or not failing]
        records = [write.record for write in abandoned]
        if abandoned:
            records += [settled.record for settled in lane.settled_after_writes]
        for write in abandoned:
            write.abandon()
        taken = lane.remove_records(records)
        if not lane.writes:
            self.unblock_lane(lane, "writing")
        return taken

    # ------------------------------------------------------------------ a partition ends

    def drop_unbegun_records(self, partition: Partition) -> list[Record]:
        """Remove every record of the partition that has not begun, and return them; running attempts continue."""
        partition.early.clear()
        partition.release_held()
        return [record for lane in partition.lanes() for record in self._drop_unbegun_from_lane(lane)]

    def _drop_unbegun_from_lane(self, lane: Lane) -> list[Record]:
        """Remove the records that have not begun, and end the wait for a next attempt. A running attempt continues, and
        so does a write to another topic, unless it could not be written so far."""
        in_flight = {id(write.record) for write in lane.writes} | {
            id(settled.record) for settled in lane.settled_after_writes
        }
        left = lane.remove_records([record for record in lane.queue if id(record) not in in_flight])
        if lane.timer is not None:
            lane.timer.cancel()
            lane.timer = None
            self.unblock_lane(lane, "retry_wait")
        return self._abandon_lane_writes(lane, failing=True) + left

    def close_partition_and_drop_unbegun(self, partition: Partition) -> list[Record]:
        """No more records of the partition begin; returns those that had not begun."""
        partition.close()
        return self.drop_unbegun_records(partition)

    def abandon_partition_writes(self, partition: Partition) -> list[Record]:
        """Abandon the partition's writes to other topics; returns the records."""
        return [record for lane in partition.lanes() for record in self._abandon_lane_writes(lane, failing=False)]

    def end_partition(self, partition: Partition) -> None:
        """The assignment is over. The results of attempts that still run will be refused."""
        self.abandon_partition_writes(partition)
        for lane in partition.lanes():
            if lane.state is LaneState.RUNNING:  # the lane of the next assignment waits until this attempt ends
                self._stragglers.update(one.key for one in (lane, *lane.members) if one.key is not None)
        partition.end_assignment()
        partition.ledger.seal()
        partition.notify_waiters()

    def _unblock_lane_behind_straggler(self, lane: Lane) -> None:
        """This lane's attempt, of an assignment that is over, has ended: the current lane of its key may run."""
        if lane.key is not None:
            self._stragglers.discard(lane.key)
            waiting = self._waiting_for_stragglers.pop(lane.key, None)
            if waiting is not None:
                self.unblock_lane(waiting, "straggler")
