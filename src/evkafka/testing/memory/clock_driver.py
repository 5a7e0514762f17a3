"""Advances the virtual clock.

The clock may only jump when nothing else can happen without it. First, everything that is ready in the event loop runs.
An endpoint that awaits something real (a socket, a thread, its own sleep) is waited for in real time, for a while; if
nothing real is left that could wake it, waiting is useless, and the clock jumps at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import NamedTuple

from evkafka.testing.memory.clock import VirtualClock

PATIENCE_S = 5.0
"""How long one attempt's own awaits are waited for, in real time, before the virtual clock advances without it."""

MOST_TURNS = 10_000
TURNS_OF_OTHER_LOOPS = 50
"""Turns on an event loop that is not asyncio's, which does not show its ready queue."""

ADVANCE_PATIENCE_S = 1.0
"""The same for `advance`, whose callers may make an endpoint wait on purpose."""


class Attempt(NamedTuple):
    """One attempt of a running endpoint; equal values are the same attempt."""

    consumer: str
    topic: str
    partition: int
    offset: int
    number: int
    endpoint: str
    in_thread: bool

    def __str__(self) -> str:
        return f"{self.endpoint} at {self.topic}[{self.partition}]@{self.offset} (attempt {self.number})"


class ClockDriver:
    """Moves one virtual clock.

    Args:
        at_work: returns the attempts whose endpoints run now and await something other than the virtual clock.
    """

    def __init__(self, clock: VirtualClock, at_work: Callable[[], list[Attempt]]) -> None:
        self._clock = clock
        self._at_work = at_work
        self._turning = 0
        self._stuck: set[Attempt] = set()

    async def run_ready_tasks(self) -> None:
        """Let the event loop run until nothing is ready but other calls of this function."""
        ready = getattr(asyncio.get_running_loop(), "_ready", None)
        self._turning += 1
        try:
            for turn in range(MOST_TURNS):
                await asyncio.sleep(0)
                if turn >= TURNS_OF_OTHER_LOOPS if ready is None else len(ready) < self._turning:
                    return
        finally:
            self._turning -= 1

    async def run_until_only_timers_left(self, patience_s: float = PATIENCE_S) -> None:
        """Let everything run, and wait for what endpoints await, until only virtual time can change anything."""
        await self.run_ready_tasks()
        loop = asyncio.get_running_loop()
        until_s: float | None = None
        while at_work := [attempt for attempt in self._at_work() if attempt not in self._stuck]:
            until_s = until_s or loop.time() + patience_s
            if loop.time() > until_s:
                self._stuck.update(at_work)
                return
            if not any(attempt.in_thread for attempt in at_work) and not can_be_woken_from_outside(loop, until_s):
                return
            await asyncio.sleep(0.001)
            await self.run_ready_tasks()

    async def advance_until_condition(self, until: Callable[[], bool], *, most_s: float) -> bool:
        """Advance the clock, timer by timer, until `until()` holds; False if it does not within `most_s`."""
        until_s = self._clock.now() + most_s
        while True:
            await self.run_ready_tasks()
            if until():
                return True
            await self.run_until_only_timers_left()
            if until():
                return True
            due = self._clock.next_due()
            if due is None or due > until_s:
                return False
            self._clock.jump(due)

    async def advance(self, by_s: float) -> None:
        """Advance the clock by exactly this time."""
        until_s = self._clock.now() + by_s
        await self.run_until_only_timers_left(ADVANCE_PATIENCE_S)
        while (due := self._clock.next_due()) is not None and due <= until_s:
            self._clock.jump(due)
            await self.run_until_only_timers_left(ADVANCE_PATIENCE_S)
        self._clock.jump(until_s)
        await self.run_until_only_timers_left(ADVANCE_PATIENCE_S)


def can_be_woken_from_outside(loop: asyncio.AbstractEventLoop, until_s: float) -> bool:
    """False if certainly nothing outside can wake a task of this loop before that time.

    It inspects asyncio's own loop; for any other loop it returns True, which only costs waiting time.
    """
    timers = getattr(loop, "_scheduled", None)
    selector = getattr(loop, "_selector", None)
    if timers is None or selector is None or getattr(loop, "_default_executor", None) is not None:
        return True
    if any(not timer.cancelled() and timer.when() <= until_s for timer in timers):
        return True
    return len(selector.get_map() or ()) > 1  # one is the loop's own socket, with which threads wake it
