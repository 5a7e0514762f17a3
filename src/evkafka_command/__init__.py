"""The console command `evkafka`. It lies outside of the package evkafka, whose import takes most of a command's start:
a process may be told to stop in the meantime."""

from __future__ import annotations

import os
import signal
import sys
import threading
from types import FrameType

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)

LAST_LINES_S = 1.0
"""How long the last lines may take: whoever reads our output may have stopped reading it."""


def main() -> None:
    """The console entry point. Always ends with SystemExit."""
    if sys.argv[1:2] == ["run"]:
        stop_quietly_until_started()
    from evkafka.cli import main as evkafka

    evkafka()


def stop_quietly_until_started() -> None:
    """Until the app takes the signals over, nothing has begun that had to be ended: SIGTERM and SIGINT end the process
    with 0, also while the main thread is inside of a C function (a database driver that connects at the import).

    At once, without SystemExit: code written in C that imports a module turns that into an ImportError, and the end of
    the interpreter would wait for threads which the app's module has started.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    parent = os.getpid()

    def end(signum: int, frame: FrameType | None) -> None:
        if os.getpid() == parent:
            _leave()
        signal.signal(signum, signal.SIG_DFL)  # a forked child: it is terminated like any other process
        os.kill(os.getpid(), signum)

    def watch() -> None:
        while number := os.read(reading, 1):
            if signal.getsignal(number[0]) is end:
                _leave()

    # A signal that strikes a child between the fork and `in_child` would be written to the parent's pipe, and end the
    # parent. Blocked in the thread that forks, it waits in the system until the child has closed that way.
    masks = threading.local()

    def before_fork() -> None:
        masks.before = signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)

    def after_fork() -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, masks.before)

    def in_child() -> None:
        if signal.getsignal(signal.SIGTERM) is end:
            signal.set_wakeup_fd(-1)  # it is the parent's
        after_fork()

    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    os.register_at_fork(before=before_fork, after_in_parent=after_fork, after_in_child=in_child)
    threading.Thread(target=watch, name="evkafka-start", daemon=True).start()
    for signum in STOP_SIGNALS:
        signal.signal(signum, end)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)


def end_with_system_exit() -> None:
    """For an app that takes no signals itself: from now on they raise SystemExit in it, so that it can clean up."""
    for signum in STOP_SIGNALS:
        signal.signal(signum, lambda *_: sys.exit(0))


def _leave() -> None:
    try:
        writing = threading.Thread(target=_write_last_lines, daemon=True)
        writing.start()
        writing.join(LAST_LINES_S)
    finally:
        os._exit(0)


def _write_last_lines() -> None:
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
