"""What a lane may have to pass before an executor takes it: batches are gathered here, and event types with a
bound of their own wait here for their turn. Consumers that have neither have no gate.

A batch is a lane too, made of the first records of others: those stay where they are, with what is behind, until
the batch has been walked. So one key's records stay in order, whatever they are given to.
"""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Callable
from operator import attrgetter
from typing import TYPE_CHECKING

from evkafka.records import Record
from evkafka.runtime.ports import Clock, Route
from evkafka.runtime.scheduler import Lane, LaneScheduler, LaneState

if TYPE_CHECKING:
    from evkafka.runtime.partition import Partition

Gated = Callable[[Record], "Route | None"]

_offset = attrgetter("offset")


class Batch(Lane):
    """Records of one partition for one batch endpoint, which are handled in one attempt.

    It gathers until it is full, or its time is up and an executor takes it. Records tried before gather by
    themselves, with others of as many attempts: a batch has one count.

    Attributes:
        route: the endpoint.
        members: the lanes whose first records these are; lanes of free records are none.
    """

    __slots__ = ("members", "route")

    def __init__(self, partition: Partition, route: Route, attempt: int) -> None:
        super().__init__(partition, None)
        self.route = route
        self.members: dict[Lane, None] = {}
        self.attempt = attempt
        self.state = LaneState.BLOCKED
        self.reasons |= {"gathering"}

    def begin(self) -> list[Record]:
        """An executor takes it: no more records come to it. Returns those that it has, in order."""
        if self.partition.gathering.get((self.route, self.attempt)) is self:
            del self.partition.gathering[self.route, self.attempt]
        records = sorted(self.queue, key=_offset)
        self.queue.clear()
        return records


class Admission:
    """One consumer's gate.

    Args:
        lanes: asks `admit` before a lane is ready.
    """

    def __init__(self, gated: Gated, clock: Clock, lanes: LaneScheduler) -> None:
        self._gated = gated
        self._clock = clock
        self._lanes = lanes
        self._running: Counter[Route] = Counter()  # permits, by event type
        self._parked: defaultdict[Route, deque[Lane]] = defaultdict(deque)

    def admit(self, lane: Lane) -> bool:
        """Whether the lane may be taken by an executor now. If not, it is blocked by a reason of the gate's."""
        if isinstance(lane, Batch):
            return self._permit(lane, lane.route)
        route = self._gated(lane.queue[0])
        if route is None:
            return True
        if route.batch is None:
            return self._permit(lane, route)
        self._gather(lane, route)
        return False

    # ------------------------------------------------------------------ an event type's own bound

    def _permit(self, lane: Lane, route: Route) -> bool:
        if route.concurrency is not None:
            if self._running[route] >= route.concurrency:
                self._parked[route].append(lane)
                self._lanes.block(lane, "permit")
                return False
            self._running[route] += 1
            lane.permit = route
        return True

    def release(self, lane: Lane) -> None:
        """The lane gives its permit back; the one that has waited longest for it comes next."""
        route, lane.permit = lane.permit, None
        if route is None:
            return
        self._running[route] -= 1
        parked = self._parked[route]
        while parked:
            following = parked.popleft()
            self._lanes.unblock(following, "permit")
            if following.permit is not None:  # but for one that has nothing left, or whose partition is paused
                return

    # ------------------------------------------------------------------ batches

    def _gather(self, lane: Lane, route: Route) -> None:
        limits, partition = route.batch, lane.partition
        assert limits is not None
        batch = partition.gathering.get((route, lane.attempt))
        if batch is None:
            batch = partition.gathering[route, lane.attempt] = Batch(partition, route, lane.attempt)
            partition.add(batch)
            batch.timer = self._clock.call_later(limits.max_wait_s, lambda: self._close(batch))
        self._move(lane, batch)

    def more(self, lane: Lane) -> None:
        """Records came for a lane that stands here: perhaps they can go with those of it that are in a batch."""
        for batch in tuple(lane.partition.gathering.values()):
            if lane in batch.members and batch.attempt == 1:
                self._move(lane, batch)

    def _move(self, lane: Lane, batch: Batch) -> None:
        """Put the lane's first records into the batch: all of its endpoint, or the one that is tried again."""
        limits, queue = batch.route.batch, lane.queue
        assert limits is not None
        room = limits.max_records - len(batch.queue)
        if batch.attempt > 1:
            room = 1
        gated, route, take, put = self._gated, batch.route, queue.popleft, batch.queue.append
        while queue and room and gated(queue[0]) is route:
            put(take())
            room -= 1
        lane.attempt = 1
        if lane.key is None:
            lane.state = LaneState.IDLE
            lane.partition.forget_lane(lane)
        else:
            batch.members[lane] = None
            self._lanes.block(lane, "in_batch")
        if len(batch.queue) >= limits.max_records:
            lane.partition.gathering.pop((batch.route, batch.attempt), None)
            self._close(batch)
        elif lane.partition.is_whole(lane) and (queue or batch.attempt > 1):
            self._close(batch)  # nothing else can come to it: the only lane goes on with something else

    def hurry(self, partition: Partition) -> None:
        """No more records come for now: do not wait for them."""
        for batch in tuple(partition.gathering.values()):
            self._close(batch)

    def _close(self, batch: Batch) -> None:
        """The batch has waited enough. It still takes what comes until an executor has it, unless it is full."""
        if batch.timer is not None:
            batch.timer.cancel()
            batch.timer = None
            self._lanes.unblock(batch, "gathering")
