"""Shares the event loop between the executors and all other tasks. Heartbeats depend on it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from evkafka.runtime.ports import Clock

YIELD_AFTER_S = 0.010
"""How long lanes run before other tasks get the event loop. Without it, 500 endpoints of 30 ms CPU each, one
after the other, got the member expelled from its group."""


class TimeSlice:
    """How long all executors of a consumer together may use the event loop before other tasks must get it.

    A limit for each executor would not suffice: five hundred executors with an endpoint of 30 ms CPU each would take
    15 s. When a time slice is over, the next one begins at once if the event loop has made a round meanwhile
    (endpoints that await let it). Otherwise executors queue, first come, first served: an executor that has just run
    must not come before those that began to wait meanwhile.

    Args:
        on_begin: called when a time slice begins, before a record does.

    Attributes:
        ends_s: when the current time slice is over, on the consumer's clock.
    """

    def __init__(self, clock: Clock, on_begin: Callable[[], object]) -> None:
        self._clock = clock
        self._on_begin = on_begin
        self._went_round = True
        self._first: list[asyncio.Future[None]] = []  # were woken for a time slice that was over when they ran
        self._waiting: list[asyncio.Future[None]] = []
        self.ends_s = 0.0

    def must_yield_to_event_loop(self) -> bool:
        """Whether other tasks must get the event loop now. Begins the next time slice if they have had it."""
        if self._clock.now() <= self.ends_s:
            return False
        if not self._went_round:
            return True
        self._begin_slice()
        return False

    async def wait_for_next(self) -> None:
        """Let other tasks run; returns in a later time slice."""
        await self._add_waiter(self._waiting)
        while self.must_yield_to_event_loop():
            await self._add_waiter(self._first)

    def _add_waiter(self, queue: list[asyncio.Future[None]]) -> asyncio.Future[None]:
        loop = asyncio.get_running_loop()
        if not self._first and not self._waiting:
            loop.call_soon(self._wake_waiters)  # in the event loop's next round, after what is ready now
        waiter: asyncio.Future[None] = loop.create_future()
        queue.append(waiter)
        return waiter

    def _wake_waiters(self) -> None:
        queue, self._first, self._waiting = self._first + self._waiting, [], []
        self._begin_slice()
        for waiter in queue:
            if not waiter.done():
                waiter.set_result(None)

    def _begin_slice(self) -> None:
        self._went_round = False
        self.ends_s = self._clock.now() + YIELD_AFTER_S
        asyncio.get_running_loop().call_soon(self._on_loop_round)
        self._on_begin()

    def _on_loop_round(self) -> None:
        self._went_round = True
