"""The commands of a page, typed into a shell as the page shows them, and their output compared with the page."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import signal
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from tests.support.doc_pages import Block, blocks
from tests.support.waiting import eventually_sync

EXIT_CODE = re.compile(r"\s+# exits with code (\d+)$")
SERVERS = ("evkafka broker", "evkafka dev", "evkafka run")
"""Commands that stay in a terminal of their own."""

READERS = ("evkafka tail", "evkafka dlq list", "evkafka dlq show", "evkafka lag")
"""Commands that may be repeated."""

VOLATILE = [
    (re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d+)?(?:Z|\+00:00)?"), "TIME"),
    (re.compile(r"\b\d\d:\d\d:\d\d\b"), "TIME"),
    (re.compile(r"(?:localhost|127\.0\.0\.1):\d{4,5}"), "ADDRESS"),
    (re.compile(r"\bin \d+\.\d+ ?s\b"), "in SECONDS"),
    (re.compile(r"\b\d+\.\d+\.\d[\w.]*"), "VERSION"),
    (re.compile(r"(?<=Token )\s*\S+"), "TOKEN"),
    (re.compile(r"─+"), "-"),
]
REDIRECTED = re.compile(r"^evkafka: using the broker of `evkafka dev`: .*\n", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Command:
    """A line of a shell block.

    Attributes:
        output: what the page shows below the block; None if it shows nothing, or has a block of several commands.
    """

    line: str
    output: str | None = None

    def with_text(self, placeholder: str, text: str) -> Command:
        return replace(self, line=self.line.replace(placeholder, text))

    @property
    def exit_code(self) -> int:
        return int(found[1]) if (found := EXIT_CODE.search(self.line)) else 0


def steps(page: str) -> Iterator[Command | Block]:
    """The commands of a page and its other code, in order. A `text` block without a title is the output of the shell
    block before it."""
    waiting: list[str] = []
    for block in blocks(page):
        if waiting:
            output = block.code if block.language == "text" and block.title is None else None
            yield from (Command(line) for line in waiting[:-1])
            yield Command(waiting[-1], output)
            waiting = []
        if block.language == "shell":
            waiting = block.code.splitlines()
        elif block.language != "text":
            yield block
    yield from (Command(line) for line in waiting)


def mismatch(expected: str, printed: str) -> str | None:
    """The first line of the page that was not printed; None if all were, in any order.

    `...` in a line stands for anything. Times, versions, ports and the width of columns do not count, and neither does
    the order: partitions are read in any order.
    """
    left = [_normalized(line) for line in REDIRECTED.sub("", printed).splitlines()]
    for line in expected.splitlines():
        pattern = re.compile(".*".join(map(re.escape, _normalized(line).split("..."))))
        found = next((one for one in left if pattern.fullmatch(one)), None)
        if found is None:
            return line
        left.remove(found)
    return None


def _normalized(line: str) -> str:
    for pattern, word in VOLATILE:
        line = pattern.sub(word, line)
    return " ".join(line.split())


class Server:
    """A command in a terminal of its own; its output goes to a file."""

    def __init__(self, line: str, directory: Path, environment: Mapping[str, str], log: Path) -> None:
        self._line = line
        self._log = log
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                shlex.split(line), cwd=directory, env=environment, stdout=output, stderr=subprocess.STDOUT
            )

    @property
    def printed(self) -> str:
        return self._log.read_text()

    def until(self, text: str, *, times: int = 1) -> None:
        """Wait until it has printed this so often."""

        def printed() -> bool:
            assert self.process.poll() is None, f"{self._line} ended:\n{self.printed}"
            return self.printed.count(text) >= times

        eventually_sync(printed, 120, what=f"{text!r} of {self._line}")

    def interrupt(self) -> int:
        """Press Ctrl+C; return the exit code."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(60)

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(60)


class Shell:
    """One terminal: the directory and the variables that a command sets hold for the next."""

    def __init__(self, directory: Path, environment: Mapping[str, str], scratch: Path) -> None:
        self.directory = directory
        self.environment = dict(environment)
        self._scratch = scratch
        self._servers: list[Server] = []

    def do(self, command: Command) -> str:
        """Run it to its end, and compare exit code and output with the page; return what it printed.

        A command that only reads is repeated until the output is as the page shows it: a reader would wait, too.
        """
        printed = [""]

        def fits() -> bool:
            printed.append(self._run(command))
            return mismatch(command.output or "", printed[-1]) is None

        if not fits() and command.line.startswith(READERS):
            with contextlib.suppress(AssertionError):
                eventually_sync(fits, 60)
        fault = mismatch(command.output or "", printed[-1])
        assert fault is None, f"{command.line}\ndid not print: {fault}\nbut:\n{printed[-1]}"
        return printed[-1]

    def start(self, command: Command) -> Server:
        """Start it in a terminal of its own, and wait until it has printed what the page shows."""
        log = self._scratch / f"server-{len(self._servers)}.log"
        server = Server(command.line, self.directory, self.environment, log)
        self._servers.append(server)

        def ready() -> bool:
            assert server.process.poll() is None, f"{command.line} ended:\n{server.printed}"
            return mismatch(command.output or "", server.printed) is None

        try:
            eventually_sync(ready, 120, what=f"the output of {command.line}")
        except AssertionError as error:
            line = mismatch(command.output or "", server.printed)
            raise AssertionError(f"{error}: without {line!r} in\n{server.printed}") from None
        return server

    def end(self) -> None:
        for server in reversed(self._servers):
            server.end()

    def _run(self, command: Command) -> str:
        state = self._scratch / "state"
        script = f'eval "$1"\ncode=$?\n{{ pwd; env -0; }} > {shlex.quote(str(state))}\nexit $code\n'
        ended = subprocess.run(
            ["bash", "-c", script, "bash", command.line],
            cwd=self.directory,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=400,
        )
        assert ended.returncode == command.exit_code, (command.line, ended.returncode, ended.stdout)
        assert "dlq show" in command.line or "Traceback" not in ended.stdout, (command.line, ended.stdout)
        directory, _, variables = state.read_text().partition("\n")
        self.directory = Path(directory)
        self.environment = dict(one.split("=", 1) for one in variables.split("\0") if "=" in one)
        return ended.stdout


def clean_environment(**more: str) -> dict[str, str]:
    """The variables of somebody who has never used EVKafka, in a wide terminal without colours."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("EVKAFKA_", "PYTHON", "PROMETHEUS_", "PYTEST_")) and name not in ("PORT", "VIRTUAL_ENV")
    }
    return kept | {"LANG": "C.UTF-8", "COLUMNS": "120", "NO_COLOR": "1", "PYTHONUNBUFFERED": "1"} | more
