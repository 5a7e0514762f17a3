"""Runs an app as a process: signals, exit codes, the last log line.

Exit codes: 0 clean stop; 1 failed while running; 3 could not start (from the command line 2, if a configuration is
invalid); 128+n if a second signal, the drain time or the
deadline of the stop forced the end.
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

from evkafka.exceptions import ConfigError, ForcedExit, StartFailed, StopApp
from evkafka.runtime.supervision.stacks import threads_blocking_exit
from evkafka.service.standard_streams import open_standard_streams
from evkafka.service.stop_guard import SignalHandler, StopGuard, force_exit
from evkafka_command.forks import undo_in_children

logger = logging.getLogger("evkafka")

OK, FAILED, NOT_STARTED = 0, 1, 3

THREAD_PREFIX = "evkafka-"
"""All threads that EVKafka starts have names with this prefix."""


def run_to_exit_code(
    serve: Callable[[], Coroutine[Any, Any, None]],
    *,
    loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None,
    guard: StopGuard | None = None,
    invalid_config_code: int = NOT_STARTED,
) -> int:
    """Run the app in a new loop until it ends; returns its exit code.

    Args:
        loop_factory: creates the loop; None for asyncio's own.
        guard: ends the process if the loop cannot be closed, because a task or a thread does not end.
        invalid_config_code: the exit code if it could not start because of a ConfigError.
    """
    open_standard_streams()
    _configure_default_logging()
    try:
        with asyncio.Runner(loop_factory=loop_factory) as runner:
            code = _run_app_and_return_exit_code(runner, serve, invalid_config_code)
            if guard is not None:
                guard.set_exit_code(code)
                guard.start_stop_deadline()
    except KeyboardInterrupt:  # while the loop is being closed
        return 128 + signal.SIGINT
    return code


def _run_app_and_return_exit_code(
    runner: asyncio.Runner, serve: Callable[[], Coroutine[Any, Any, None]], invalid_config_code: int
) -> int:
    try:
        runner.run(serve())
    except StartFailed as error:
        logger.critical("%s", error, exc_info=error.__cause__ if logger.isEnabledFor(logging.DEBUG) else None)
        return invalid_config_code if isinstance(error.__cause__, ConfigError) else NOT_STARTED
    except ForcedExit as forced:
        logger.error("%s", forced)
        return forced.code
    except KeyboardInterrupt:  # a signal before our handlers were installed, or after they were removed
        return 128 + signal.SIGINT
    except asyncio.CancelledError as error:  # by a timeout that the lifespan left open, or by other code on the loop
        logger.critical("the app has failed: its main task was cancelled by code outside EVKafka", exc_info=error)
        return FAILED
    except StopApp as error:  # the log has the record's failure, with its traceback
        logger.critical("the app has failed: %s", error)
        return FAILED
    except Exception as error:
        logger.critical("the app has failed: %s", error, exc_info=error)
        return FAILED
    return OK


def exit_with_code(code: int, guard: StopGuard) -> None:
    """Leave `run()` with this code: returns if it is 0, else raises SystemExit. After a forced stop the process ends
    here.

    The interpreter waits for threads when it ends. Those of consumers are waited for here, while the guard can still
    end the process.
    """
    if code >= 128:
        force_exit(code)
    for thread in threads_blocking_exit():
        if thread.name.startswith(THREAD_PREFIX):
            thread.join()
    guard.stop_watcher_thread()
    if code:
        sys.exit(code)


def exit_while_guard_watches(code: int) -> None:
    """Like `exit_with_code`, for a process that has nothing else to do. Its guard watches until the interpreter has
    ended, which waits for all threads, also those of other code."""
    if code >= 128:
        force_exit(code)
    if code:
        sys.exit(code)


@contextmanager
def signal_handlers(handle: SignalHandler, guard: StopGuard) -> Iterator[None]:
    """Inside, `handle` is the handler of SIGINT and SIGTERM. Outside of the main thread, where handlers cannot be set,
    this does nothing.

    A guard that has set its handlers before keeps them at the exit: closing the loop may take until the deadline, and
    meanwhile a second signal must still end the process. The guard's wake-up descriptor is set only inside, because
    uvloop sets its own when it starts to run.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    installed_here = guard.install_signal_handlers(handle)
    previous_descriptor = guard.set_wakeup_descriptor()
    # A forked child shares the pipe: its signals would wake up the parent's guard.
    remove_fork_hook = undo_in_children(lambda: signal.set_wakeup_fd(-1))
    try:
        yield
    finally:
        remove_fork_hook()
        signal.set_wakeup_fd(previous_descriptor)
        if installed_here:
            guard.restore_signal_handlers()


def _configure_default_logging() -> None:
    """Log to stderr if the program has not configured logging."""
    if not logging.getLogger().handlers:
        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)-8s %(name)s  %(message)s")
        for client in ("aiokafka", "httpx"):
            logging.getLogger(client).setLevel(logging.WARNING)
