"""How much time a running attempt has left: a send inside an endpoint must fail before the endpoint is cancelled."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar

RESERVE_S = 1.0
"""How much of the attempt's time a send leaves, so that the endpoint itself gets the `DeliveryError`.

If less than twice as much is left, the send leaves half of it: an endpoint with a limit of half a second can send too.
"""

Remaining = Callable[[], "float | None"]

remaining: ContextVar[Remaining | None] = ContextVar("evkafka_remaining", default=None)
"""Returns how many seconds the running attempt has left; None if there is no limit.

Whoever runs attempts sets it once for its task (`remaining.set(self.left_s)`), not once per attempt: tasks and threads
that an endpoint starts inherit the callable, and calling it reads the attempt that runs at that moment.
"""


def send_time_left_s() -> float | None:
    """How long a send that begins now may take, in seconds, never below 0; None: as configured."""
    left = remaining.get()
    left_s = left() if left is not None else None
    return None if left_s is None else max(left_s - min(RESERVE_S, left_s / 2), 0.0)
