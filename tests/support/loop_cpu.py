"""How long the event loop was held, in work and not by the clock.

The processor time of the loop's own thread in one turn of the loop: what other processes take of the machine does not
count, nor does the time in which another thread had the interpreter. Collections of garbage are left out too: how long
one takes depends on all that the tests before this one have left behind.
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
class Held:
    """The longest turn of the loop, in seconds of its thread's processor time."""

    longest_s: float = 0.0


@contextmanager
def loop_held() -> Iterator[Held]:
    """Measure the turns of the running loop. The block must await at least once."""
    loop: Any = asyncio.get_running_loop()
    held, turn = Held(), loop._run_once

    def timed() -> None:
        began_s = time.thread_time()
        turn()
        held.longest_s = max(held.longest_s, time.thread_time() - began_s)

    gc.collect()
    gc.disable()
    loop._run_once = timed
    try:
        yield held
    finally:
        del loop._run_once
        gc.enable()


def machine_factor(work: Callable[[], object] | None = None) -> float:
    """How much slower than the one that bounds were written on this machine is: the same sum took 10 ms there."""
    best_s = min(_timed(work or _sum) for _ in range(5))
    return max(1.0, best_s / 0.010)


def _sum() -> int:
    return sum(number * number for number in range(150_000))


def _timed(work: Callable[[], object]) -> float:
    began_s = time.thread_time()
    work()
    return time.thread_time() - began_s
