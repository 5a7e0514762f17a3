"""How much time is left to the work at hand: a send inside an endpoint must fail before the endpoint is cut."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar

RESERVE_S = 1.0
"""What a send leaves of the attempt's time, so that its failure is a `DeliveryError` in the endpoint's own hands.

Where less than twice as much is left, it leaves a half: an endpoint with a limit of half a second can send too.
"""

Remaining = Callable[[], "float | None"]

remaining: ContextVar[Remaining | None] = ContextVar("evkafka_remaining", default=None)
"""Says how many seconds of the running attempt are left; None where nothing is bounded.

Whoever runs attempts sets it once for its task (`remaining.set(self.remaining_s)`), not once per attempt: tasks and
threads that an endpoint starts inherit the callable, and calling it looks at the attempt of that moment.
"""


def sending_time_s() -> float | None:
    """How long a send that begins now may take, in seconds, never below 0; None: as its configuration says."""
    ask = remaining.get()
    left_s = ask() if ask is not None else None
    return None if left_s is None else max(left_s - min(RESERVE_S, left_s / 2), 0.0)
