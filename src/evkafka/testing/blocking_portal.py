"""An event loop in its own thread, for tests that are plain functions."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Any, Generic, TypeVar


class BlockingPortal:
    """Enters an async context manager in an event loop of its own, and runs coroutines there.

    Owners: `_calls` is written by the calling threads and by the loop's thread; both under the lock.
    """

    def __init__(self, life: AbstractAsyncContextManager[None]) -> None:
        self._life = life
        self._loop: asyncio.AbstractEventLoop | None = None
        self._main: asyncio.Task[None] | None = None
        self._leave: asyncio.Event | None = None
        self._entered: Future[None] = Future()
        self._ended: Future[None] = Future()
        self._calls: set[_Call] = set()
        self._lock = threading.Lock()
        context = contextvars.copy_context()
        self._thread = threading.Thread(
            target=context.run, args=(self._run_loop,), name="evkafka-test-client", daemon=True
        )

    def open(self) -> None:
        """Start the thread, and return when the context manager has been entered. Raises what its entry raises."""
        self._thread.start()
        try:
            self._entered.result()
        except BaseException:
            self._schedule_callback_in_loop(
                self._cancel_main_task
            )  # a Ctrl-C; if the entry itself has failed, the loop has ended already
            self._thread.join()
            raise

    def call(self, function: Callable[[], Coroutine[Any, Any, Any]], context: contextvars.Context) -> Any:
        """Run a coroutine as a task with this context, and wait for it. An interrupted wait cancels it."""
        call = _Call()
        try:
            with self._lock:
                if self._loop is None:
                    raise RuntimeError("the test client's event loop has ended") from self._ended.exception(timeout=1)
                self._calls.add(call)
                self._loop.call_soon_threadsafe(self._start_task, function, context, call)
            return call.result.result()
        finally:
            if not call.result.done():  # a Ctrl-C, a test's time limit; perhaps before the wait has even begun
                self._schedule_callback_in_loop(call.cancel)

    def close(self) -> None:
        """Exit the context manager and end the loop. Raises what the exit raises, or the error that ended the loop."""
        assert self._leave is not None
        self._schedule_callback_in_loop(self._leave.set)
        try:
            self._ended.result()
        except BaseException:
            self._schedule_callback_in_loop(self._cancel_main_task)
            raise
        finally:
            self._thread.join()

    # ------------------------------------------------------------------ in the loop's thread

    def _run_loop(self) -> None:
        try:
            asyncio.run(self._run_context())
        except BaseException as error:  # also a SystemExit: raised in the threads that wait
            self._fail_unanswered_calls_at_loop_end(error)
        else:
            self._fail_unanswered_calls_at_loop_end(None)

    async def _run_context(self) -> None:
        self._loop, self._main, self._leave = asyncio.get_running_loop(), asyncio.current_task(), asyncio.Event()
        async with self._life:
            self._entered.set_result(None)
            await self._leave.wait()

    def _start_task(
        self, function: Callable[[], Coroutine[Any, Any, Any]], context: contextvars.Context, call: _Call
    ) -> None:
        def on_done(task: asyncio.Task[Any]) -> None:
            if (
                task.cancelled()
            ):  # by the caller, or by the loop's end: `_fail_unanswered_calls_at_loop_end` sets the error
                return
            with self._lock:
                self._calls.discard(call)
            if (error := task.exception()) is not None:
                call.result.set_exception(error)
            else:
                call.result.set_result(task.result())

        call.task = asyncio.get_running_loop().create_task(function(), context=context)
        call.task.add_done_callback(on_done)

    def _fail_unanswered_calls_at_loop_end(self, error: BaseException | None) -> None:
        """The loop has ended: end every wait for it."""
        with self._lock:
            self._loop = None
            left, self._calls = self._calls, set()
        for call in left:
            if not call.result.done():
                call.result.set_exception(error or RuntimeError("the test client's event loop has ended"))
        if error is not None and not self._entered.done():
            self._entered.set_exception(error)
        if error is not None:
            self._ended.set_exception(error)
        else:
            self._ended.set_result(None)

    # ------------------------------------------------------------------ from other threads

    def _cancel_main_task(self) -> None:
        if self._main is not None:
            self._main.cancel()

    def _schedule_callback_in_loop(self, callback: Callable[[], object]) -> None:
        with self._lock:
            if self._loop is not None:
                self._loop.call_soon_threadsafe(callback)


class _Call:
    """One running coroutine. Only the loop's thread sets `task` and `result`."""

    def __init__(self) -> None:
        self.result: Future[Any] = Future()
        self.task: asyncio.Task[Any] | None = None

    def cancel(self) -> None:
        if self.task is not None:
            self.task.cancel()


T = TypeVar("T")


class TaskOwnedContext(Generic[T]):
    """Enters and exits an async context manager in one task, also if `async with` begins and ends in two tasks.

    The manager does not see an exception that is raised inside: a failing test does not concern it.

    Attributes:
        context: the context variables after the entry.
    """

    def __init__(self, manager: AbstractAsyncContextManager[T]) -> None:
        self._manager = manager
        self._leave = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.context = contextvars.Context()

    async def __aenter__(self) -> T:
        entered: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        task = self._task = asyncio.get_running_loop().create_task(self._enter_and_exit(entered))
        try:
            waited: set[asyncio.Future[Any]] = {task, entered}
            await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            task.cancel()
            await asyncio.wait({task})
            raise
        if not entered.done():
            await task  # raises what the entry raised
        return entered.result()

    async def _enter_and_exit(self, entered: asyncio.Future[T]) -> None:
        async with self._manager as value:
            self.context = contextvars.copy_context()
            entered.set_result(value)
            await self._leave.wait()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._task is not None
        self._leave.set()
        await self._task
