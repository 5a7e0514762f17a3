"""When the stop of an app must be over: one absolute time, which every wait of the stop is bounded by."""

from __future__ import annotations

import math

from evkafka.runtime.ports import Clock

CLOSE_S = 5.0
"""What a stop has behind the drain: to cut, commit, leave, flush and end the lifespan."""

LONGEST_DRAIN_S = 20.0
"""The drain time of an app without consumers."""


def stop_limit_s(drains_s: list[float]) -> float:
    """How long the stop of an app may take, in seconds, with consumers of these drain times."""
    return max(drains_s, default=LONGEST_DRAIN_S) + CLOSE_S


class StopDeadline:
    """One app's. Infinitely far away until the stop begins.

    Attributes:
        limit_s: how long the stop may take, from its beginning.
    """

    def __init__(self, clock: Clock, limit_s: float) -> None:
        self._clock = clock
        self.limit_s = limit_s
        self._at_s = math.inf

    def begin(self) -> None:
        """The stop begins now. From any thread; idempotent: the first call counts."""
        if self._at_s == math.inf:
            self._at_s = self._clock.now() + self.limit_s

    def at_most(self, timeout_s: float, *, reserve_s: float = 0.0) -> float:
        """This time, or less: what is left until the deadline, less what later steps of the stop need."""
        return max(min(timeout_s, self._at_s - self._clock.now() - reserve_s), 0.0)
