"""The page "Command line": its commands, in order, on a real Kafka."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from evkafka.broker import KafkaBroker
from tests.support.doc_pages import ROOT, blocks, file

PAGE = "docs/command-line.md"
ENDS = re.compile(r"# ends with (\d)")


def test_its_commands_print_and_exit_as_the_page_says(tmp_path: Path) -> None:
    commands = [line for block in blocks(PAGE) if block.language == "shell" for line in block.code.splitlines()]
    assert len(commands) > 15
    with KafkaBroker(properties={"auto.create.topics.enable": False}) as broker:
        address = broker.bootstrap_servers
        (tmp_path / "shop.py").write_text(file(PAGE, "shop.py").replace("localhost:9092", address))
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("EVKAFKA_")}
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        environment = {**inherited, "PATH": path, "PYTHONPATH": str(ROOT / "src"), "COLUMNS": "160", "NO_COLOR": "1"}
        printed: dict[str, str] = {}
        for command in commands:
            completed = subprocess.run(
                ["bash", "-c", command.replace("localhost:9092", address)],
                cwd=tmp_path,
                env=environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=240,
            )
            expected = int(found[1]) if (found := ENDS.search(command)) else 0
            assert completed.returncode == expected, (command, completed.stdout, completed.stderr)
            assert "Traceback" not in completed.stderr
            printed[command] = completed.stdout.replace(address, "localhost:9092")
    shown = next(block.code for block in blocks(PAGE) if block.language == "text")
    assert printed["evkafka check shop:app"].split() == shown.split()
    [real] = [text for command, text in printed.items() if command.endswith("--rate 50")]
    assert "order 1: 12.50" in real
    assert "3 records: 3 done" in real
