"""When the stop of an app must be over: one absolute time that limits every wait of the stop."""

from __future__ import annotations

import math

from evkafka.runtime.ports import Clock

CLOSE_S = 5.0
"""The time of a stop after the drain: to cancel attempts, commit, leave the group, flush and end the lifespan."""

LONGEST_DRAIN_S = 20.0
"""The drain time of an app without consumers."""


def stop_limit_s(drains_s: list[float]) -> float:
    """How long the stop of an app may take, in seconds, with consumers of these drain times."""
    return max(drains_s, default=LONGEST_DRAIN_S) + CLOSE_S


class StopDeadline:
    """The deadline of one app. It is infinite until the stop begins.

    Attributes:
        limit_s: the longest duration of the stop.
    """

    def __init__(self, clock: Clock, limit_s: float) -> None:
        self._clock = clock
        self.limit_s = limit_s
        self._at_s = math.inf

    def begin(self) -> None:
        """The stop begins now. May be called from any thread; only the first call counts."""
        if self._at_s == math.inf:
            self._at_s = self._clock.now() + self.limit_s

    def limit_timeout_s(self, timeout_s: float, *, reserve_s: float = 0.0) -> float:
        """The timeout, or less if the deadline is nearer. `reserve_s` is left for later steps of the stop."""
        return max(min(timeout_s, self._at_s - self._clock.now() - reserve_s), 0.0)
