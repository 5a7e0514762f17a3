"""Runs plain functions of the user's in a consumer's threads."""

from __future__ import annotations

import asyncio
import contextvars
import functools
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any

from evkafka.runtime.ports import Slot, ThreadCall


async def run_in_thread(slot: Slot, call: Callable[[], Any]) -> object:
    """Run a plain function in the consumer's threads, in a copy of the caller's context.

    `slot.thread_future` is the thread's own future, until its result has arrived. Cancelling this does not end a call
    that runs; a call that has not begun never runs. A coroutine that the function returns is awaited on the loop. The
    thread goes on with the calls that `slot.open_run` gives, each in a copy of the same context; the result is that of
    the last one.
    """
    following = slot.open_run() if slot.open_run is not None else None
    future = slot.thread_future = _submit_call(slot, call, following)
    try:
        result: object = await asyncio.wrap_future(future)
    finally:
        if future.done():
            slot.thread_future = None
    if isinstance(result, Coroutine):
        return await result
    return result


async def run_in_thread_to_the_end(slot: Slot, call: Callable[[], Any]) -> object:
    """Like `run_in_thread`, but if this is cancelled, it waits for a call that has begun.

    So the resources that the call uses, or opens, are closed after it has ended. A second cancellation, by a loop that
    is being closed, ends the wait at once.
    """
    future = slot.thread_future = _submit_call(slot, call)
    result = asyncio.wrap_future(future)
    try:
        await asyncio.wait([result])
    except asyncio.CancelledError:
        if not future.cancel():
            await asyncio.wait([result])
            result.exception()  # retrieved: the cancellation is raised instead of it
        raise
    finally:
        if future.done():
            slot.thread_future = None
    returned: object = result.result()
    if isinstance(returned, Coroutine):
        return await returned
    return returned


def _submit_call(slot: Slot, call: ThreadCall, following: Callable[[], ThreadCall | None] | None = None) -> Future[Any]:
    run = functools.partial(_run_calls, contextvars.copy_context(), call, following)
    return slot.threads.submit(run) if slot.threads is not None else _submit_to_default_pool(run)


def _run_calls(
    context: contextvars.Context, call: ThreadCall | None, following: Callable[[], ThreadCall | None] | None
) -> Any:
    result = None
    while result is None and call is not None:
        result = context.copy().run(_call_without_stop_iteration, call)
        call = following() if result is None and following is not None else None
    return result


def _call_without_stop_iteration(call: Callable[[], Any]) -> Any:
    """Raise a RuntimeError for two exceptions, as a coroutine does. A future cannot hold a StopIteration: on Python
    3.11 a task that awaits it would wait forever. A GeneratorExit of a future would close every coroutine that awaits
    it, and those may not await anything any more."""
    try:
        return call()
    except (StopIteration, GeneratorExit) as error:
        raise RuntimeError(f"the endpoint raised {type(error).__name__}") from error


def _submit_to_default_pool(run: Callable[[], Any]) -> Future[Any]:
    """`submit` for the loop's default pool: the loop itself gives only an asyncio future."""
    future: Future[Any] = Future()

    def work() -> None:
        if not future.set_running_or_notify_cancel():
            return
        try:
            future.set_result(run())
        except BaseException as error:  # passed to the future, as the pool's own workers do
            future.set_exception(error)

    asyncio.get_running_loop().run_in_executor(None, work)
    return future
