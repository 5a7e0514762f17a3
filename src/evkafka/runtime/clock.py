"""The system clock, and waiting with a timeout on any clock."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, TypeVar

from evkafka.runtime.ports import Clock, TimerHandle

T = TypeVar("T")


class SystemClock:
    """The monotonic system clock, with the timers of the running loop."""

    now = staticmethod(time.monotonic)

    def timestamp_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def call_later(self, delay_s: float, callback: Callable[[], object]) -> TimerHandle:
        return asyncio.get_running_loop().call_later(delay_s, callback)


async def sleep(clock: Clock, delay_s: float) -> None:
    """Wait so long on this clock."""
    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    timer = clock.call_later(delay_s, partial(_set_done, done))
    try:
        await done
    finally:
        timer.cancel()


async def wait_any(clock: Clock, *futures: asyncio.Future[Any], timeout_s: float | None) -> bool:
    """Wait until one of the futures is done. Returns False on a timeout. Cancels none of them."""
    loop = asyncio.get_running_loop()
    expired: asyncio.Future[object] = loop.create_future()
    timer = None if timeout_s is None else clock.call_later(timeout_s, partial(_set_done, expired))
    try:
        await asyncio.wait({*futures, expired}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        if timer is not None:
            timer.cancel()
        expired.cancel()
    return any(future.done() for future in futures)


async def wait_for(clock: Clock, awaitable: Awaitable[T], timeout_s: float) -> T:
    """The awaitable's result, or TimeoutError after this time: then it is cancelled, and not awaited.

    Unlike `asyncio.wait_for` this returns at the deadline even if the awaitable ignores its cancellation, as some calls
    of the client do.
    """
    task = asyncio.ensure_future(awaitable)
    try:
        in_time = await wait_any(clock, task, timeout_s=timeout_s)
    except asyncio.CancelledError:
        task.cancel()
        raise
    if not in_time:
        task.cancel()
        task.add_done_callback(_retrieve_error)
        raise TimeoutError
    return await task


async def acquire_lock(clock: Clock, lock: asyncio.Lock, timeout_s: float) -> bool:
    """Acquire the lock. Returns False on a timeout. If it returns True, the caller releases the lock."""
    waiting = asyncio.ensure_future(lock.acquire())
    try:
        await wait_any(clock, waiting, timeout_s=timeout_s)
    except asyncio.CancelledError:
        if not waiting.cancel():  # it has acquired the lock, which nobody else would release
            lock.release()
        raise
    return not waiting.cancel()


def _retrieve_error(task: asyncio.Future[T]) -> None:
    """Nobody awaits an abandoned task: retrieve its error, so that the event loop does not report it."""
    if not task.cancelled():
        task.exception()


def _set_done(future: asyncio.Future[Any]) -> None:
    if not future.done():
        future.set_result(None)
