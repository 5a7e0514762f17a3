"""A virtual clock, moved by the test: five minutes of backoff pass in milliseconds."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable

EPOCH_MS = 1_735_689_600_000
"""Start of the virtual clock, 2025-01-01 UTC, so that timestamps are the same in every run."""


class VirtualTimer:
    """A call that is due at a time of the virtual clock."""

    __slots__ = ("callback", "cancelled")

    def __init__(self, callback: Callable[[], object]) -> None:
        self.callback = callback
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class VirtualClock:
    """Implements the engine's Clock. Only `jump` moves it; user code's own sleeps are real and do not.

    It counts whole microseconds, and a wait of any length above 0 takes at least one: with fractions, the rest of a
    deadline may round to a wait that ends at once, again and again, and the clock would never advance.
    """

    def __init__(self) -> None:
        self._now_us = 0
        self._order = itertools.count()
        self._timers: list[tuple[int, int, VirtualTimer]] = []

    def now(self) -> float:
        """Seconds since the clock was created."""
        return self._now_us / 1_000_000

    def timestamp_ms(self) -> int:
        """The time as a record timestamp: milliseconds since 1970."""
        return EPOCH_MS + self._now_us // 1000

    def call_later(self, delay_s: float, callback: Callable[[], object]) -> VirtualTimer:
        timer = VirtualTimer(callback)
        wait_us = max(round(delay_s * 1_000_000), 1) if delay_s > 0 else 0
        heapq.heappush(self._timers, (self._now_us + wait_us, next(self._order), timer))
        return timer

    def next_due(self) -> float | None:
        """When the next timer is due, in seconds; None if there is none."""
        due_us = self._next_due_us()
        return None if due_us is None else due_us / 1_000_000

    def _next_due_us(self) -> int | None:
        while self._timers and self._timers[0][2].cancelled:
            heapq.heappop(self._timers)
        return self._timers[0][0] if self._timers else None

    def jump(self, to_s: float) -> None:
        """Move to this time and call the timers that are due. Timers due earlier must have been called already."""
        self._now_us = max(self._now_us, round(to_s * 1_000_000))
        while (due_us := self._next_due_us()) is not None and due_us <= self._now_us:
            heapq.heappop(self._timers)[2].callback()
