"""SIGTERM and SIGINT while a command starts, before the app handles them."""

from __future__ import annotations

import os
import signal
import sys
import threading
from types import FrameType

from evkafka_command.forks import STOP_SIGNALS, undo_in_children

FLUSH_S = 1.0
"""How long flushing the output may take: its reader may have stopped reading."""


def stop_quietly_until_started() -> None:
    """Until the app handles signals itself, nothing has started that needs cleaning up: SIGTERM and SIGINT end the
    process with code 0, also while the main thread is inside of a C function (a database driver that connects when it
    is imported).

    The process ends at once, without SystemExit: C code that imports a module turns SystemExit into an ImportError,
    and the interpreter would wait at its end for threads that the app's module has started.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    parent = os.getpid()

    def end(signum: int, frame: FrameType | None) -> None:
        if os.getpid() == parent:
            _exit()
        signal.signal(signum, signal.SIG_DFL)  # a forked child: it is terminated like any other process
        os.kill(os.getpid(), signum)

    def watch() -> None:
        while number := os.read(reading, 1):
            if signal.getsignal(number[0]) is end:
                _exit()

    def in_child() -> None:
        if signal.getsignal(signal.SIGTERM) is end:
            signal.set_wakeup_fd(-1)  # the pipe is the parent's: a signal to the child would end the parent

    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    undo_in_children(in_child)
    threading.Thread(target=watch, name="evkafka-start", daemon=True).start()
    for signum in STOP_SIGNALS:
        signal.signal(signum, end)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)


def end_with_system_exit() -> None:
    """For an app that handles no signals itself: from now on they raise SystemExit in it, so that it can clean up."""
    for signum in STOP_SIGNALS:
        signal.signal(signum, lambda *_: sys.exit(0))


def _exit() -> None:
    try:
        flushing = threading.Thread(target=_flush_output, daemon=True)
        flushing.start()
        flushing.join(FLUSH_S)
    finally:
        os._exit(0)


def _flush_output() -> None:
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
