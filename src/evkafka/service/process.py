"""Running an app as a process: signals, exit codes, the last log line.

0 clean stop; 1 failed while running; 3 could not start; 128+n when a second signal, the drain time or the deadline of
the stop forced it.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

from evkafka.runtime.supervision.stacks import threads_blocking_exit
from evkafka.service.service import StartFailed
from evkafka.service.standard_streams import open_standard_streams
from evkafka.service.stop_guard import Handle, StopGuard, force_exit
from evkafka_command.forks import undo_in_children

logger = logging.getLogger("evkafka")

OK, FAILED, NOT_STARTED = 0, 1, 3

THREAD_PREFIX = "evkafka-"
"""Of the names of all threads that EVKafka starts."""


class ForcedExit(Exception):
    """The stop was forced: something had not ended when its time was over, and was cut."""

    def __init__(self, signum: int, what: str) -> None:
        super().__init__(f"the stop was forced: {what}")
        self.code = 128 + signum


def run_to_exit_code(
    serve: Callable[[], Coroutine[Any, Any, None]],
    *,
    loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None,
    guard: StopGuard | None = None,
) -> int:
    """Run the app in a loop of its own, until it ends; its exit code.

    Args:
        loop_factory: what makes the loop; None for asyncio's own.
        guard: ends the process where the loop cannot be closed, because a task or a thread does not end.
    """
    open_standard_streams()
    _default_logging()
    try:
        with asyncio.Runner(loop_factory=loop_factory) as runner:
            code = _served(runner, serve)
            if guard is not None:
                guard.exit_with(code)
                guard.begin()
    except KeyboardInterrupt:  # while the loop is being closed
        return 128 + signal.SIGINT
    return code


def _served(runner: asyncio.Runner, serve: Callable[[], Coroutine[Any, Any, None]]) -> int:
    try:
        runner.run(serve())
    except StartFailed as error:
        logger.critical("%s", error, exc_info=error.__cause__ if logger.isEnabledFor(logging.DEBUG) else None)
        return NOT_STARTED
    except ForcedExit as forced:
        logger.error("%s", forced)
        return forced.code
    except KeyboardInterrupt:  # a signal outside of our handlers, before or after the app ran
        return 128 + signal.SIGINT
    except asyncio.CancelledError as error:  # by a deadline that the lifespan left behind, by somebody on the loop
        logger.critical("the app has failed: somebody else has cancelled its main task", exc_info=error)
        return FAILED
    except Exception as error:
        logger.critical("the app has failed: %s", error, exc_info=error)
        return FAILED
    return OK


def leave(code: int, guard: StopGuard) -> None:
    """Leave `run()` with this code: returns where that is 0, else raises SystemExit. After a forced stop the process
    ends here.

    The interpreter waits for threads when it ends. Those of consumers end here, or the guard ends the process.
    """
    if code >= 128:
        force_exit(code)
    for thread in threads_blocking_exit():
        if thread.name.startswith(THREAD_PREFIX):
            thread.join()
    guard.end()
    if code:
        sys.exit(code)


def end_process(code: int) -> None:
    """As `leave`, for a process in which nothing follows: its guard watches until the interpreter has ended, since
    that waits for everybody's threads."""
    if code >= 128:
        force_exit(code)
    if code:
        sys.exit(code)


@contextmanager
def signals(handle: Handle, guard: StopGuard) -> Iterator[None]:
    """Hand SIGINT and SIGTERM to this; a no-op outside of the main thread, where signals cannot be taken.

    A guard that has them already keeps them: while the loop is closed, which may take until the deadline, a second
    signal must still end the process. Its descriptor is only told inside, because uvloop sets its own when it runs.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    taken_here = guard.take_signals(handle)
    told_before = guard.catch()
    # In a child, the descriptor is shared: the parent would be told.
    forget = undo_in_children(lambda: signal.set_wakeup_fd(-1))
    try:
        yield
    finally:
        forget()
        signal.set_wakeup_fd(told_before)
        if taken_here:
            guard.give_back_signals()


def _default_logging() -> None:
    """A person who runs an app without any logging of his own sees what it does."""
    if not logging.getLogger().handlers:
        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)-8s %(name)s  %(message)s")
        logging.getLogger("aiokafka").setLevel(logging.WARNING)
