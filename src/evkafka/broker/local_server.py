"""`LocalServer`: what the local Kafka and the local schema registry have in common. One Java process, and its log."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import os
import shutil
import tempfile
import time
import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import Self

from evkafka.broker.process import ChildProcess
from evkafka.broker.reserved_port import ReservedPort
from evkafka.exceptions import BrokerError, ConfigError

CLIENT = "CLIENT"
"""The name of the port that clients connect to."""

_running: weakref.WeakSet[LocalServer] = weakref.WeakSet()


class LocalServer(ABC):
    """A server in a process of its own, which ends with the process that started it.

    Args:
        name: the server's name in messages: "broker". Its log is NAME.log in its directory.
        program: the same with its version, in errors: "Kafka 4.2.0".
        port: that of clients; None or 0 chooses a free one.
        data_dir: its directory; None creates a temporary one, which the stop removes.
        start_timeout_s: how long it may take to start.
    """

    def __init__(
        self, name: str, program: str, *, port: int | None, data_dir: str | Path | None, start_timeout_s: float
    ) -> None:
        self._name = name
        self._program = program
        self._wanted_port = port or None
        self._wanted_dir = None if data_dir is None else Path(data_dir).expanduser().resolve()
        self._start_timeout_s = start_timeout_s
        self._ports: dict[str, ReservedPort] = {}
        self._home: Path | None = None
        self._process: ChildProcess | None = None
        self._log_start = 0
        self._owner_pid = os.getpid()

    # ------------------------------------------------------------------ state

    @property
    def running(self) -> bool:
        """Whether its process runs."""
        return self._process is not None and self._process.exit_code is None

    @property
    def pid(self) -> int | None:
        """The process id of Java; None while it is not running."""
        return self._process.pid if self._process is not None and self.running else None

    @property
    def home(self) -> Path:
        """The directory of its data, configuration and log. Raises RuntimeError before the start and after the stop."""
        if self._home is None:
            raise RuntimeError(f"the {self._name} has no directory before start() and after stop()")
        return self._home

    @property
    def port(self) -> int:
        """The port of clients. It does not change with `kill()` and `restart()`. Raises RuntimeError before the start
        and after the stop."""
        return self._port_of(CLIENT)

    def _port_of(self, name: str) -> int:
        if name not in self._ports:
            raise RuntimeError(f"the {self._name} has no address before start() and after stop()")
        return self._ports[name].number

    def log_tail(self, lines: int = 30) -> str:
        """The last lines that it has logged since its last start; empty before the start and after the stop."""
        log = self._read_log_since_launch().decode("utf-8", "replace")
        return "\n".join(log.rstrip().splitlines()[-lines:])

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait for its end. Returns True if it has ended or is not running, False on a timeout."""
        return self._process is None or self._process.has_ended_within(timeout_s)

    @property
    def is_in_forked_child(self) -> bool:
        """Whether this is a forked child's copy: the server belongs to the parent."""
        return self._owner_pid != os.getpid()

    # ------------------------------------------------------------------ start and stop

    def start(self) -> Self:
        """Start it and wait until it accepts clients. Does nothing if it is running."""
        if self.running:
            return self
        self._owner_pid = os.getpid()
        try:
            self._launch()
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self, timeout_s: float = 10.0) -> None:
        """Stop it cleanly, or kill it after the timeout. Removes temporary data. May be called at any time."""
        self._end_process(timeout_s)
        _running.discard(self)
        self._release_ports_and_directory()

    def kill(self) -> None:
        """Kill it, as in a crash. `start()` or `restart()` starts it again with its port and data."""
        if self._process is not None:
            self._process.kill()
            self._process = None

    def restart(self, timeout_s: float = 10.0) -> None:
        """Stop it cleanly and start it again with the same port and data."""
        self._end_process(timeout_s)
        self.start()

    def _end_process(self, timeout_s: float) -> None:
        if self._process is not None:
            self._process.end(timeout_s)
            self._process = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    async def __aenter__(self) -> Self:
        starting = asyncio.ensure_future(asyncio.to_thread(self.start))
        try:
            return await asyncio.shield(starting)
        except asyncio.CancelledError:
            # The thread cannot be cancelled: let it end, then stop the server. Otherwise a server would be running that
            # its caller does not know of.
            with contextlib.suppress(Exception):
                await starting
            await asyncio.to_thread(self.stop)
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self.stop)

    # ------------------------------------------------------------------ steps of a start

    @abstractmethod
    def _launch(self) -> None:
        """Reserve ports and directory, start the process with `_register_process`, and wait until it is ready."""

    def _reserve_ports_and_directory(self, other_ports: Iterable[str], *, directories: Iterable[str] = ()) -> None:
        """Create the directory and reserve the ports, except for those that a killed server still has.

        Args:
            other_ports: names for more ports than that of clients.
            directories: names of directories to be created in its directory.
        """
        for name, number in {CLIENT: self._wanted_port, **dict.fromkeys(other_ports)}.items():
            if name not in self._ports:
                self._ports[name] = ReservedPort(number)
        if self._home is None:
            self._home = self._wanted_dir or Path(tempfile.mkdtemp(prefix=f"evkafka-{self._name}-"))
        try:
            self._home.mkdir(mode=0o700, parents=True, exist_ok=True)  # a broker's has the passwords of users
            for directory in directories:
                (self._home / directory).mkdir(exist_ok=True)
        except OSError as error:
            raise ConfigError(
                f"the {self._name}'s data directory {self._home} cannot be created: {error.strerror}"
            ) from error

    def _release_ports_and_directory(self) -> None:
        """Release the ports, and remove temporary data. May be called twice."""
        for port in self._ports.values():
            port.release()
        self._ports.clear()
        if self._home is not None and self._wanted_dir is None:
            shutil.rmtree(self._home, ignore_errors=True)
        self._home = None

    def _register_process(self, process: ChildProcess) -> None:
        """Keep the process that serves clients. It ends at the exit of this process at the latest."""
        self._process = process
        _running.add(self)

    def _wait_until(self, is_ready: Callable[[], bool], *, deadline_s: float, poll_s: float) -> None:
        """Wait until it is ready.

        Raises:
            BrokerError: it ended, or is not ready at the deadline.
        """
        while not is_ready():
            self._sleep_or_raise_if_process_ended(poll_s)
            if time.monotonic() > deadline_s:
                raise self._start_error(f"was not ready within {self._start_timeout_s:g} s")

    def _sleep_or_raise_if_process_ended(self, poll_s: float) -> None:
        """Sleep for so long. Raises BrokerError if the process ends meanwhile."""
        assert self._process is not None
        if self._process.has_ended_within(poll_s):
            raise self._start_error(f"ended while starting (exit code {self._process.exit_code})")

    def _start_error(self, what: str) -> BrokerError:
        """The error of a start, with the end of the log."""
        return BrokerError(f"{self._program} {what}. The end of its log:\n{self.log_tail() or '(nothing was logged)'}")

    # ------------------------------------------------------------------ its log

    @property
    def _log_file(self) -> Path:
        return self.home / f"{self._name}.log"

    def _note_log_start(self) -> None:
        """What is logged from now on belongs to this start."""
        self._log_start = self._log_file.stat().st_size if self._log_file.exists() else 0

    def _read_log_since_launch(self) -> bytes:
        if self._home is None or not self._log_file.exists():
            return b""
        with self._log_file.open("rb") as log:
            log.seek(self._log_start)
            return log.read()


@atexit.register
def _stop_all_servers() -> None:
    for server in list(_running):
        if not server.is_in_forked_child:
            server.stop(timeout_s=5.0)
