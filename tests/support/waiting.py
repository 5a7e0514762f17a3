"""Waiting for what comes about by itself, with a deadline. The only place in the suite that sleeps."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")

_INTERVAL_S = 0.01

PATIENCE_S = 120.0
"""How long a test waits for what must happen. It ends a wait that would never end: a slow machine may use all of it."""

SLACK_S = 10.0
"""What a slow machine may add to a deadline that a test measures: less than what would happen without the deadline."""


async def eventually(predicate: Callable[[], T | Awaitable[T]], timeout_s: float = PATIENCE_S, *, what: str = "") -> T:
    """Ask the predicate (plain or async) again and again until it says something true; returns that.

    An AssertionError out of the predicate counts as "not yet", and is what is raised when the time is up, so a
    test may wait for its own assertions.
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
    """`eventually` for tests without a loop."""
    deadline = time.monotonic() + timeout_s
    while True:
        if value := predicate():
            return value
        if time.monotonic() >= deadline:
            raise AssertionError(f"{what or 'the condition'} did not come about within {timeout_s:g} s")
        time.sleep(_INTERVAL_S)
