"""The page "Getting started", typed as it is written, but for the port: another program may have 9092."""

from __future__ import annotations

import os
import shlex
import socket
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.support.doc_pages import ROOT, Block, blocks
from tests.support.doc_shell import SERVERS, Server, Shell, clean_environment, steps
from tests.support.waiting import eventually_sync

PAGE = "docs/getting-started.md"
CHECKOUT = "/path/to/the/checkout"
INSTALLING = ("python3 -m venv", "source ", "pip install")


@pytest.fixture
def port() -> Iterator[int]:
    """A port for the broker. It stays bound, so that nobody else gets it, and nothing listens on it."""
    with socket.socket() as reserved:
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        reserved.bind(("127.0.0.1", 0))
        yield reserved.getsockname()[1]


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "start").mkdir()
    return tmp_path / "start"


def type_page(shell: Shell, port: int, *, install: bool) -> None:
    """Type the page's commands, with its own advice for a port that is taken; then stop all servers."""
    servers: list[Server] = []
    for step in steps(PAGE):
        if isinstance(step, Block):
            assert step.title is not None
            (shell.directory / step.title).write_text(step.code.replace("9092", str(port)))
        elif step.line == "evkafka broker":
            servers.append(shell.start(step.with_text(step.line, f"{step.line} --port {port}")))
        elif step.line.startswith(SERVERS):
            servers.append(shell.start(step))
        elif install or not step.line.startswith(INSTALLING):
            shell.do(step.with_text(CHECKOUT, str(ROOT)))
    broker, service = servers
    [shown] = [block.code for block in blocks(PAGE) if block.title == "the terminal of the service"]
    eventually_sync(lambda: shown in service.printed, what="the order")
    assert service.interrupt() == 0, service.printed
    assert broker.interrupt() == 0, broker.printed


def run_page(directory: Path, environment: Mapping[str, str], port: int, *, install: bool) -> None:
    shell = Shell(directory, environment, directory.parent)
    try:
        type_page(shell, port, install=install)
    finally:
        shell.end()


@pytest.mark.kafka
def test_its_commands_end_with_a_handled_event(directory: Path, port: int) -> None:
    """In this environment, which has EVKafka; `evkafka` is the command of this interpreter."""
    (directory.parent / "bin").mkdir()
    command = directory.parent / "bin" / "evkafka"
    command.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m evkafka.cli "$@"\n')
    command.chmod(0o755)
    path = os.pathsep.join([str(command.parent), str(Path(sys.executable).parent), os.environ["PATH"]])
    run_page(directory, clean_environment(PATH=path, PYTHONPATH=str(ROOT / "src")), port, install=False)


@pytest.mark.long
@pytest.mark.kafka
@pytest.mark.timeout(600)
def test_typed_into_an_empty_directory_it_works(directory: Path, port: int) -> None:
    python = Path(sys.base_prefix) / "bin"
    run_page(directory, clean_environment(PATH=f"{python}{os.pathsep}/usr/bin:/bin"), port, install=True)
