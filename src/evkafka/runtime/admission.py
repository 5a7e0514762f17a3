"""Which records must wait before an executor takes their lane: those for batch endpoints, and those of event types with
their own `concurrency`. Consumers that have neither have no admission.

It decides and counts. The scheduler asks it before a lane is ready, and blocks and unblocks lanes accordingly.
"""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Callable

from evkafka.records import Record
from evkafka.runtime.partition import Batch, Lane
from evkafka.runtime.ports import Route

LimitedRouteOf = Callable[[Record], "Route | None"]


class Admission:
    """The permits of one consumer's event types.

    Args:
        limited_route: the endpoint of a record that must pass; None if an executor may take it at once.
    """

    def __init__(self, limited_route: LimitedRouteOf) -> None:
        self.limited_route = limited_route
        self._running: Counter[Route] = Counter()  # permits in use, by endpoint
        self._waiting: defaultdict[Route, deque[Lane]] = defaultdict(deque)

    def acquire_permit_or_queue_lane(self, lane: Lane, route: Route) -> bool:
        """Give the lane a permit of this endpoint. If none is left, the lane waits for one, and this returns False."""
        if route.concurrency is not None:
            if self._running[route] >= route.concurrency:
                self._waiting[route].append(lane)
                return False
            self._running[route] += 1
            lane.permit = route
        return True

    def release_permit_and_list_waiting_lanes(self, lane: Lane, route: Route) -> deque[Lane]:
        """Take the lane's permit of this endpoint back; returns the lanes that wait for one, the longest waiting first.

        The caller removes from them the one that gets the permit.
        """
        lane.permit = None
        self._running[route] -= 1
        return self._waiting[route]

    def move_first_records_of_lane_to_batch(self, lane: Lane, batch: Batch) -> None:
        """Move the lane's first records into the batch: those of its endpoint whose attempt it is."""
        room = batch.limits.max_records - len(batch.queue)
        limited_route, route, queue = self.limited_route, batch.route, lane.queue
        take, put = queue.popleft, batch.queue.append
        while queue and room and limited_route(queue[0]) is route and lane.attempt == batch.attempt:
            put(take())
            room -= 1
