"""Measures how long one turn blocks the event loop, in processor time of the loop's thread.

The time of other processes does not count, nor the time in which another thread had the interpreter. Garbage
collections are left out too: how long one takes depends on what earlier tests have left in memory.
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any


@dataclass(slots=True)
class LongestTurn:
    """The longest turn of the loop, in seconds of its thread's processor time."""

    seconds: float = 0.0


@contextmanager
def measure_turns() -> Iterator[LongestTurn]:
    """Measure the turns of the running loop. The block must await at least once."""
    loop: Any = asyncio.get_running_loop()
    longest, turn = LongestTurn(), loop._run_once

    def timed() -> None:
        began_s = time.thread_time()
        turn()
        longest.seconds = max(longest.seconds, time.thread_time() - began_s)

    gc.collect()
    gc.disable()
    loop._run_once = timed
    try:
        yield longest
    finally:
        del loop._run_once
        gc.enable()


def machine_factor(work: Callable[[], object] | None = None) -> float:
    """How much slower this machine is than the one for which bounds are written: the same sum took 10 ms there."""
    best_s = min(_timed(work or _sum) for _ in range(5))
    return max(1.0, best_s / 0.010)


def _sum() -> int:
    return sum(number * number for number in range(150_000))


def _timed(work: Callable[[], object]) -> float:
    began_s = time.thread_time()
    work()
    return time.thread_time() - began_s
