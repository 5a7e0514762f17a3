"""The fault `cancel`: a task of the app is cancelled by somebody who is no part of it, at SIGUSR1.

In the field this is a deadline that an endpoint has left behind (`call_later(..., task.cancel)`), or a helper that
cancels all tasks of the loop.
"""

from __future__ import annotations

import asyncio
import random
import signal
from collections.abc import Iterable
from types import FrameType
from typing import Any

from evkafka.verify.history import History

SIGNAL = getattr(signal, "SIGUSR1", None)
"""None on a system without it, where `verify` does not run."""


class TaskCanceller:
    """Cancels one task of its loop at each signal: any of EVKafka, of the client library or of the app itself, but
    not the main task, for whoever cancels that stops the app.

    The kind of task is drawn first, so that a consumer's only heartbeat is struck as often as one of sixteen executors.

    Args:
        journal: gets a line for each task that was cancelled.
        seed: of what is drawn.
    """

    def __init__(self, journal: History, seed: str) -> None:
        self._journal = journal
        self._chance = random.Random(seed)  # nosec B311 # to be repeated
        self._loop: asyncio.AbstractEventLoop | None = None
        self._main: asyncio.Task[Any] | None = None

    def listen(self) -> None:
        """Take the signal from now on. Before `enter` it does nothing."""
        assert SIGNAL is not None
        signal.signal(SIGNAL, self._signalled)

    def enter(self) -> None:
        """The task that runs this is the main task, and its loop is the one whose tasks are cancelled."""
        self._loop, self._main = asyncio.get_running_loop(), asyncio.current_task()

    def _signalled(self, signum: int, frame: FrameType | None) -> None:
        # A signal comes in the middle of anything, also of asyncio's code: the task is cancelled in a step of its own.
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self.strike)

    def strike(self) -> None:
        """Cancel one task."""
        tasks = self._struck(asyncio.all_tasks(self._loop))
        if tasks:
            kind = self._chance.choice(sorted(tasks))
            task = self._chance.choice(tasks[kind])
            self._journal.note("fault", kind="cancel", task=task.get_name(), runs=kind)
            task.cancel()

    def _struck(self, tasks: Iterable[asyncio.Task[Any]]) -> dict[str, list[asyncio.Task[Any]]]:
        """Those that may be cancelled, by what they run."""
        by_kind: dict[str, list[asyncio.Task[Any]]] = {}
        for task in sorted(tasks, key=asyncio.Task.get_name):
            if task is not self._main and not task.done():
                by_kind.setdefault(_runs(task), []).append(task)
        return by_kind


def _runs(task: asyncio.Task[Any]) -> str:
    coroutine = task.get_coro()
    return str(getattr(coroutine, "__qualname__", coroutine))
