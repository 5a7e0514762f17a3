"""Several records of a lane for one hop to a thread.

A hop to a thread and back costs more than a short endpoint. So a thread that has handled a record may go on with the
next one of the lane, as long as this takes no longer than `RUN_S` in all: a longer endpoint has a hop for each record.
Records that no endpoint takes are skipped in between.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from evkafka.outcomes import Unmatched
from evkafka.records import Record
from evkafka.runtime.partition import Lane
from evkafka.runtime.ports import Route, Slot, ThreadCall

RUN_S = 0.002
"""A thread begins no further record so long after its run has begun."""


class EndedRecord(NamedTuple):
    """A record that has ended plainly in a thread.

    Attributes:
        route: its endpoint; None if no endpoint takes it.
        unmatched: why no endpoint takes it.
    """

    record: Record
    duration_s: float
    route: Route | None
    unmatched: Unmatched | None = None


class RunningAttempt(Protocol):
    """The executor, as far as a run writes to it."""

    slot: Slot
    started_s: float


class ThreadRun:
    """One hop to a thread.

    The thread takes records out of the lane while the event loop goes on. Both hold `Partition.taking` while they take
    records out of it, so that a record that was taken away does not begin.

    Args:
        thread_call: the call of a record that may run in the same thread; see `Dispatch.thread_call`.
        skips_unmatched: whether a record that no endpoint takes is skipped by policy.
        now: the consumer's clock.
    """

    def __init__(
        self,
        attempt: RunningAttempt,
        lane: Lane,
        thread_call: Callable[[Record, Slot], ThreadCall | Unmatched | None],
        skips_unmatched: bool,
        now: Callable[[], float],
    ) -> None:
        self._ended: list[EndedRecord] = []
        self._attempt = attempt
        self._lane = lane
        self._queue = (
            lane.queue
        )  # `Lane.withhold_records_from_running_executor` gives the lane another one: then this run ends
        self._thread_call = thread_call
        self._skips_unmatched = skips_unmatched
        self._now = now
        self._ends_s = time.monotonic() + RUN_S
        self._stopped = False

    def begin_next_record_and_return_call(self) -> ThreadCall | None:
        """The call of the next record, which begins now; None if none may. The last one has ended plainly.

        Called in the thread.
        """
        now_s = self._now()
        while True:
            with self._lane.partition.taking:  # released after each record: the event loop may wait for it
                match self._take_next_call(now_s):
                    case Unmatched() as unmatched:
                        began_s, now_s = now_s, self._now()
                        self._ended.append(EndedRecord(self._queue.popleft(), now_s - began_s, None, unmatched))
                    case call:
                        return call

    def _take_next_call(self, now_s: float) -> ThreadCall | Unmatched | None:
        """What to do with the lane's first record. If it is a call, the record is taken out."""
        attempt, slot, queue = self._attempt, self._attempt.slot, self._queue
        if self._stopped or not queue or time.monotonic() > self._ends_s:
            return None
        record, route = slot.record, slot.route
        assert record is not None
        call = self._thread_call(queue[0], slot)
        if isinstance(call, Unmatched):
            return call if self._skips_unmatched else None
        if call is not None:
            self._ended.append(EndedRecord(record, now_s - attempt.started_s, route))
            slot.attempt = self._lane.attempt
            slot.record, attempt.started_s = queue.popleft(), now_s
        return call

    @property
    def is_open(self) -> bool:
        """Whether a further record may begin, or one has ended that `take_ended` has not returned."""
        with self._lane.partition.taking:
            return bool(self._ended) or (not self._stopped and time.monotonic() <= self._ends_s)

    def stop_beginning_records(self) -> None:
        """No further record begins. Called on the event loop."""
        with self._lane.partition.taking:
            self._stopped = True

    def take_ended(self) -> Sequence[EndedRecord]:
        """The records that have ended plainly in the thread since the last call; the record that runs, or was the last
        one that ran, is not one of them. Called on the event loop."""
        with self._lane.partition.taking:
            ended, self._ended = self._ended, []
        return ended
