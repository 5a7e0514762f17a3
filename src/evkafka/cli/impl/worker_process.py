"""One process of `evkafka run`. Its supervisor starts it as
`python -m evkafka.cli.impl.worker_process OPTIONS LIFELINE [OUT ERR]`.

The lifeline is a socket to the supervisor. When it breaks, the supervisor is gone, however it went, and the process
stops as after a SIGTERM: drained and committed, not left behind. Over it the process says that it takes signals, and
later how long a stop of its app may take.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import socket
import sys
import threading
import time
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from evkafka.runtime.supervision.stop_deadline import stop_limit_s
from evkafka.service.standard_streams import open_standard_streams
from evkafka_command import stop_quietly_until_started

if TYPE_CHECKING:
    from evkafka.cli.impl.line_forwarder import LineForwarder
    from evkafka.cli.impl.run import RunOptions

logger = logging.getLogger("evkafka.cli")

KILL_AFTER_S = 3.0
"""How long after its deadline, or a second signal, a process is killed: it is frozen, or cannot run its own guard."""

HELLO = b"signals\n"


class Child:
    """One such process, held by its supervisor."""

    def __init__(self, process: asyncio.subprocess.Process, line: socket.socket, name: str) -> None:
        self._process = process
        self._line = line
        self._name = name
        self._heard = b""
        self._signals = 0
        self._killing: asyncio.TimerHandle | None = None

    @classmethod
    async def start(cls, options: RunOptions, *, name: str, forwarder: LineForwarder | None = None) -> Child:
        """Start it, in a process group of its own: Ctrl-C in a terminal must reach it once, from the supervisor.

        Args:
            name: what the supervisor's log calls it.
            forwarder: passes on what it prints; None: it prints where we do.
        """
        told = json.dumps({**asdict(options), "app_dir": str(options.app_dir)})
        ours, theirs = socket.socketpair()
        given = [theirs.fileno()]
        output: dict[str, int] = {}  # of ours, what it prints into
        if forwarder is not None:
            # Where we print is given along: when we are gone, it prints there itself.
            given += [os.dup(1), os.dup(2)]
            output = {"stdout": forwarder.pipe(1), "stderr": forwarder.pipe(2)}
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "evkafka.cli.impl.worker_process",
                told,
                *map(str, given),
                pass_fds=given,
                start_new_session=True,
                stdout=output.get("stdout"),
                stderr=output.get("stderr"),
            )
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
            for descriptor in (*given[1:], *output.values()):
                os.close(descriptor)
        ours.setblocking(False)
        return cls(process, ours, name)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def runs(self) -> bool:
        return self._process.returncode is None

    def terminate(self) -> None:
        """SIGTERM: the first one stops it, the second one ends it where it stands. What has not ended in its time after
        that is killed. A process that is gone is none of it."""
        if not self.runs:
            return
        try:
            self._process.terminate()
        except ProcessLookupError:
            return
        self._signals += 1
        within_s = (self._stop_limit_s() if self._signals == 1 else 0.0) + KILL_AFTER_S
        if self._killing is not None:
            self._killing.cancel()
        self._killing = asyncio.get_running_loop().call_later(within_s, self._kill, within_s)

    async def wait(self) -> int:
        """Its exit code; 128+n where signal n has killed it, but 0 where it was told to stop before it took signals."""
        try:
            code = await self._process.wait()
            if code == -signal.SIGTERM and self._signals and HELLO not in self._listen():
                return 0
            return code if code >= 0 else 128 - code
        finally:
            if self._killing is not None:
                self._killing.cancel()
            self._line.close()

    def _kill(self, waited_s: float) -> None:
        if self.runs:
            logger.error("%s has not ended within %g s after its signal: killing it", self._name, waited_s)
            self._process.kill()

    def _stop_limit_s(self) -> float:
        """What it has said; until then, as with the defaults."""
        told = self._listen().removeprefix(HELLO).split(b"\n")
        return float(told[0]) if len(told) > 1 else stop_limit_s([])

    def _listen(self) -> bytes:
        while True:
            try:
                said = self._line.recv(4096)
            except (BlockingIOError, ConnectionError):
                return self._heard
            if not said:
                return self._heard
            self._heard += said


def read_options(text: str) -> RunOptions:
    from evkafka.cli.impl.run import RunOptions

    told: dict[str, Any] = json.loads(text)
    told["app_dir"] = Path(told["app_dir"])
    told["only"], told["exclude"] = tuple(told["only"]), tuple(told["exclude"])
    return RunOptions(**told)


# ---------------------------------------------------------------------------- in the process itself


class _Lifeline:
    """The process's own end of the line."""

    def __init__(self, descriptor: int, output: list[int]) -> None:
        self._line = socket.socket(fileno=descriptor)
        self._output = output
        self._limit_s = stop_limit_s([])

    def say_hello(self) -> None:
        self._say(HELLO)
        threading.Thread(target=self._hold, daemon=True, name="evkafka-lifeline").start()

    def tell_limit(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self._say(f"{limit_s}\n".encode())

    def _say(self, what: bytes) -> None:
        try:
            self._line.sendall(what)
        except ConnectionError:
            return  # the supervisor is gone, which `_hold` learns of

    def _hold(self) -> None:
        """Blocks until the supervisor is gone. Then stops the process, and ends it where nothing else could."""
        with suppress(ConnectionError):
            self._line.recv(1)
        for own, given in zip((1, 2), self._output, strict=False):
            os.dup2(given, own)
        main = threading.main_thread().ident
        assert main is not None
        signal.pthread_kill(main, signal.SIGTERM)
        time.sleep(self._limit_s + KILL_AFTER_S)
        os._exit(128 + signal.SIGTERM)


def _whole_lines(descriptor: int) -> TextIO:
    """A stream whose lines are written at once.

    Without a buffer (PYTHONUNBUFFERED) Python loses the rest of a line if a signal comes during a write to a full pipe.
    """
    return open(descriptor, "w", buffering=1, errors="backslashreplace", closefd=False)


def main() -> None:
    open_standard_streams()
    stop_quietly_until_started()
    lifeline = _Lifeline(int(sys.argv[2]), [*map(int, sys.argv[3:])])
    lifeline.say_hello()
    if sys.argv[3:]:
        sys.stdout, sys.stderr = _whole_lines(1), _whole_lines(2)
    from evkafka.cli.exit_codes import said_in_one_sentence
    from evkafka.cli.impl.run import run_app

    options = read_options(sys.argv[1])
    sys.exit(said_in_one_sentence(lambda: run_app(options, tell_limit=lifeline.tell_limit)))


if __name__ == "__main__":
    main()
