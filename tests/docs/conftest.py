from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.programs import Program, Start
from tests.support.doc_pages import ROOT
from tests.support.doc_shell import Shell, clean_environment


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


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    """A shell in an empty directory, whose `evkafka` is that of this checkout."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    (tmp_path / "shell").mkdir()
    shell = Shell(tmp_path / "shell", clean_environment(PATH=path, PYTHONPATH=str(ROOT / "src")), tmp_path)
    yield shell
    shell.end()
