"""The page "Getting started", done as it says, but for the port."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.documents.pages import ROOT, blocks, file
from tests.support.waiting import eventually_sync

PAGE = "docs/getting-started.md"
COMMANDS = {"evkafka": [sys.executable, "-m", "evkafka.cli"], "python": [sys.executable]}

Start = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Runs a command of the page in an empty directory; what it prints goes to `NAME.log`."""
    started: list[subprocess.Popen[bytes]] = []

    def run(command: str, name: str) -> subprocess.Popen[bytes]:
        program, *arguments = command.split()
        with (tmp_path / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(
                [*COMMANDS[program], *arguments],
                cwd=tmp_path,
                env={**os.environ, "PYTHONPATH": str(ROOT / "src"), "PYTHONUNBUFFERED": "1"},
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        started.append(process)
        return process

    yield run
    for process in reversed(started):
        process.terminate()
        process.wait(30)


@pytest.mark.kafka
def test_its_commands_lead_from_nothing_to_a_handled_event(start: Start, tmp_path: Path) -> None:
    commands = [block.code.strip() for block in blocks(PAGE) if block.language == "shell"]
    assert commands[1:] == ["evkafka broker", "evkafka run billing:app", "python send.py"]

    def printed(name: str) -> str:
        return (tmp_path / f"{name}.log").read_text()

    start("evkafka broker --port 0", "broker")
    ready = eventually_sync(lambda: re.search(r"bootstrap_servers = (\S+)", printed("broker")), 60)
    for name in ("billing.py", "send.py"):
        (tmp_path / name).write_text(file(PAGE, name).replace("localhost:9092", ready[1]))
    service = start(commands[2], "service")
    sent = start(commands[3], "send")
    assert sent.wait(30) == 0, printed("send")
    assert printed("send") == "written to orders[0] at offset 0\n"
    eventually_sync(lambda: "order 1: 12.50 (offset 0)\n" in printed("service"), 30)
    service.terminate()
    assert service.wait(30) == 0, printed("service")
