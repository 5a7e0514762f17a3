"""Waits for a condition, with a deadline. The only place in the suite that sleeps."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")

_INTERVAL_S = 0.01

PATIENCE_S = 120.0
"""How long a test waits for an expected event. It only ends endless waits: a slow machine may use all of it."""

SLACK_S = 10.0
"""Tolerance for slow machines when a test measures a deadline; without the deadline it would take longer than that."""


async def eventually(predicate: Callable[[], T | Awaitable[T]], timeout_s: float = PATIENCE_S, *, what: str = "") -> T:
    """Call the predicate (plain or async) until it returns a true value, and return that.

    An AssertionError of the predicate counts as "not yet", and is raised when the time is up: a test may wait for its
    own assertions.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        refusal: AssertionError | None = None
        try:
            answer = predicate()
            value = await answer if inspect.isawaitable(answer) else answer
            if value:
                return value
        except AssertionError as error:
            refusal = error
        if time.monotonic() >= deadline:
            raise refusal or AssertionError(f"{what or 'the condition'} did not come about within {timeout_s:g} s")
        await asyncio.sleep(_INTERVAL_S)


def eventually_sync(predicate: Callable[[], T], timeout_s: float = PATIENCE_S, *, what: str = "") -> T:
    """`eventually` for tests without an event loop."""
    deadline = time.monotonic() + timeout_s
    while True:
        if value := predicate():
            return value
        if time.monotonic() >= deadline:
            raise AssertionError(f"{what or 'the condition'} did not come about within {timeout_s:g} s")
        time.sleep(_INTERVAL_S)
