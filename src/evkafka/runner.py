"""Running an app as a process: signals, exit codes, the last log line.

0 clean stop; 1 failed while running; 3 could not start; 128+n when a second signal, or the drain time, forced it.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from evkafka.service import StartFailed

logger = logging.getLogger("evkafka")

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)

OK, FAILED, NOT_STARTED = 0, 1, 3

Handle = Callable[[int, FrameType | None], None]


class ForcedExit(Exception):
    """The stop was forced: attempts were cut because the drain time ran out."""

    def __init__(self, signum: int) -> None:
        super().__init__(f"forced to end by signal {signum}")
        self.code = 128 + signum


def run_to_exit_code(
    serve: Callable[[], Coroutine[Any, Any, None]],
    *,
    loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None,
) -> int:
    """Run the app in a loop of its own, until it ends; its exit code.

    Args:
        loop_factory: what makes the loop; None for asyncio's own.
    """
    _default_logging()
    try:
        with asyncio.Runner(loop_factory=loop_factory) as runner:
            runner.run(serve())
    except StartFailed as error:
        logger.critical("%s", error, exc_info=error.__cause__ if logger.isEnabledFor(logging.DEBUG) else None)
        return NOT_STARTED
    except ForcedExit as forced:
        logger.error("the stop was forced: what ran past the drain time was cut, and will be read again")
        return forced.code
    except KeyboardInterrupt:  # a signal outside of our handlers, before or after the app ran
        return 128 + signal.SIGINT
    except Exception as error:
        logger.critical("the app has failed: %s", error, exc_info=error)
        return FAILED
    return OK


def leave(code: int) -> None:
    """End the process with this code; returns where that is 0. After a forced stop no thread is waited for."""
    if code >= 128:
        force_exit(code)
    if code:
        sys.exit(code)


def force_exit(code: int) -> None:
    """End the process at once: logs are flushed, threads are not waited for, nothing else runs."""
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    os._exit(code)


@contextmanager
def signals(handle: Handle) -> Iterator[None]:
    """Hand SIGINT and SIGTERM to this; a no-op outside of the main thread, where signals cannot be taken."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {signum: signal.signal(signum, handle) for signum in STOP_SIGNALS}
    try:
        yield
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)


def _default_logging() -> None:
    """A person who runs an app without any logging of his own sees what it does."""
    if not logging.getLogger().handlers:
        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)-8s %(name)s  %(message)s")
        logging.getLogger("aiokafka").setLevel(logging.WARNING)
