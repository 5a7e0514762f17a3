from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.programs import Program, Start


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Run a command in an empty directory: `start("python send.py", "send")`."""
    started: list[Program] = []

    def run(command: str, name: str) -> Program:
        started.append(Program(command, tmp_path, name))
        return started[-1]

    yield run
    for program in reversed(started):
        program.end()
