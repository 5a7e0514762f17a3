"""A thread for the work of the web server, apart from the app's event loop.

The loop's default threads are not used: work of the app's endpoints may occupy all of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from evkafka.exceptions import EVKafkaError

T = TypeVar("T")


class TooBusy(EVKafkaError):
    """Too many requests wait. The same request may succeed a moment later."""


class SingleThreadExecutor:
    """Runs functions one after the other, in one thread.

    Args:
        max_waiting: most functions that wait or run.
    """

    def __init__(self, max_waiting: int, *, name: str = "evkafka-web") -> None:
        self._threads = ThreadPoolExecutor(1, thread_name_prefix=name)
        self._max_waiting = max_waiting
        self._unfinished = 0

    async def run_function(self, work: Callable[[], T]) -> T:
        """Run a function and return its result.

        If the awaiting task is cancelled, because a client disconnected for example, the function still runs, and is
        counted until it has ended.

        Raises:
            TooBusy: too many functions wait.
        """
        if self._unfinished >= self._max_waiting:
            raise TooBusy("too many requests at once; try again in a moment")
        self._unfinished += 1
        done = asyncio.get_running_loop().run_in_executor(self._threads, work)
        done.add_done_callback(self._count_down_unfinished)
        return await done

    def _count_down_unfinished(self, done: object) -> None:
        self._unfinished -= 1

    def shut_down_without_waiting(self, *, cancel: bool = False) -> None:
        """Accept no more work. Does not wait.

        Args:
            cancel: drop the functions that have not started; otherwise they still run.
        """
        self._threads.shutdown(wait=False, cancel_futures=cancel)
