"""The tutorial, typed as it is written: it installs, creates, runs, breaks, fixes, replays and tests a service."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.cli.support import evkafka
from tests.support.doc_pages import ROOT, Block
from tests.support.doc_shell import SERVERS, Server, Shell, clean_environment, steps

PAGE = "docs/tutorial.md"
CHECKOUT = "/path/to/the/checkout"
ENDPOINT = re.compile(r"@handler\.event.*?(?=\n\n\n)", re.DOTALL)
IMPORT = re.compile(r"^from evkafka import EVKafkaApp.*$", re.MULTILINE)


def edit(service: Path, block: Block) -> None:
    """Do with a block of code what the page says."""
    main = service / "src" / "order_mailer" / "main.py"
    match block.title:
        case "a rule" | "as it was meant":
            main.write_text(ENDPOINT.sub(lambda _: block.code.strip(), main.read_text()))
        case "the import":
            main.write_text(IMPORT.sub(block.code.strip(), main.read_text()))
        case str(name):
            (service / name).write_text(block.code)
        case None:
            raise AssertionError(f"what is done with this code? {block.code}")


@contextmanager
def port_taken(number: int) -> Iterator[None]:
    """Something of ours, or of another process, listens on the port."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", number))
            listener.listen()
        except OSError:
            pass  # then somebody else has it, which is the same
        yield


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    """A terminal in an empty directory; `python3` has nothing of this environment."""
    (tmp_path / "start").mkdir()
    python = Path(sys.base_prefix) / "bin"
    shell = Shell(tmp_path / "start", clean_environment(PATH=f"{python}{os.pathsep}/usr/bin:/bin"), tmp_path)
    yield shell
    shell.end()


@pytest.mark.long
@pytest.mark.kafka
@pytest.mark.timeout(900)
def test_typed_into_an_empty_directory_it_works_while_port_9092_is_taken(shell: Shell) -> None:
    dev: Server | None = None
    starts = 0
    with port_taken(9092):
        for step in steps(PAGE):
            if isinstance(step, Block):
                edit(shell.directory, step)
            elif step.line.startswith(SERVERS):
                dev = shell.start(step)
            else:
                shell.do(step.with_text(CHECKOUT, str(ROOT)))
                continue
            starts += 1
            assert dev is not None
            dev.until("was assigned", times=starts)
    assert dev is not None
    assert dev.interrupt() == 0, dev.printed


def test_its_code_makes_the_scaffold_pass_the_test_that_it_shows(tmp_path: Path) -> None:
    assert evkafka(tmp_path, "new", "order-mailer").returncode == 0
    service = tmp_path / "order-mailer"
    for step in steps(PAGE):
        if isinstance(step, Block):
            edit(service, step)
    path = os.pathsep.join(["src", str(ROOT / "src")])
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=service,
        env=clean_environment(PYTHONPATH=path),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert "4 passed" in ended.stdout, ended.stdout + ended.stderr
