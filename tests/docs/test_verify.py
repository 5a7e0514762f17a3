"""The page "Chaos testing": its commands, with a shorter duration, on its app."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.doc_pages import ROOT, blocks, file

PAGE = "docs/verify.md"
SHORTER = ["--seconds", "6", "--kill-every", "2", "--fault-every", "0", "--processes", "2", "--max-duplicates", "100"]

COMMANDS = [
    line
    for block in blocks(PAGE)
    if block.language == "bash"
    for line in block.code.splitlines()
    if line.startswith("evkafka ")
]


@pytest.mark.long
@pytest.mark.parametrize("command", COMMANDS)
def test_its_commands_report_no_violation(tmp_path: Path, command: str) -> None:
    (tmp_path / "orders.py").write_text(file(PAGE, "orders.py"))
    arguments = shlex.split(command.replace(" --minutes 5", ""))[1:]

    ended = subprocess.run(
        [sys.executable, "-m", "evkafka.cli", *arguments, *SHORTER],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src"), "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        timeout=110,
    )

    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "nothing was lost, nothing was out of order, everything is committed" in ended.stdout


def test_it_has_a_command_for_the_built_in_app_and_one_for_a_users_app() -> None:
    assert len(COMMANDS) == 2
