"""The console command `evkafka`. It lies outside of the package evkafka, whose import takes most of a command's start:
a process may be told to stop in the meantime."""

from __future__ import annotations

import signal
import sys
import threading
from types import FrameType


def main() -> None:
    """The console entry point. Always ends with SystemExit."""
    if sys.argv[1:2] == ["run"]:
        stop_quietly_until_started()
    from evkafka.cli import main as evkafka

    evkafka()


def stop_quietly_until_started() -> None:
    """Until the app takes the signals over, nothing has begun that had to be ended: SIGTERM and SIGINT end the process
    with 0."""
    if threading.current_thread() is threading.main_thread():
        for signum in (signal.SIGTERM, signal.SIGINT):
            signal.signal(signum, _end)


def _end(signum: int, frame: FrameType | None) -> None:
    sys.exit(0)
