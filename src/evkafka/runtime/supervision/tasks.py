"""The tasks of one consumer or one producer. A task that ends unexpectedly is a failure of its owner.

Any code on the event loop may cancel a task: a timer that an endpoint has left behind (`call_later(..., task.cancel)`),
or a helper that cancels all tasks. Without supervision nobody would notice: asyncio reports a task that ended by an
exception, but not one that was cancelled.
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
"""The beginning of the names of all our tasks."""

LOOK_AGAIN_S = 1.0


class TaskEnded(EVKafkaError):
    """A task of the runtime has ended unexpectedly."""


class SupervisedTasks:
    """Starts tasks, names them `evkafka-<owner>-<what>`, and reports those that end unexpectedly.

    Args:
        owner: the consumer's or producer's name.
        on_failure: called on the event loop with the error of such a task: its own exception, or `TaskEnded`.
    """

    def __init__(self, owner: str, on_failure: Callable[[BaseException], object]) -> None:
        self._owner = owner
        self._on_failure = on_failure
        self._running: dict[asyncio.Task[Any], None] = {}
        self._expected: set[asyncio.Task[Any]] = set()
        self._closed = False
        try:
            self._starter = asyncio.current_task()
        except RuntimeError:  # no loop runs yet
            self._starter = None

    def start_task(
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
            on_failure: called in place of the owner's.
            returns: True for work that ends, so that returning is no failure. An error and a cancellation still are.
            context: the task runs in this very context; None takes a copy of the caller's.
        """
        name = f"{PREFIX}{self._owner}-{what}"
        task = asyncio.get_running_loop().create_task(work, name=name, context=context)
        self._running[task] = None
        report = on_failure or self._on_failure
        task.add_done_callback(lambda ended: self._report_task_end_if_unexpected(ended, report, returns=returns))
        return task

    @property
    def running_tasks(self) -> Sequence[asyncio.Task[Any]]:
        """The tasks that have not ended, in the order of their starts."""
        return tuple(self._running)

    def adopt_task(self, task: asyncio.Task[Any] | None) -> None:
        """Treat a task that other code has started as one of the owner's."""
        if task is not None:
            self._running[task] = None
            task.add_done_callback(lambda ended: self._running.pop(ended, None))

    def allow_end(self, *tasks: asyncio.Task[Any] | None) -> None:
        """Expect these tasks to end: from now on their end is no failure."""
        self._expected.update(task for task in tasks if task is not None and not task.done())

    def cancel_and_allow_end(self, *tasks: asyncio.Task[Any] | None) -> None:
        """Cancel these tasks, and expect their end."""
        self.allow_end(*tasks)
        for task in tasks:
            if task is not None:
                task.cancel()

    def allow_all_to_end(self) -> None:
        """The owner ends: from now on the end of any task is no failure."""
        self._closed = True

    def _report_task_end_if_unexpected(
        self, task: asyncio.Task[Any], report: Callable[[BaseException], object], *, returns: bool
    ) -> None:
        self._running.pop(task, None)
        expected = task in self._expected
        self._expected.discard(task)
        error = None if task.cancelled() else task.exception()
        if expected or self._closed or (returns and error is None and not task.cancelled()):
            return
        if error is None:
            how = "was cancelled by code outside EVKafka" if task.cancelled() else "has ended"
            error = TaskEnded(f"task {task.get_name()} {how} unexpectedly")
            logger.error("%s", error)
        report(error)

    # ------------------------------------------------------------------ cancellations from outside

    @property
    def must_ignore_cancellation(self) -> bool:
        """Whether a task must continue after a cancellation from outside.

        It must not while the event loop is being closed: `asyncio.run` cancels every task then, and waits for each, so
        that a task which continues would hang the process. By then the task that started the owner has ended.
        """
        return not self._closed and (self._starter is None or not self._starter.done() or not loop_is_closing())

    def ignore_cancellation_unless_loop_closes(self, cancellation: asyncio.CancelledError, *, log: bool = True) -> None:
        """Continue after a cancellation from outside. Called by the task that was cancelled.

        Args:
            log: log a warning; False if this task was cancelled before and the log has it.

        Raises:
            asyncio.CancelledError: the given one, if the task must not continue.
        """
        task = asyncio.current_task()
        if not self.must_ignore_cancellation or task is None:
            raise cancellation
        while task.cancelling():
            task.uncancel()
        if self._starter is not None and self._starter.done():
            asyncio.get_running_loop().call_later(LOOK_AGAIN_S, self._cancel_running_if_loop_closes)
        if log:
            logger.warning("task %s was cancelled by code outside EVKafka and continues", task.get_name())

    def _cancel_running_if_loop_closes(self) -> None:
        """A loop that is being closed may not have been recognised: a cancelled task may start another one."""
        if not self._closed and loop_is_closing():
            for task in self.running_tasks:
                task.cancel()

    async def run_step_again_if_cancelled(self, step: Callable[[], Awaitable[T]]) -> T:
        """Run a step to its end. A cancellation from outside starts it again, so the step must allow that."""
        while True:
            try:
                return await step()
            except asyncio.CancelledError as error:
                self.ignore_cancellation_unless_loop_closes(error)


def loop_is_closing() -> bool:
    """Whether every remaining task except ours was cancelled: `asyncio.run` does that at its end."""
    return all(task.cancelling() for task in asyncio.all_tasks() if not task.get_name().startswith(PREFIX))


class SupervisedClock:
    """A clock whose owner fails if a timer's callback raises. The loop would only log the error, and whatever waits for
    the timer would wait forever."""

    def __init__(self, clock: Clock, on_failure: Callable[[Exception], object]) -> None:
        self.now = clock.now
        self.timestamp_ms = clock.timestamp_ms
        self._clock = clock
        self._on_failure = on_failure

    def call_later(self, delay_s: float, callback: Callable[[], object]) -> TimerHandle:
        def call() -> None:
            try:
                callback()
            except Exception as error:  # whatever it is, the owner is restarted
                self._on_failure(error)

        return self._clock.call_later(delay_s, call)
