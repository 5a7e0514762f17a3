"""Step 2 of 7: lanes. A lane is what must stay in order: a partition's records, or one key's.

At concurrency 1 (and with `ordering="partition"`) each partition is one lane, which lives as long as its
assignment. With `ordering="key"` a lane exists while it has work; a record that needs no order is a lane
of its own. Executors take ready lanes from one queue, so that a record costs neither a task nor a lock, and a
lane that waits for its record's next attempt stands in nobody's way.

A lane is idle, ready, running, or blocked. It is blocked while there is a reason why none of its records may begin, and
goes on when the last one is removed. Each reason is added and removed by one owner (methods of `LaneScheduler` if no
class is named):

| reason | added by | removed by | when the records are cleared (revoke, seek, stop, failure) |
| --- | --- | --- | --- |
| paused | `pause`, or the lane is made meanwhile | `resume` | stays; a new `Partition` is told of it |
| retry_wait | `wait` | the timer, in `_due` | removed with the timer by `clear` |
| straggler | `make_ready` | `put_down` of that attempt | stays until that attempt ends |
| permit | `Admission.admit` | `Admission.release` of another lane | stays until that release, which finds no record |
| gathering | `Batch`, when it is made | `Admission._close` | stays, without a timer: it ends with its partition |
| in_batch | `Admission._move` | `put_down` of the batch, `leave_batch` | stays until the batch ends |
| writing | `hold_for` | the end of the lane's last write | failing writes are given up, others go on |

The records of a blocked lane are in its queue, as those of any other. A running lane may have reasons too: its walk
ends, and they count once its executor puts it down.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Collection, Hashable, Iterable, Sequence
from enum import Enum, auto
from heapq import heappop
from operator import attrgetter
from typing import TYPE_CHECKING, Literal

from evkafka.records import Record
from evkafka.runtime.ports import Clock, Route, TimerHandle

if TYPE_CHECKING:
    from evkafka.runtime.admission import Admission, Batch
    from evkafka.runtime.partition import Partition
    from evkafka.runtime.pending_writes import PendingWrite, SettledBehind

_offset = attrgetter("offset")


class LaneState(Enum):
    IDLE = auto()  # nothing to do
    READY = auto()  # in the queue of ready lanes
    RUNNING = auto()  # an executor walks it
    BLOCKED = auto()  # there are reasons why none of its records may begin


Reason = Literal["paused", "retry_wait", "straggler", "permit", "gathering", "in_batch", "writing"]
"""Why a lane is blocked: a user paused its partition; its first record waits for the next attempt; an attempt of an
earlier assignment still runs in the same lane; its event type's `concurrency` is reached; it is a batch that waits for
more records; a batch has its first records; a record of it is being written to another topic."""

NO_REASONS: frozenset[Reason] = frozenset()
PAUSED: frozenset[Reason] = frozenset({"paused"})


class Lane:
    """Records that run one after the other.

    Attributes:
        key: what is kept in order by it; None where nothing is (the lane of one free record).
        attempt: which attempt at the first record comes next, from 1.
        permit: the endpoint, with a bound of its own, that it may run now. Written by the gate.
        members: a batch's lanes, whose first records it has.
        reasons: why none of its records may begin; empty if one may. Written by Lanes.
        writes: what is being written of it to another topic: it waits for all of them, and has their records meanwhile.
        behind: records of a batch that are settled, behind some of those: it has them until all of `writes` has ended.
    """

    __slots__ = ("attempt", "behind", "key", "partition", "permit", "queue", "reasons", "state", "timer", "writes")

    members: Collection[Lane] = ()

    def __init__(self, partition: Partition, key: Hashable | None) -> None:
        self.partition = partition
        self.key = key
        self.queue: deque[Record] = deque()
        self.state = LaneState.IDLE
        self.reasons = NO_REASONS
        if partition.paused:
            self.state, self.reasons = LaneState.BLOCKED, PAUSED
        self.attempt = 1
        self.timer: TimerHandle | None = None
        self.permit: Route | None = None
        self.writes: tuple[PendingWrite, ...] = ()
        self.behind: tuple[SettledBehind, ...] = ()

    def end_walk(self) -> None:
        """The executor that walks it begins none of its records after the one under way.

        The walk knows the queue that it began with, and ends when that is empty. So the records move to another queue,
        which is the lane's from here on: no record costs the walk a look at the reasons.
        """
        walked, self.queue = self.queue, self.queue.copy()
        walked.clear()


class LaneScheduler:
    """The ready lanes of one consumer, and the executors that wait for one.

    Partitions with ready lanes take turns, lane by lane: one with thousands of busy keys holds up no other. Within one,
    the lane whose first record is oldest comes first (see `Partition.enqueue`).
    """

    def __init__(self, clock: Clock) -> None:
        self.gate: Admission | None = None
        self._clock = clock
        self._turns: deque[Partition] = deque()  # each partition with ready lanes once
        self._waiters: deque[asyncio.Future[None]] = deque()
        self._held: dict[Hashable, Lane] = {}
        self._stragglers: set[Hashable] = set()

    @property
    def crowded(self) -> bool:
        """True while a lane waits for an executor."""
        return bool(self._turns)

    def hand_over(self, lane: Lane, records: Sequence[Record]) -> None:
        """Records for this lane, behind those that it has."""
        lane.queue.extend(records)
        if lane.state is LaneState.IDLE:
            self.make_ready(lane)
        elif "in_batch" in lane.reasons and self.gate is not None:
            self.gate.more(lane)

    def make_ready(self, lane: Lane) -> None:
        """It has a record and no reason against it, unless an earlier attempt or the gate has one now."""
        if lane.key is not None and lane.key in self._stragglers:
            # An attempt of an earlier assignment of this very lane is still running (a thread cannot be
            # cancelled): two of one key at once would break its order, so the new one waits for its end.
            self._held[lane.key] = lane
            self.block(lane, "straggler")
            return
        if self.gate is not None and not self.gate.admit(lane):
            return
        partition = lane.partition
        lane.state = LaneState.READY
        if not partition.ready:
            self._turns.append(partition)
        partition.enqueue(lane)
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                break

    # ------------------------------------------------------------------ reasons

    def block(self, lane: Lane, reason: Reason) -> None:
        """None of its records begins until this reason is removed. To be called by the reason's owner alone."""
        lane.reasons |= {reason}
        if lane.state is not LaneState.RUNNING:
            lane.state = LaneState.BLOCKED

    def unblock(self, lane: Lane, reason: Reason) -> None:
        """This reason is gone. If it was the last, the lane goes on."""
        lane.reasons -= {reason}
        if lane.state is LaneState.BLOCKED:
            self._go_on(lane)

    def _go_on(self, lane: Lane) -> None:
        """Its state by its reasons and its records. It is in no executor, and not in the queue of ready lanes."""
        if lane.reasons:
            lane.state = LaneState.BLOCKED
            return
        lane.state = LaneState.IDLE
        if lane.queue:
            self.make_ready(lane)
        else:
            lane.partition.forget_lane(lane)

    # ------------------------------------------------------------------ pausing

    def pause(self, partition: Partition) -> None:
        """None of its records begins any more; those under way run on."""
        if partition.paused:
            return
        partition.paused = True
        if partition.ready:
            self._turns.remove(partition)
        ready = [lane for *_, lane in partition.ready]
        partition.ready.clear()
        for lane in partition.lanes():
            if lane.state is LaneState.RUNNING:
                lane.end_walk()
            self.block(lane, "paused")
        if self.gate is not None:  # when all are blocked: what they give back is another partition's
            for lane in ready:
                self.gate.release(lane)

    def resume(self, partition: Partition) -> None:
        """They begin again, in their order."""
        if not partition.paused:
            return
        partition.paused = False
        for lane in partition.lanes():
            self.unblock(lane, "paused")

    # ------------------------------------------------------------------ executors

    async def wait_for_one(self) -> None:
        """Return when a lane may be ready."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        await waiter

    def take(self) -> Lane | None:
        """Of the partition whose turn it is, the lane with the oldest record: the caller's until `put_down`."""
        turns = self._turns
        while turns:
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
            if lane.state is LaneState.READY:  # cleared while it stood in the queue
                lane.state = LaneState.IDLE
                if self.gate is not None:
                    self.gate.release(lane)
        return None

    def put_down(self, lane: Lane) -> None:
        """The executor leaves this lane: at its end, for the next one's turn, or to wait."""
        lane.partition.running -= 1
        if self.gate is not None:
            self.gate.release(lane)
        if lane.members and "retry_wait" not in lane.reasons:  # a batch that is tried again as a whole keeps its lanes
            for member in lane.members:
                self.unblock(member, "in_batch")
        self._go_on(lane)
        if lane.partition.ledger.sealed:
            for ended in (lane, *lane.members):
                self._straggler_ended(ended)
        lane.partition.on_quiet()

    def wait(self, lane: Lane, delay_s: float) -> None:
        """The lane's first record is tried again after this time. The lane must be the caller's to walk."""
        self.block(lane, "retry_wait")
        lane.timer = self._clock.call_later(delay_s, lambda: self._due(lane))

    def _due(self, lane: Lane) -> None:
        lane.timer = None
        self.unblock(lane, "retry_wait")

    # ------------------------------------------------------------------ writes to other topics

    def hold_for(self, lane: Lane, write: PendingWrite) -> None:
        """The record is the lane's first, and on its way to another topic. The lane waits for that.

        Args:
            lane: the caller's to walk, or a new one.
        """
        lane.queue.appendleft(write.record)
        lane.writes = (*lane.writes, write)
        self.block(lane, "writing")

    def hold_behind(self, lane: Lane, behind: Sequence[SettledBehind]) -> None:
        """These are settled, but what is being written of the lane comes before them."""
        lane.behind = (*lane.behind, *behind)
        lane.queue.extendleft(settled.record for settled in behind)

    def written(self, lane: Lane, records: Iterable[Record]) -> None:
        """These have ended with a write: they leave the lane, which goes on after the last of its writes."""
        self._take_out(lane, records)
        if not lane.writes:
            self.unblock(lane, "writing")
        lane.partition.on_quiet()

    @staticmethod
    def _take_out(lane: Lane, records: Iterable[Record]) -> list[Record]:
        """These records, or those of them that the lane has. By identity: records compare field by field."""
        out = {id(record) for record in records}
        taken = [record for record in lane.queue if id(record) in out]
        left = [record for record in lane.queue if id(record) not in out]
        lane.queue.clear()
        lane.queue.extend(left)
        return taken

    @staticmethod
    def put_in_order(lane: Lane) -> None:
        """Records of a batch came back to it one by one, beside those of it that are being written."""
        records = sorted(lane.queue, key=_offset)
        lane.queue.clear()
        lane.queue.extend(records)

    def leave_batch(self, batch: Batch, lane: Lane) -> None:
        """The batch, which may be tried again, has nothing of this lane any more."""
        if lane in batch.members:
            del batch.members[lane]
            self.unblock(lane, "in_batch")

    def end_writes(self, lane: Lane, *, failing: bool) -> list[Record]:
        """Give up what is being written; returns the records.

        Args:
            failing: those only that could not be written so far. The others are as good as done.
        """
        given_up = [write for write in lane.writes if write.fails or not failing]
        records = [write.record for write in given_up]
        if given_up:
            records += [settled.record for settled in lane.behind]
        for write in given_up:
            write.give_up()
        taken = self._take_out(lane, records)
        if not lane.writes:
            self.unblock(lane, "writing")
        return taken

    # ------------------------------------------------------------------ going away

    def clear(self, lane: Lane) -> list[Record]:
        """Take the records that have not begun, and end the wait for a next attempt. A running one runs on, and so does
        a write to another topic, unless it could not be written so far."""
        under_way = {id(write.record) for write in lane.writes} | {id(settled.record) for settled in lane.behind}
        left = self._take_out(lane, [record for record in lane.queue if id(record) not in under_way])
        if lane.timer is not None:
            lane.timer.cancel()
            lane.timer = None
            self.unblock(lane, "retry_wait")
        return self.end_writes(lane, failing=True) + left

    def leave_behind(self, lane: Lane) -> None:
        """This lane's assignment has ended and its attempt runs on: hold back its successor until it ends."""
        if lane.state is LaneState.RUNNING:
            self._stragglers.update(one.key for one in (lane, *lane.members) if one.key is not None)

    def _straggler_ended(self, lane: Lane) -> None:
        if lane.key is not None:
            self._stragglers.discard(lane.key)
            held = self._held.pop(lane.key, None)
            if held is not None:
                self.unblock(held, "straggler")
