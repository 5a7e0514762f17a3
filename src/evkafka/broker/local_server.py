"""`LocalServer`: what the local Kafka and the local schema registry have in common. One Java process, and its log."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import os
import weakref
from abc import ABC, abstractmethod
from pathlib import Path
from types import TracebackType
from typing import Self

from evkafka.broker.process import ChildProcess

_running: weakref.WeakSet[LocalServer] = weakref.WeakSet()


class LocalServer(ABC):
    """A server in a process of its own, which ends with the process that started it.

    Args:
        name: the server's name in messages: "broker".
        log_name: the file of its log in its directory.
    """

    def __init__(self, name: str, log_name: str) -> None:
        self._name = name
        self._log_name = log_name
        self._home: Path | None = None
        self._process: ChildProcess | None = None
        self._log_start = 0
        self._owner_pid = os.getpid()

    # ------------------------------------------------------------------ state

    @property
    def running(self) -> bool:
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

    def log_tail(self, lines: int = 30) -> str:
        """The last lines that it has logged since its last start; empty before the start and after the stop."""
        log = self._log_since_launch().decode("utf-8", "replace")
        return "\n".join(log.rstrip().splitlines()[-lines:])

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait for its end. Returns True if it has ended or is not running, False on a timeout."""
        return self._process is None or self._process.wait(timeout_s)

    @property
    def in_child(self) -> bool:
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
        self._end(timeout_s)
        _running.discard(self)
        self._release()

    def kill(self) -> None:
        """Kill it, as in a crash. `start()` or `restart()` starts it again with its port and data."""
        if self._process is not None:
            self._process.kill()
            self._process = None

    def restart(self, timeout_s: float = 10.0) -> None:
        """Stop it cleanly and start it again with the same port and data."""
        self._end(timeout_s)
        self.start()

    def _end(self, timeout_s: float) -> None:
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

    # ------------------------------------------------------------------ its parts

    @abstractmethod
    def _launch(self) -> None:
        """Create the directory, start the process with `_serve`, and wait until it is ready."""

    @abstractmethod
    def _release(self) -> None:
        """Release ports, and remove temporary data. May be called twice."""

    def _serve(self, process: ChildProcess) -> None:
        """Keep the process that serves clients. It ends at the exit of this process at the latest."""
        self._process = process
        _running.add(self)

    # ------------------------------------------------------------------ its log

    @property
    def _log(self) -> Path:
        return self.home / self._log_name

    def _begin_log(self) -> None:
        """What is logged from now on belongs to this start."""
        self._log_start = self._log.stat().st_size if self._log.exists() else 0

    def _log_since_launch(self) -> bytes:
        if self._home is None or not self._log.exists():
            return b""
        with self._log.open("rb") as log:
            log.seek(self._log_start)
            return log.read()


@atexit.register
def _stop_all() -> None:
    for server in list(_running):
        if not server.in_child:
            server.stop(timeout_s=5.0)
