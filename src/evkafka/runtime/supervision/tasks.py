"""The tasks of one consumer or one producer. A task that ends without having been told to is a failure of its owner.

A task may be cancelled by anybody on the loop: by a deadline that an endpoint has left behind (`call_later(...,
task.cancel)`), by a helper that cancels all tasks. Without a supervisor nobody would notice: asyncio reports
a task that ended by an exception, and keeps silent about one that was cancelled.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextvars import Context
from typing import Any, TypeVar

from evkafka.exceptions import EVKafkaError
from evkafka.runtime.ports import Clock, TimerHandle

logger = logging.getLogger("evkafka.runtime")

T = TypeVar("T")

PREFIX = "evkafka-"
"""Begins the names of all our tasks."""


LOOK_AGAIN_S = 1.0


class TaskEnded(EVKafkaError):
    """A task of the engine has ended, and nothing of ours had told it to."""


class SupervisedTasks:
    """Starts tasks, names them `evkafka-<owner>-<what>`, and reports those that end without having been told to.

    Args:
        owner: the consumer's or producer's name.
        on_failure: called with what ended a task: its own error, or `TaskEnded`. Once per task, on the loop.
    """

    def __init__(self, owner: str, on_failure: Callable[[BaseException], object]) -> None:
        self._owner = owner
        self._on_failure = on_failure
        self._running: dict[asyncio.Task[Any], None] = {}
        self._told: set[asyncio.Task[Any]] = set()
        self._closed = False
        try:
            self._starter = asyncio.current_task()
        except RuntimeError:  # no loop runs yet
            self._starter = None

    def start(
        self,
        what: str,
        work: Coroutine[Any, Any, T],
        on_failure: Callable[[BaseException], object] | None = None,
        *,
        returns: bool = False,
        context: Context | None = None,
    ) -> asyncio.Task[T]:
        """Start a task.

        Args:
            on_failure: is called in the place of the owner's own, where given.
            returns: its work has an end, so that returning is no failure. An error and a cancellation still are.
            context: the context that it runs in, itself; None takes a copy of the caller's.
        """
        name = f"{PREFIX}{self._owner}-{what}"
        task = asyncio.get_running_loop().create_task(work, name=name, context=context)
        self._running[task] = None
        report = on_failure or self._on_failure
        task.add_done_callback(lambda ended: self._ended(ended, report, returns=returns))
        return task

    @property
    def running(self) -> Sequence[asyncio.Task[Any]]:
        """Those that have not ended, in the order of their starts."""
        return tuple(self._running)

    def adopt(self, task: asyncio.Task[Any] | None) -> None:
        """This one was started by somebody else, and is the owner's own too."""
        if task is not None:
            self._running[task] = None
            task.add_done_callback(lambda ended: self._running.pop(ended, None))

    def allow_end(self, *tasks: asyncio.Task[Any] | None) -> None:
        """These are told to end: however they end from now on, it is no failure."""
        self._told.update(task for task in tasks if task is not None and not task.done())

    def cancel(self, *tasks: asyncio.Task[Any] | None) -> None:
        """Tell these to end, and cancel them."""
        self.allow_end(*tasks)
        for task in tasks:
            if task is not None:
                task.cancel()

    def close(self) -> None:
        """The owner ends: whatever ends from now on is no failure."""
        self._closed = True

    def _ended(self, task: asyncio.Task[Any], report: Callable[[BaseException], object], *, returns: bool) -> None:
        self._running.pop(task, None)
        told = task in self._told
        self._told.discard(task)
        error = None if task.cancelled() else task.exception()
        if told or self._closed or (returns and error is None and not task.cancelled()):
            return
        if error is None:
            how = "was cancelled by somebody else" if task.cancelled() else "has returned"
            error = TaskEnded(f"task {task.get_name()} {how}: nothing had told it to end")
            logger.error("%s", error)
        report(error)

    # ------------------------------------------------------------------ cancellations from outside

    @property
    def ignores_cancellation(self) -> bool:
        """Whether a cancellation that nobody of ours ordered must be survived.

        Not where the loop is being closed: `asyncio.run` cancels every task then, and waits for each. A task that went
        on would hang the process. By then the task that has started the owner has ended.
        """
        return not self._closed and (self._starter is None or not self._starter.done() or not loop_is_closing())

    def ignore_cancellation(self, stray: asyncio.CancelledError, *, log: bool = True) -> None:
        """Forget a cancellation that nobody of ours ordered. Called by the task that it struck.

        Args:
            log: log a warning; False where this task was cancelled before and the log has it.

        Raises:
            asyncio.CancelledError: the given one, where it must not be survived.
        """
        task = asyncio.current_task()
        if not self.ignores_cancellation or task is None:
            raise stray
        while task.cancelling():
            task.uncancel()
        if self._starter is not None and self._starter.done():
            asyncio.get_running_loop().call_later(LOOK_AGAIN_S, self._look_again)
        if log:
            logger.warning("task %s was cancelled by somebody else, and goes on", task.get_name())

    def _look_again(self) -> None:
        """A loop that is being closed may not have looked so: a task that was cancelled may begin another one."""
        if not self._closed and loop_is_closing():
            for task in self.running:
                task.cancel()

    async def run_to_end(self, step: Callable[[], Awaitable[T]]) -> T:
        """Run a step to its end. Where a cancellation from outside breaks it off it begins again, so it must be one
        that can."""
        while True:
            try:
                return await step()
            except asyncio.CancelledError as stray:
                self.ignore_cancellation(stray)


def loop_is_closing() -> bool:
    """Whether every task that is left, but for those of ours, was cancelled: `asyncio.run` does so at its end."""
    return all(task.cancelling() for task in asyncio.all_tasks() if not task.get_name().startswith(PREFIX))


class SupervisedClock:
    """A clock whose timers fail their owner where they raise. The loop by itself would log the error and go on, and
    what the timer was to wake would wait for ever."""

    def __init__(self, clock: Clock, on_failure: Callable[[Exception], object]) -> None:
        self.now = clock.now
        self.timestamp_ms = clock.timestamp_ms
        self._clock = clock
        self._on_failure = on_failure

    def call_later(self, delay_s: float, callback: Callable[[], object]) -> TimerHandle:
        def guarded() -> None:
            try:
                callback()
            except Exception as error:  # the one place: whatever it is, the owner is rebuilt
                self._on_failure(error)

        return self._clock.call_later(delay_s, guarded)
