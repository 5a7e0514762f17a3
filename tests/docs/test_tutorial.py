"""The tutorial: its commands create, run, break, fix, replay and test a service."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.support import ROOT, Start, environment, running
from tests.support.doc_pages import blocks, file
from tests.support.waiting import eventually_sync

__all__ = ["running"]

PAGE = "docs/tutorial.md"
DEV = "evkafka dev order_mailer.main:app"
ENDPOINT = re.compile(r"@handler\.event.*?(?=\n\n\n)", re.DOTALL)


class Shell:
    """A shell in the service's directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        self.variables = {"PATH": path, "PYTHONPATH": f"src{os.pathsep}{ROOT / 'src'}", "EVKAFKA_BROKER_PORT": "0"}

    def do(self, line: str) -> str:
        expected = int(line.rpartition("# ends with ")[2]) if "# ends with" in line else 0
        completed = subprocess.run(
            ["bash", "-c", line],
            cwd=self.directory,
            env=environment(**self.variables),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=240,
        )
        assert completed.returncode == expected, (line, completed.stdout, completed.stderr)
        assert "Traceback" not in completed.stderr
        return completed.stdout

    def endpoint(self, title: str) -> None:
        """Write the page's endpoint into main.py."""
        main = self.directory / "src" / "order_mailer" / "main.py"
        text = ENDPOINT.sub(lambda _: file(PAGE, title).strip(), main.read_text())
        if "DeadLetter" in text:
            text = text.replace("from evkafka import EVKafkaApp", "from evkafka import DeadLetter, EVKafkaApp")
        main.write_text(text)


@pytest.mark.long
@pytest.mark.kafka
def test_its_commands_work_in_order(tmp_path: Path, running: Start) -> None:
    lines = iter([line for one in blocks(PAGE) if one.language == "shell" for line in one.code.splitlines()])
    shell = Shell(tmp_path)
    shell.do(next(lines))
    shell.directory = tmp_path / "order-mailer"
    assert "3 passed" in shell.do(next(lines))

    assert next(lines) == DEV
    service = running(*DEV.split()[1:], "--app-dir", str(shell.directory / "src"), **shell.variables)
    service.until("was assigned")
    address = re.search(r"Apache Kafka is ready: (\S+)", service.printed)
    assert address is not None
    shell.variables["EVKAFKA_BOOTSTRAP_SERVERS"] = address[1]
    shell.do(next(lines))
    show = next(lines)
    eventually_sync(lambda: '"order_id":"A-1"' in shell.do(show).replace(" ", ""), what="the invoice")
    shell.do(next(lines))  # cents is missing

    shell.endpoint("a rule")
    service.until("was assigned", times=2)
    shell.do(next(lines))
    shell.do(next(lines))
    dead_letters, lag = next(lines), next(lines)
    eventually_sync(lambda: "is too large to be true" in shell.do(dead_letters), what="the dead letter")
    assert '"A-4"' in shell.do(show)
    eventually_sync(lambda: "lag 0" in shell.do(lag), what="lag 0")

    shell.endpoint("as it was meant")
    service.until("was assigned", times=3)
    assert "1 dead letter would be tried" in shell.do(next(lines))
    assert "1 replayed" in shell.do(next(lines))
    assert '"A-3"' in shell.do(next(lines))
    assert "too large" not in shell.do(dead_letters)

    (shell.directory / "tests" / "test_large_orders.py").write_text(file(PAGE, "tests/test_large_orders.py"))
    assert "1 passed" in shell.do(next(lines))
    assert "everything is in order" in shell.do(next(lines))
    shell.do(next(lines))
    assert (shell.directory / "contract.yaml").exists()
    assert "would run" in shell.do(next(lines))
    assert list(lines) == []
    assert service.stop() == 0
