"""A child process that ends with its parent: `parent_death.py` binds it to a thread of the parent."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from evkafka.exceptions import BrokerError


class ChildProcess:
    """A child process in a session of its own, so that a terminal's Ctrl-C does not reach it. Its output is appended to
    a file.

    Linux kills the child when the *thread* that started it ends, and not only with the process. Therefore a thread of
    its own starts the child and waits for it; the thread ends with the child or with this process.
    """

    def __init__(self, command: Sequence[str], log: Path) -> None:
        self._command = [*_parent_death_command_prefix(), *command]
        self._log = log
        self._started = threading.Event()
        self._ended = threading.Event()
        self._child: subprocess.Popen[bytes] | None = None
        self._start_error: OSError | None = None
        threading.Thread(target=self._start_and_wait_for_end, name="evkafka-broker", daemon=True).start()
        self._started.wait()
        if self._start_error is not None:
            raise BrokerError(f"{command[0]} cannot be run: {self._start_error}") from self._start_error

    @property
    def pid(self) -> int:
        assert self._child is not None
        return self._child.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs; negative if a signal ended it."""
        return self._child.returncode if self._child is not None and self._ended.is_set() else None

    def has_ended_within(self, timeout_s: float | None) -> bool:
        """Wait for its end. False if it still runs after the timeout; without one it waits for the end."""
        return self._ended.wait(timeout_s)

    def end(self, timeout_s: float) -> None:
        """Terminate it, or kill it after the timeout."""
        assert self._child is not None
        self._child.terminate()
        if not self.has_ended_within(timeout_s):
            self.kill()

    def kill(self) -> None:
        assert self._child is not None
        self._child.kill()
        self._ended.wait()

    def _start_and_wait_for_end(self) -> None:
        try:
            # Kafka may log a password in an invalid argument: only the user may read the file.
            with open(self._log, "ab", opener=lambda path, flags: os.open(path, flags, 0o600)) as log:
                self._child = subprocess.Popen(  # noqa: S603  # nosec B603 # our own command
                    self._command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
                )
        except OSError as error:
            self._start_error = error
            self._ended.set()
            self._started.set()
            return
        self._started.set()
        self._child.wait()
        self._ended.set()


def _parent_death_command_prefix() -> list[str]:
    if sys.platform != "linux" or not sys.executable:
        return []
    return [sys.executable, "-I", "-S", str(Path(__file__).with_name("parent_death.py")), str(os.getpid())]
