"""Programs of the pages, each in its own process."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from tests.support.doc_pages import ROOT

COMMANDS = {
    "evkafka": [sys.executable, "-m", "evkafka.cli"],
    "python": [sys.executable],
    "faststream": [sys.executable, "-m", "faststream"],
}


class Program:
    """`evkafka ...` or `python ...` in a directory; its output is written to a file there.

    Args:
        name: the name of the output file.
    """

    def __init__(self, command: str, directory: Path, name: str) -> None:
        program, *arguments = shlex.split(command)
        self._log = directory / f"{name}.log"
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [*COMMANDS[program], *arguments],
                cwd=directory,
                env={**os.environ, "PYTHONPATH": str(ROOT / "src"), "PYTHONUNBUFFERED": "1"},
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    @property
    def printed(self) -> str:
        return self._log.read_text()

    def terminate(self) -> int:
        """Send SIGTERM; return the exit code."""
        self.process.terminate()
        return self.process.wait(60)

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(60)


Start = Callable[[str, str], Program]
