"""The socket between a supervisor and a process that it has started, and what the process reports over it.

A report is a line of JSON with a name and a value. The process sends nothing else, and the supervisor sends nothing:
the end of the connection tells each side that the other one is gone.
"""

from __future__ import annotations

import json
import socket
from contextlib import suppress
from typing import Any, Final

SIGNALS_READY: Final = "signals_ready"
"""Report: the process's signal handlers are installed."""

STOP_LIMIT_S: Final = "stop_limit_s"
"""Report: how long a stop of the process's app may take, in seconds."""

WEB_PORT: Final = "web_port"
"""Report: the port of the app's web server, as `dev_setup` has chosen it."""


class ReportSender:
    """The process's end."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection

    def send(self, name: str, value: Any = True) -> None:
        """Send a report. Without a supervisor nothing is sent: `wait_for_end` returns then."""
        with suppress(ConnectionError):
            self._connection.sendall(json.dumps({name: value}).encode() + b"\n")

    def wait_for_end(self) -> None:
        """Block until the supervisor is gone."""
        with suppress(ConnectionError):
            self._connection.recv(1)


class ReportReceiver:
    """The supervisor's end. It never blocks."""

    def __init__(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        self._connection = connection
        self._received = b""

    def receive_newest_reports(self) -> dict[str, Any]:
        """Receive what has arrived. Returns the newest report of each name."""
        self._read_available_bytes()
        reports: dict[str, Any] = {}
        for line in self._received.split(b"\n")[:-1]:  # what follows the last line break is not complete yet
            reports |= json.loads(line)
        return reports

    def close(self) -> None:
        self._read_available_bytes()
        self._connection.close()

    def _read_available_bytes(self) -> None:
        with suppress(BlockingIOError, ConnectionError):
            while not self._is_own_end_closed and (received := self._connection.recv(4096)):
                self._received += received

    @property
    def _is_own_end_closed(self) -> bool:
        return self._connection.fileno() == -1
