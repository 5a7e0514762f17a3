"""Work for the page that is no business of the consumers' loop: in a thread with a loop of its own, one at a time.

Reading topics costs time on the processor: decompressing, checking, decoding. In the app's loop it would hold up
polls and handlers; in a thread it shares the interpreter with them and no more.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from evkafka.web.encoding import TooBusy

T = TypeVar("T")

WAITING = 8
"""Questions that wait for their turn at most."""


class BackgroundRunner:
    """Runs one coroutine after the other, each with a deadline, elsewhere."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(1, thread_name_prefix="evkafka-ui")
        self._waiting = 0
        self._running: tuple[asyncio.AbstractEventLoop, asyncio.Task[Any]] | None = None

    async def run(self, work: Callable[[], Coroutine[Any, Any, T]], *, timeout_s: float) -> T:
        """
        Raises:
            TooBusy: too many wait already.
            TimeoutError: it was not done in this time; it has been ended.
        """
        if self._waiting >= WAITING:
            raise TooBusy("this page is asked too much at once; try again in a moment")
        self._waiting += 1
        # A client that hangs up ends the awaiting and not the work: that counts until it has ended.
        done = asyncio.get_running_loop().run_in_executor(self._threads, self._there, work, timeout_s)
        done.add_done_callback(self._one_less)
        return await done

    def _one_less(self, done: object) -> None:
        self._waiting -= 1

    def _there(self, work: Callable[[], Coroutine[Any, Any, T]], timeout_s: float) -> T:
        async def bounded() -> T:
            task = asyncio.current_task()
            assert task is not None
            self._running = asyncio.get_running_loop(), task
            try:
                async with asyncio.timeout(timeout_s):
                    return await work()
            finally:
                self._running = None

        return asyncio.run(bounded())

    def end(self) -> None:
        """Break off what runs, and begin nothing more."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        if (running := self._running) is not None:
            loop, task = running
            with contextlib.suppress(RuntimeError):  # it has just ended by itself
                loop.call_soon_threadsafe(task.cancel)
