"""A terminal with a shell in it: tmux, whose screen the tests read."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from tests.cli.support import ROOT, environment
from tests.support.waiting import eventually_sync

HERE = shutil.which("tmux") is not None
PROMPT = "me$ "


class Terminal:
    """Use it as a context manager: the shell and what runs in it end with it."""

    def __init__(self, directory: Path, *, columns: int = 100, lines: int = 40, **env: str) -> None:
        self._directory = directory
        self._size = (columns, lines)
        self._env = env
        self._commands = 0
        self._server = f"evkafka-{uuid.uuid4().hex[:12]}"

    def __enter__(self) -> Self:
        columns, lines = self._size
        size = ("-x", str(columns), "-y", str(lines))
        begun = self._directory / "begun.sh"
        begun.write_text(f"PS1='{PROMPT}'\n")  # a shell that is not at a terminal forgets the one it is given
        shell = shlex.join(["bash", "--noprofile", "--rcfile", str(begun)])
        self._tmux("new-session", "-d", *size, "-c", str(self._directory), shell, env=self._shell())
        self.until(PROMPT)
        return self

    def __exit__(self, *_: object) -> None:
        self._tmux("kill-server")

    def _shell(self) -> dict[str, str]:
        """What a person has set, and nothing of a test's."""
        kept = environment()
        for name in ("NO_COLOR", "COLUMNS", "TERM", "PYTHONIOENCODING", "TMUX"):
            kept.pop(name, None)
        path = f"{Path(sys.executable).parent}:{kept['PATH']}"
        mine = {"PATH": path, "PYTHONPATH": str(ROOT / "src"), "LANG": "C.UTF-8", "TERM": "screen"}
        return kept | mine | {"SHELL": "/bin/bash", "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"} | self._env

    def _tmux(self, *arguments: str, env: Mapping[str, str] | None = None) -> str:
        command = ["tmux", "-L", self._server, "-f", "/dev/null", *arguments]
        return subprocess.run(command, env=env, check=True, capture_output=True, text=True, timeout=240).stdout

    # ------------------------------------------------------------------------ what a person does

    def type(self, line: str) -> None:
        """Write it, and press Enter."""
        self._tmux("send-keys", "-l", line)
        self.press("Enter")

    def write(self, text: str) -> None:
        """Write it, without Enter."""
        self._tmux("send-keys", "-l", text)

    def press(self, key: str) -> None:
        """`C-c`, `Tab`, `Enter`."""
        self._tmux("send-keys", key)

    def run(self, *words: str) -> tuple[int, str]:
        """A command to its end: its exit code, and what it left on the cleared screen."""
        self.type_and_report("clear; " + shlex.join(words))
        return self.ended(), self.screen

    def type_and_report(self, line: str) -> None:
        """Type a command whose end `ended` waits for."""
        self._commands += 1
        self.type(f'{line}; echo "{self._end}$?>"')

    @property
    def _end(self) -> str:
        # With a number, because the end of an earlier command may still be on the screen.
        return f"command {self._commands} ended with <"

    def ended(self) -> int:
        """Wait for the end of the command; returns its exit code."""
        self.until(self._end, unless=f'"{self._end}')
        return int(self.screen.rpartition(self._end)[2].partition(">")[0])

    # ------------------------------------------------------------------------ what a person sees

    @property
    def screen(self) -> str:
        return self._tmux("capture-pane", "-p", "-J")

    @property
    def coloured(self) -> str:
        """The screen with its escape sequences."""
        return self._tmux("capture-pane", "-p", "-e")

    def until(self, text: str, *, unless: str = "", timeout_s: float = 60) -> None:
        """Wait until this stands there; `unless` is what looks the same, and is not meant."""

        def there() -> bool:
            shown = self.screen
            return text in (shown.replace(unless, "") if unless else shown)

        try:
            eventually_sync(there, timeout_s, what=repr(text))
        except AssertionError as error:
            raise AssertionError(f"{error}; the screen:\n{self.screen}") from None
