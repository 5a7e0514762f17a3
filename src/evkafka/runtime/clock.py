"""The runtime's time: the loop's own clock, and waiting with a bound on any clock."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, TypeVar

from evkafka.runtime.ports import Clock, TimerHandle

T = TypeVar("T")


class SystemClock:
    """The monotonic clock of the machine, with the running loop's timers."""

    now = staticmethod(time.monotonic)

    def timestamp_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def call_later(self, delay_s: float, callback: Callable[[], object]) -> TimerHandle:
        return asyncio.get_running_loop().call_later(delay_s, callback)


async def sleep(clock: Clock, delay_s: float) -> None:
    """Wait, on this clock."""
    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    timer = clock.call_later(delay_s, partial(_set, done))
    try:
        await done
    finally:
        timer.cancel()


async def wait_any(clock: Clock, *futures: asyncio.Future[Any], timeout_s: float | None) -> bool:
    """Wait until one of the futures is done; False when the time ran out first. Cancels none of them."""
    loop = asyncio.get_running_loop()
    expired: asyncio.Future[object] = loop.create_future()
    timer = None if timeout_s is None else clock.call_later(timeout_s, partial(_set, expired))
    try:
        await asyncio.wait({*futures, expired}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        if timer is not None:
            timer.cancel()
        expired.cancel()
    return any(future.done() for future in futures)


async def within(clock: Clock, awaitable: Awaitable[T], timeout_s: float) -> T:
    """The awaitable's result, or TimeoutError after this time (it is cancelled then, and not waited for).

    Unlike `asyncio.wait_for` this returns at the deadline also when the awaitable ignores its cancellation,
    as some of the client's calls do.
    """
    task = asyncio.ensure_future(awaitable)
    try:
        in_time = await wait_any(clock, task, timeout_s=timeout_s)
    except asyncio.CancelledError:
        task.cancel()
        raise
    if not in_time:
        task.cancel()
        task.add_done_callback(_retrieve)
        raise TimeoutError
    return await task


async def acquire(clock: Clock, lock: asyncio.Lock, timeout_s: float) -> bool:
    """Take the lock; False if somebody else held it for all of this time. Whoever gets True releases it."""
    waiting = asyncio.ensure_future(lock.acquire())
    try:
        await wait_any(clock, waiting, timeout_s=timeout_s)
    except asyncio.CancelledError:
        if not waiting.cancel():  # it has the lock, which nobody would release
            lock.release()
        raise
    return not waiting.cancel()


def _retrieve(task: asyncio.Future[T]) -> None:
    """An abandoned task's error is nobody's: take it, so that the loop does not report it."""
    if not task.cancelled():
        task.exception()


def _set(future: asyncio.Future[Any]) -> None:
    if not future.done():
        future.set_result(None)
