"""Whose turn the loop is: the executors' or everybody else's. Heartbeats depend on it."""

from __future__ import annotations

import asyncio

from evkafka.runtime.ports import Clock

YIELD_AFTER_S = 0.010
"""How long lanes are walked before other tasks get the loop: 500 endpoints of 30 ms CPU each, one after the
other, got the member expelled from its group without this."""


class TimeSlice:
    """How long the executors of a consumer may have the loop, all together, before the other tasks get theirs.

    Each for itself would not do: five hundred executors with an endpoint of 30 ms CPU each would take 15 s.
    A turn that is over is followed by the next at once where the loop has gone round meanwhile (endpoints that await
    let it). Else whoever finds it over waits, in a queue: one that has just had the loop must not be before those
    who came to wait while it had it.

    Attributes:
        ends_s: on the consumer's clock.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._went_round = True
        self._first: list[asyncio.Future[None]] = []  # woken for a turn that was over when theirs came
        self._waiting: list[asyncio.Future[None]] = []
        self.ends_s = 0.0

    def is_over(self) -> bool:
        """Whether others must have the loop now. Begins the next turn where they have had it."""
        if self._clock.now() <= self.ends_s:
            return False
        if not self._went_round:
            return True
        self._begin()
        return False

    async def next(self) -> None:
        """Give way; returns in a later turn."""
        await self._queued(self._waiting)
        while self.is_over():
            await self._queued(self._first)

    def _queued(self, queue: list[asyncio.Future[None]]) -> asyncio.Future[None]:
        loop = asyncio.get_running_loop()
        if not self._first and not self._waiting:
            loop.call_soon(self._wake)  # on the loop's next round, after what is ready now
        mine: asyncio.Future[None] = loop.create_future()
        queue.append(mine)
        return mine

    def _wake(self) -> None:
        queue, self._first, self._waiting = self._first + self._waiting, [], []
        self._begin()
        for one in queue:
            if not one.done():
                one.set_result(None)

    def _begin(self) -> None:
        self._went_round = False
        self.ends_s = self._clock.now() + YIELD_AFTER_S
        asyncio.get_running_loop().call_soon(self._round)

    def _round(self) -> None:
        self._went_round = True
