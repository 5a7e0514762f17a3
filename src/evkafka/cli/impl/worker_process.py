"""The program of one process of `evkafka run --workers` or `--reload`.

The supervisor starts it as `python -m evkafka.cli.impl.worker_process OPTIONS LIFELINE [OUT ERR]`; see `child_process`.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time
from typing import TextIO

from evkafka.cli.impl.child_process import KILL_AFTER_S
from evkafka.cli.impl.lifeline import SIGNALS_READY, STOP_LIMIT_S, WEB_PORT, ReportSender
from evkafka.cli.impl.run_options import WebPort
from evkafka.runtime.supervision.stop_deadline import stop_limit_s
from evkafka.service.standard_streams import open_standard_streams
from evkafka_command.startup_signals import stop_quietly_until_started


class _Lifeline:
    """This process's end of the lifeline to its supervisor."""

    def __init__(self, descriptor: int, output: list[int]) -> None:
        self._supervisor = ReportSender(socket.socket(fileno=descriptor))
        self._output = output
        self._limit_s = stop_limit_s([])

    def report_ready_and_watch(self) -> None:
        """Report that signals are handled, and watch for the end of the supervisor."""
        self._supervisor.send(SIGNALS_READY)
        threading.Thread(target=self._stop_app_when_supervisor_ends, daemon=True, name="evkafka-lifeline").start()

    def report_stop_limit_s(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self._supervisor.send(STOP_LIMIT_S, limit_s)

    def report_web_port(self, port: WebPort) -> None:
        self._supervisor.send(WEB_PORT, port)

    def _stop_app_when_supervisor_ends(self) -> None:
        """Block until the supervisor is gone. Then stop the app, and end the process if that takes too long."""
        self._supervisor.wait_for_end()
        for own, inherited in zip((1, 2), self._output, strict=False):
            os.dup2(inherited, own)
        main = threading.main_thread().ident
        assert main is not None
        signal.pthread_kill(main, signal.SIGTERM)
        time.sleep(self._limit_s + KILL_AFTER_S)
        os._exit(128 + signal.SIGTERM)


def _line_buffered_stream(descriptor: int) -> TextIO:
    """A stream that buffers a line and writes it whole.

    Without a buffer (PYTHONUNBUFFERED) Python loses the rest of a line if a signal comes during a write to a full pipe.
    """
    return open(descriptor, "w", buffering=1, errors="backslashreplace", closefd=False)


def main() -> None:
    open_standard_streams()
    stop_quietly_until_started()
    lifeline = _Lifeline(int(sys.argv[2]), [*map(int, sys.argv[3:])])
    lifeline.report_ready_and_watch()
    if sys.argv[3:]:
        sys.stdout, sys.stderr = _line_buffered_stream(1), _line_buffered_stream(2)
    # These imports take a while. A signal during them already ends the process with 0.
    from evkafka.cli.exit_codes import call_for_exit_code
    from evkafka.cli.impl.run import run_app
    from evkafka.cli.impl.run_options import RunOptions

    options = RunOptions.from_json(sys.argv[1])
    sys.exit(call_for_exit_code(lambda: run_app(options, supervisor=lifeline)))


if __name__ == "__main__":
    main()
