"""A child process that cannot outlive us: `parent_death.py` ties it to the thread made here."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from evkafka.exceptions import BrokerError


class ChildProcess:
    """A child with its own process group (a terminal's Ctrl-C is ours to handle), its output added to a file.

    Linux kills the child when the *thread* that started it ends, not the process. So the child is started and
    waited for by a thread of its own, which ends with it, or with us.
    """

    def __init__(self, command: Sequence[str], log: Path) -> None:
        self._command = [*_parent_death_watch(), *command]
        self._log = log
        self._started = threading.Event()
        self._ended = threading.Event()
        self._child: subprocess.Popen[bytes] | None = None
        self._refusal: OSError | None = None
        threading.Thread(target=self._live, name="evkafka-broker", daemon=True).start()
        self._started.wait()
        if self._refusal is not None:
            raise BrokerError(f"{command[0]} cannot be run: {self._refusal}") from self._refusal

    @property
    def pid(self) -> int:
        assert self._child is not None
        return self._child.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs; negative for a signal."""
        return self._child.returncode if self._child is not None and self._ended.is_set() else None

    def wait(self, timeout_s: float | None = None) -> bool:
        return self._ended.wait(timeout_s)

    def end(self, timeout_s: float) -> None:
        """Ask it to end; by force when the time runs out."""
        assert self._child is not None
        self._child.terminate()
        if not self.wait(timeout_s):
            self.kill()

    def kill(self) -> None:
        assert self._child is not None
        self._child.kill()
        self.wait()

    def _live(self) -> None:
        try:
            # What Kafka says of an argument it does not take may hold a password.
            with open(self._log, "ab", opener=lambda path, flags: os.open(path, flags, 0o600)) as log:
                self._child = subprocess.Popen(  # noqa: S603  # nosec B603 # our own command
                    self._command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
                )
        except OSError as error:
            self._refusal = error
            self._ended.set()
            self._started.set()
            return
        self._started.set()
        self._child.wait()
        self._ended.set()


def _parent_death_watch() -> list[str]:
    if sys.platform != "linux" or not sys.executable:
        return []
    return [sys.executable, "-I", "-S", str(Path(__file__).with_name("parent_death.py")), str(os.getpid())]
