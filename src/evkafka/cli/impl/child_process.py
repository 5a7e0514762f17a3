"""The processes of `evkafka run --workers` and `--reload`, as their supervisor starts and stops them.

Each has a lifeline: a socket to the supervisor. When the supervisor is gone, however it ended, the lifeline breaks, and
the process stops as after a SIGTERM: drained and committed. `lifeline` says what the process reports over it.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys

from evkafka.cli.impl.lifeline import SIGNALS_READY, STOP_LIMIT_S, WEB_PORT, ReportReceiver
from evkafka.cli.impl.line_forwarder import LineForwarder
from evkafka.cli.impl.run_options import RunOptions, WebPort
from evkafka.runtime.supervision.stop_deadline import stop_limit_s

logger = logging.getLogger("evkafka.cli")

KILL_AFTER_S = 3.0
"""How long after its deadline, or a second signal, a process is killed: it is frozen, or cannot run its own guard."""


class ChildProcess:
    """A running process, as its supervisor sees it."""

    def __init__(self, process: asyncio.subprocess.Process, lifeline: ReportReceiver, name: str) -> None:
        self._process = process
        self._lifeline = lifeline
        self._name = name
        self._signals = 0
        self._kill_timer: asyncio.TimerHandle | None = None

    @classmethod
    async def start(cls, options: RunOptions, *, name: str, forwarder: LineForwarder | None = None) -> ChildProcess:
        """Start a process in a session of its own: only the supervisor receives Ctrl-C in a terminal, and passes it on.

        Args:
            name: the process's name in the supervisor's log.
            forwarder: copies what the process prints; None if the process prints to the supervisor's own output.
        """
        ours, theirs = socket.socketpair()
        inherited = [theirs.fileno()]
        output: dict[str, int] = {}
        if forwarder is not None:
            # The process also inherits our own output: it prints there itself once the supervisor is gone.
            inherited += [os.dup(1), os.dup(2)]
            output = {"stdout": forwarder.create_pipe(1), "stderr": forwarder.create_pipe(2)}
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "evkafka.cli.impl.worker_process",
                options.to_json(),
                *map(str, inherited),
                pass_fds=inherited,
                start_new_session=True,
                stdout=output.get("stdout"),
                stderr=output.get("stderr"),
            )
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
            for descriptor in (*inherited[1:], *output.values()):
                os.close(descriptor)
        return cls(process, ReportReceiver(ours), name)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def is_running(self) -> bool:
        return self._process.returncode is None

    @property
    def web_port(self) -> WebPort | None:
        """The port that `evkafka dev` has chosen; None as long as the process has not reported one."""
        port = self._lifeline.receive_newest_reports().get(WEB_PORT)
        return None if port is None else WebPort(*port)

    def terminate(self) -> None:
        """Send SIGTERM: the first one stops the app, the second one ends the process at once.

        The process is killed if it has not ended in time after that.
        """
        if not self.is_running:
            return
        try:
            self._process.terminate()
        except ProcessLookupError:
            return
        self._signals += 1
        within_s = (self._stop_limit_s() if self._signals == 1 else 0.0) + KILL_AFTER_S
        if self._kill_timer is not None:
            self._kill_timer.cancel()
        self._kill_timer = asyncio.get_running_loop().call_later(within_s, self._kill_after_timeout, within_s)

    async def wait(self) -> int:
        """Wait for its end. Returns its exit code, or 128+n if signal n has killed it.

        A process that SIGTERM killed before its own signal handlers were installed counts as stopped: 0.
        """
        try:
            code = await self._process.wait()
            if (
                code == -signal.SIGTERM
                and self._signals
                and SIGNALS_READY not in self._lifeline.receive_newest_reports()
            ):
                return 0
            return code if code >= 0 else 128 - code
        finally:
            if self._kill_timer is not None:
                self._kill_timer.cancel()
            self._lifeline.close()

    def _kill_after_timeout(self, waited_s: float) -> None:
        if self.is_running:
            logger.error("%s did not exit within %g s after its signal: killing it", self._name, waited_s)
            self._process.kill()

    def _stop_limit_s(self) -> float:
        """The limit that the process has reported; until then, the limit of the default settings."""
        limit_s: float | None = self._lifeline.receive_newest_reports().get(STOP_LIMIT_S)
        return stop_limit_s([]) if limit_s is None else limit_s
