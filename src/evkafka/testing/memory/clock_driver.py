"""Who lets the virtual time pass: turns for everybody, patience for what really takes time, then a jump.

The clock may only jump when nothing else can happen without it. What the loop still has to run gets its turns. An
endpoint that awaits something real (a socket, a thread, its own sleep) is waited for in real time, for a while; where
nothing real is left that could wake it, waiting would be vain, and the clock goes on at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import NamedTuple

from evkafka.testing.memory.clock import VirtualClock

PATIENCE_S = 5.0
"""How long (really) one attempt's own awaits are waited for before the virtual clock goes on without it."""

MOST_TURNS = 10_000
TURNS_OF_A_STRANGE_LOOP = 50

ADVANCE_PATIENCE_S = 1.0
"""The same for `advance`, whose callers may have made an endpoint wait on purpose."""


class Attempt(NamedTuple):
    """An endpoint under way; what tells one attempt from another."""

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
        at_work: the attempts whose endpoints run now and await something that is not the virtual clock's.
    """

    def __init__(self, clock: VirtualClock, at_work: Callable[[], list[Attempt]]) -> None:
        self._clock = clock
        self._at_work = at_work
        self._turning = 0
        self._stuck: set[Attempt] = set()

    async def turns(self) -> None:
        """Give the loop turns until nobody else wants one, but others who do the same."""
        ready = getattr(asyncio.get_running_loop(), "_ready", None)
        self._turning += 1
        try:
            for turn in range(MOST_TURNS):
                await asyncio.sleep(0)
                if turn >= TURNS_OF_A_STRANGE_LOOP if ready is None else len(ready) < self._turning:
                    return
        finally:
            self._turning -= 1

    async def quiet(self, patience_s: float = PATIENCE_S) -> None:
        """Give turns, and wait for what endpoints await, until only time itself can bring anything about."""
        await self.turns()
        loop = asyncio.get_running_loop()
        until_s: float | None = None
        while at_work := [attempt for attempt in self._at_work() if attempt not in self._stuck]:
            until_s = until_s or loop.time() + patience_s
            if loop.time() > until_s:
                self._stuck.update(at_work)
                return
            if not any(attempt.in_thread for attempt in at_work) and not something_real_may_come(loop, until_s):
                return
            await asyncio.sleep(0.001)
            await self.turns()

    async def drive(self, until: Callable[[], bool], *, most_s: float) -> bool:
        """Let time pass, timer by timer, until this is so; False where it is not after so much virtual time."""
        until_s = self._clock.now() + most_s
        while True:
            await self.turns()
            if until():
                return True
            await self.quiet()
            if until():
                return True
            due = self._clock.next_due()
            if due is None or due > until_s:
                return False
            self._clock.jump(due)

    async def advance(self, by_s: float) -> None:
        """Let exactly this time pass."""
        until_s = self._clock.now() + by_s
        await self.quiet(ADVANCE_PATIENCE_S)
        while (due := self._clock.next_due()) is not None and due <= until_s:
            self._clock.jump(due)
            await self.quiet(ADVANCE_PATIENCE_S)
        self._clock.jump(until_s)
        await self.quiet(ADVANCE_PATIENCE_S)


def something_real_may_come(loop: asyncio.AbstractEventLoop, until_s: float) -> bool:
    """False where it is certain that nothing outside can wake anybody on this loop before that time.

    It looks into asyncio's own loop; of any other it says True, which costs patience and nothing else.
    """
    timers = getattr(loop, "_scheduled", None)
    selector = getattr(loop, "_selector", None)
    if timers is None or selector is None or getattr(loop, "_default_executor", None) is not None:
        return True
    if any(not timer.cancelled() and timer.when() <= until_s for timer in timers):
        return True
    return len(selector.get_map() or ()) > 1  # one is the loop's own, by which threads wake it
