"""Step 2 of 7: lanes. A lane is what must stay in order: a partition's records, or one key's.

At concurrency 1 (and with `ordering="partition"`) each partition is one lane, which lives as long as its
assignment. With `ordering="key"` a lane exists while it has work; a record that needs no order is a lane
of its own. Executors take ready lanes from one queue, so that a record costs neither a task nor a lock, and a
lane that waits for its record's next attempt stands in nobody's way.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Collection, Hashable, Iterable, Sequence
from enum import Enum, auto
from heapq import heappop
from operator import attrgetter
from typing import TYPE_CHECKING

from evkafka.ports import Clock, Record, Route, TimerHandle

if TYPE_CHECKING:
    from evkafka.runtime.gate import Batch, Gate
    from evkafka.runtime.partition import Partition
    from evkafka.runtime.writes import Behind, Write

_offset = attrgetter("offset")


class LaneState(Enum):
    IDLE = auto()  # nothing to do
    READY = auto()  # in the queue of ready lanes
    RUNNING = auto()  # an executor walks it
    WAITING = auto()  # its first record waits for the next attempt; or one of it is on its way to another topic
    HELD = auto()  # an attempt of an earlier assignment still runs on the same lane
    GATED = auto()  # its first records are in a batch; or it waits for its event type's turn


class Lane:
    """Records that run one after the other.

    Attributes:
        key: what is kept in order by it; None where nothing is (the lane of one free record).
        attempt: which attempt at the first record comes next, from 1.
        permit: the endpoint, with a bound of its own, that it may run now. Written by the gate.
        aside: records behind the one under way, while its partition is paused; the walk must not come to them.
        members: a batch's lanes, whose first records it has.
        writes: what is being written of it to another topic: it waits for all of them, and has their records meanwhile.
        behind: records of a batch that are settled, behind some of those: it has them until all of `writes` has ended.
    """

    __slots__ = ("aside", "attempt", "behind", "key", "partition", "permit", "queue", "state", "timer", "writes")

    members: Collection[Lane] = ()

    def __init__(self, partition: Partition, key: Hashable | None) -> None:
        self.partition = partition
        self.key = key
        self.queue: deque[Record] = deque()
        self.state = LaneState.IDLE
        self.attempt = 1
        self.timer: TimerHandle | None = None
        self.permit: Route | None = None
        self.aside: deque[Record] | None = None
        self.writes: tuple[Write, ...] = ()
        self.behind: tuple[Behind, ...] = ()


class Lanes:
    """The ready lanes of one consumer, and the executors that wait for one.

    Partitions with ready lanes take turns, lane by lane: one with thousands of busy keys holds up no other. Within one,
    the lane whose first record is oldest comes first (see `Partition.enqueue`).
    """

    def __init__(self, clock: Clock) -> None:
        self.gate: Gate | None = None
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
        if lane.aside is not None:
            lane.aside.extend(records)
            return
        lane.queue.extend(records)
        if lane.state is LaneState.IDLE:
            self.make_ready(lane)
        elif lane.state is LaneState.GATED and self.gate is not None:
            self.gate.more(lane)

    def make_ready(self, lane: Lane) -> None:
        if lane.key is not None and lane.key in self._stragglers:
            # An attempt of an earlier assignment of this very lane is still running (a thread cannot be
            # cancelled): two of one key at once would break its order, so the new one waits for its end.
            lane.state = LaneState.HELD
            self._held[lane.key] = lane
            return
        partition = lane.partition
        if partition.paused:  # `resume` looks at it again
            lane.state = LaneState.READY
            partition.enqueue(lane)
            return
        if self.gate is not None and not self.gate.admit(lane):
            return
        lane.state = LaneState.READY
        if not partition.ready:
            self._turns.append(partition)
        partition.enqueue(lane)
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                break

    # ------------------------------------------------------------------ pausing

    def pause(self, partition: Partition) -> None:
        """None of its records begins any more; those under way run on."""
        if partition.paused:
            return
        partition.paused = True
        if partition.ready:
            self._turns.remove(partition)
        if self.gate is not None:
            for *_, lane in partition.ready:
                self.gate.release(lane)
        for lane in partition.lanes():
            if lane.state is LaneState.RUNNING:
                lane.aside = deque(lane.queue)
                lane.queue.clear()

    def resume(self, partition: Partition) -> None:
        """They begin again, in their order."""
        if not partition.paused:
            return
        partition.paused = False
        for lane in partition.lanes():
            self._take_back(lane)
        ready = list(partition.ready)
        partition.ready.clear()
        for *_, lane in ready:
            lane.state = LaneState.IDLE
            if lane.queue:
                self.make_ready(lane)

    @staticmethod
    def _take_back(lane: Lane) -> None:
        """What was put aside stands behind what is in the lane."""
        if lane.aside is not None:
            lane.queue.extend(lane.aside)
            lane.aside = None

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
        self._take_back(lane)
        if self.gate is not None:
            self.gate.release(lane)
        if lane.members:
            self._put_down_batch(lane)
        elif lane.state is LaneState.RUNNING:
            self._go_on(lane)
        if lane.partition.ledger.sealed and lane.key is not None:
            self._straggler_ended(lane.key)
        lane.partition.on_quiet()

    def _go_on(self, lane: Lane) -> None:
        if lane.writes:
            lane.state = LaneState.WAITING
        elif lane.queue:
            self.make_ready(lane)
        else:
            lane.state = LaneState.IDLE
            lane.partition.forget_lane(lane)

    def _put_down_batch(self, batch: Lane) -> None:
        """A batch has been walked: its lanes go on. Unless it waits as a whole for its next attempt."""
        if batch.state is LaneState.WAITING:
            for lane in batch.members:
                if lane.state is LaneState.RUNNING:
                    lane.state = LaneState.GATED
            return
        sealed = batch.partition.ledger.sealed
        for lane in batch.members:
            self._take_back(lane)
            if lane.state is LaneState.RUNNING:
                self._go_on(lane)
            if sealed and lane.key is not None:
                self._straggler_ended(lane.key)
        self._go_on(batch)

    def wait(self, lane: Lane, delay_s: float) -> None:
        """The lane's first record is tried again after this time. The lane must be the caller's to walk."""
        lane.state = LaneState.WAITING
        lane.timer = self._clock.call_later(delay_s, lambda: self._due(lane))

    def _due(self, lane: Lane) -> None:
        lane.timer = None
        if lane.state is LaneState.WAITING and not lane.writes:
            self.make_ready(lane)

    # ------------------------------------------------------------------ writes to other topics

    def hold_for(self, lane: Lane, write: Write) -> None:
        """The record is the lane's first, and on its way to another topic. The lane waits for that.

        Args:
            lane: the caller's to walk, or a new one.
        """
        lane.queue.appendleft(write.record)
        lane.writes = (*lane.writes, write)
        if lane.state is LaneState.IDLE:
            lane.state = LaneState.WAITING

    def hold_behind(self, lane: Lane, behind: Sequence[Behind]) -> None:
        """These are settled, but what is being written of the lane comes before them."""
        lane.behind = (*lane.behind, *behind)
        lane.queue.extendleft(settled.record for settled in behind)

    def written(self, lane: Lane, records: Iterable[Record]) -> None:
        """These have ended with a write: they leave the lane, which goes on where it waits for nothing else."""
        self._take_out(lane, records)
        if lane.state is LaneState.WAITING and lane.timer is None and not lane.writes:
            self._go_on(lane)
        lane.partition.on_quiet()

    @staticmethod
    def _take_out(lane: Lane, records: Iterable[Record]) -> list[Record]:
        """These records, or those of them that the lane has. By identity: records compare field by field."""
        out, taken = {id(record) for record in records}, []
        for queue in (lane.queue, lane.aside):  # a pause in the middle of a batch puts all that the lane has aside
            if queue:
                taken += [record for record in queue if id(record) in out]
                left = [record for record in queue if id(record) not in out]
                queue.clear()
                queue.extend(left)
        return taken

    @staticmethod
    def put_in_order(lane: Lane) -> None:
        """Records of a batch came back to it one by one, beside those of it that are being written."""
        records = sorted(lane.queue, key=_offset)
        lane.queue.clear()
        lane.queue.extend(records)

    def leave_batch(self, batch: Batch, lane: Lane) -> None:
        """The batch is tried again without this lane, which goes on by itself."""
        del batch.members[lane]
        self._take_back(lane)
        self._go_on(lane)

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
        if lane.state is LaneState.WAITING and not lane.writes and lane.timer is None:
            lane.state = LaneState.IDLE
        return self._take_out(lane, records)

    # ------------------------------------------------------------------ going away

    def clear(self, lane: Lane) -> list[Record]:
        """Take the records that have not begun, and end the wait for a next attempt. A running one runs on, and so does
        a write to another topic, unless it could not be written so far."""
        if lane.timer is not None:
            lane.timer.cancel()
            lane.timer = None
        left = self.end_writes(lane, failing=True)
        if lane.state in (LaneState.WAITING, LaneState.HELD, LaneState.GATED):
            lane.state = LaneState.WAITING if lane.writes else LaneState.IDLE
        if lane.key is not None and self._held.get(lane.key) is lane:
            del self._held[lane.key]
        self._take_back(lane)
        under_way = {id(write.record) for write in lane.writes} | {id(settled.record) for settled in lane.behind}
        left += self._take_out(lane, [record for record in lane.queue if id(record) not in under_way])
        for member in lane.members:
            left += self.clear(member)
        return left

    def leave_behind(self, lane: Lane) -> None:
        """This lane's assignment has ended and its attempt runs on: hold back its successor until it ends."""
        if lane.key is not None and lane.state is LaneState.RUNNING:
            self._stragglers.add(lane.key)

    def _straggler_ended(self, key: Hashable) -> None:
        self._stragglers.discard(key)
        held = self._held.pop(key, None)
        if held is not None:
            self.make_ready(held)
