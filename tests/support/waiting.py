"""Waits for a condition, with a deadline. The only place in the suite that sleeps."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")

_SHORTEST_PAUSE_S = 0.01
_LONGEST_PAUSE_S = 0.1

PATIENCE_S = 120.0
"""How long a test waits for an expected event. It only ends endless waits: a slow machine may use all of it."""

SLACK_S = 10.0
"""Tolerance for slow machines when a test measures a deadline; without the deadline it would take longer than that."""


async def eventually(predicate: Callable[[], T | Awaitable[T]], timeout_s: float = PATIENCE_S, *, what: str = "") -> T:
    """Call the predicate (plain or async) until it returns a true value, and return that.

    An AssertionError of the predicate counts as "not yet", and is raised when the time is up: a test may wait for its
    own assertions.
    """
    start_s = time.monotonic()
    while True:
        refusal: AssertionError | None = None
        try:
            answer = predicate()
            value = await answer if inspect.isawaitable(answer) else answer
            if value:
                return value
        except AssertionError as error:
            refusal = error
        waited_s = time.monotonic() - start_s
        if waited_s >= timeout_s:
            raise refusal or AssertionError(f"{what or 'the condition'} did not come about within {timeout_s:g} s")
        await asyncio.sleep(_pause_s(waited_s))


def eventually_sync(predicate: Callable[[], T], timeout_s: float = PATIENCE_S, *, what: str = "") -> T:
    """`eventually` for tests without an event loop."""
    start_s = time.monotonic()
    while True:
        if value := predicate():
            return value
        waited_s = time.monotonic() - start_s
        if waited_s >= timeout_s:
            raise AssertionError(f"{what or 'the condition'} did not come about within {timeout_s:g} s")
        time.sleep(_pause_s(waited_s))


def _pause_s(waited_s: float) -> float:
    """How long to pause before the next look: a twentieth of the wait so far, so that long waits cost little."""
    return min(max(waited_s / 20, _SHORTEST_PAUSE_S), _LONGEST_PAUSE_S)
