"""Plain functions of the user's, run in a consumer's threads."""

from __future__ import annotations

import asyncio
import contextvars
import functools
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any

from evkafka.runtime.ports import Slot


async def in_thread(slot: Slot, call: Callable[[], Any]) -> object:
    """Run a plain function in the consumer's threads, in a copy of the caller's context.

    `slot.thread_future` is the call in the thread itself, until its result is here. It goes on also when this is
    cancelled (a call that has not begun never does). A coroutine that the function returns is awaited on the loop.
    """
    future = slot.thread_future = _submitted(slot, call)
    try:
        result: object = await asyncio.wrap_future(future)
    finally:
        if future.done():
            slot.thread_future = None
    if isinstance(result, Coroutine):
        return await result
    return result


async def to_the_end_in_thread(slot: Slot, call: Callable[[], Any]) -> object:
    """As `in_thread`; but a call that has begun is waited for, also when this is cancelled.

    What such a call uses, or opens, is closed behind it: not while it still runs. Whoever cancels a second time
    (the loop that is being closed) is let go at once.
    """
    future = slot.thread_future = _submitted(slot, call)
    result = asyncio.wrap_future(future)
    try:
        await asyncio.wait([result])
    except asyncio.CancelledError:
        if not future.cancel():
            await asyncio.wait([result])
            result.exception()  # looked at: the cancellation comes before it
        raise
    finally:
        if future.done():
            slot.thread_future = None
    returned: object = result.result()
    if isinstance(returned, Coroutine):
        return await returned
    return returned


def _submitted(slot: Slot, call: Callable[[], Any]) -> Future[Any]:
    run = functools.partial(contextvars.copy_context().run, _as_coroutine_raises, call)
    return slot.threads.submit(run) if slot.threads is not None else _in_default_pool(run)


def _as_coroutine_raises(call: Callable[[], Any]) -> Any:
    """A future cannot hold a StopIteration: on Python 3.11 whoever awaits it would wait for ever. And a GeneratorExit
    out of a future closes every coroutine that awaits it, where each may await nothing more."""
    try:
        return call()
    except (StopIteration, GeneratorExit) as error:
        raise RuntimeError(f"the endpoint raised {type(error).__name__}") from error


def _in_default_pool(run: Callable[[], Any]) -> Future[Any]:
    """`submit` for the loop's default pool, which by itself shows only a future of the loop."""
    future: Future[Any] = Future()

    def work() -> None:
        if not future.set_running_or_notify_cancel():
            return
        try:
            future.set_result(run())
        except BaseException as error:  # handed on, as the pool's own workers do
            future.set_exception(error)

    asyncio.get_running_loop().run_in_executor(None, work)
    return future
