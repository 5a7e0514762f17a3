"""The fault `cancel`: SIGUSR1 cancels a task of the app from outside.

In real apps the cause is a timer that an endpoint has left behind (`call_later(..., task.cancel)`), or a helper that
cancels all tasks of the loop.
"""

from __future__ import annotations

import asyncio
import random
import signal
from collections.abc import Callable, Iterable
from types import FrameType
from typing import Any

from evkafka.verify.history import History

SIGNAL = getattr(signal, "SIGUSR1", None)
"""None on a system without it; `verify` does not run there."""


class TaskCanceller:
    """Cancels one task of its loop at each signal: a task of EVKafka, of the client library or of the app, but not the
    main task, because that would stop the app.

    The kind of task is drawn first, so that a consumer's only heartbeat task is cancelled as often as any of its
    sixteen executors.

    Args:
        history: each cancelled task is recorded there.
        seed: of the random choice.
    """

    def __init__(self, history: History, seed: str) -> None:
        self._history = history
        self._random = random.Random(seed)  # nosec B311 # repeatable, not cryptographic
        self._loop: asyncio.AbstractEventLoop | None = None
        self._main: asyncio.Task[Any] | None = None
        self._is_running: Callable[[], bool] = lambda: False

    def install_signal_handler(self) -> None:
        """Handle the signal from now on. Before `set_main_task` it has no effect."""
        assert SIGNAL is not None
        signal.signal(SIGNAL, self._on_signal)

    def set_main_task(self, is_running: Callable[[], bool] = lambda: True) -> None:
        """The current task is the main task, and tasks of its loop are cancelled from now on.

        Args:
            is_running: whether the app has started. Before that no task is cancelled: endpoints, which leave such
                timers behind, have not run yet.
        """
        self._loop, self._main = asyncio.get_running_loop(), asyncio.current_task()
        self._is_running = is_running

    def _on_signal(self, signum: int, frame: FrameType | None) -> None:
        # A signal may interrupt any code, also that of asyncio: the task is cancelled in a step of its own.
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self.cancel_one_task)

    def cancel_one_task(self) -> None:
        """Cancel one task."""
        tasks = self._cancellable_tasks(asyncio.all_tasks(self._loop)) if self._is_running() else {}
        if tasks:
            kind = self._random.choice(sorted(tasks))
            task = self._random.choice(tasks[kind])
            self._history.write_entry("fault", kind="cancel", task=task.get_name(), runs=kind)
            task.cancel()

    def _cancellable_tasks(self, tasks: Iterable[asyncio.Task[Any]]) -> dict[str, list[asyncio.Task[Any]]]:
        """The tasks that may be cancelled, by the coroutine that they run."""
        by_kind: dict[str, list[asyncio.Task[Any]]] = {}
        for task in sorted(tasks, key=asyncio.Task.get_name):
            if task is not self._main and not task.done():
                by_kind.setdefault(_coroutine_name(task), []).append(task)
        return by_kind


def _coroutine_name(task: asyncio.Task[Any]) -> str:
    coroutine = task.get_coro()
    return str(getattr(coroutine, "__qualname__", coroutine))
