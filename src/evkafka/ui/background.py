"""Runs coroutines of the page outside the app's event loop: in a thread with its own loop, one at a time.

Reading topics needs CPU time, to decompress, check and decode records. In the app's loop it would delay polls and
handlers; in a thread it only shares the interpreter with them.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from evkafka.http.single_thread_executor import SingleThreadExecutor

T = TypeVar("T")

MAX_WAITING = 8


class BackgroundRunner:
    """Runs one coroutine after the other, each with a timeout."""

    def __init__(self) -> None:
        self._thread = SingleThreadExecutor(MAX_WAITING, name="evkafka-ui")
        self._running: tuple[asyncio.AbstractEventLoop, asyncio.Task[Any]] | None = None

    async def run(self, work: Callable[[], Coroutine[Any, Any, T]], *, timeout_s: float) -> T:
        """
        Raises:
            TooBusy: too many coroutines wait.
            TimeoutError: the coroutine did not end in this time, and was cancelled.
        """
        return await self._thread.run_function(lambda: self._run_in_new_event_loop(work, timeout_s))

    def _run_in_new_event_loop(self, work: Callable[[], Coroutine[Any, Any, T]], timeout_s: float) -> T:
        async def run_with_timeout() -> T:
            task = asyncio.current_task()
            assert task is not None
            self._running = asyncio.get_running_loop(), task
            try:
                async with asyncio.timeout(timeout_s):
                    return await work()
            finally:
                self._running = None

        return asyncio.run(run_with_timeout())

    def shut_down(self) -> None:
        """Cancel the running coroutine, and drop the waiting ones."""
        self._thread.shut_down_without_waiting(cancel=True)
        if (running := self._running) is not None:
            loop, task = running
            with contextlib.suppress(RuntimeError):  # the coroutine has just ended, and its loop is closed
                loop.call_soon_threadsafe(task.cancel)
