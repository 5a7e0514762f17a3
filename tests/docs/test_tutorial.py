"""The tutorial, done as it says: a service is made, run, broken, mended, replayed and tested."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.support import ROOT, Start, environment, running
from tests.docs.pages import blocks, file
from tests.support.waiting import eventually_sync

__all__ = ["running"]

PAGE = "docs/tutorial.md"
DEV = "evkafka dev order_mailer.main:app"
ENDPOINT = re.compile(r"@handler\.event.*?(?=\n\n\n)", re.DOTALL)


class Desk:
    """A shell in the service's directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        self.variables = {"PATH": path, "PYTHONPATH": f"src{os.pathsep}{ROOT / 'src'}", "EVKAFKA_BROKER_PORT": "0"}

    def do(self, line: str) -> str:
        expected = int(line.rpartition("# ends with ")[2]) if "# ends with" in line else 0
        ended = subprocess.run(
            ["bash", "-c", line],
            cwd=self.directory,
            env=environment(**self.variables),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=240,
        )
        assert ended.returncode == expected, (line, ended.stdout, ended.stderr)
        assert "Traceback" not in ended.stderr
        return ended.stdout

    def endpoint(self, title: str) -> None:
        """Write the page's endpoint into main.py."""
        main = self.directory / "src" / "order_mailer" / "main.py"
        text = ENDPOINT.sub(lambda _: file(PAGE, title).strip(), main.read_text())
        if "DeadLetter" in text:
            text = text.replace("from evkafka import EVKafkaApp", "from evkafka import DeadLetter, EVKafkaApp")
        main.write_text(text)


@pytest.mark.long
@pytest.mark.kafka
def test_an_hour_of_it(tmp_path: Path, running: Start) -> None:
    lines = iter([line for one in blocks(PAGE) if one.language == "shell" for line in one.code.splitlines()])
    desk = Desk(tmp_path)
    desk.do(next(lines))
    desk.directory = tmp_path / "order-mailer"
    assert "3 passed" in desk.do(next(lines))

    assert next(lines) == DEV
    service = running(*DEV.split()[1:], "--app-dir", str(desk.directory / "src"), **desk.variables)
    service.until("was assigned")
    address = re.search(r"Apache Kafka is ready: (\S+)", service.printed)
    assert address is not None
    desk.variables["EVKAFKA_BOOTSTRAP_SERVERS"] = address[1]
    desk.do(next(lines))
    look = next(lines)
    eventually_sync(lambda: '"order_id":"A-1"' in desk.do(look).replace(" ", ""), what="the invoice")
    desk.do(next(lines))  # cents is missing

    desk.endpoint("a rule")
    service.until("was assigned", times=2)
    desk.do(next(lines))
    desk.do(next(lines))
    letters, lag = next(lines), next(lines)
    eventually_sync(lambda: "is too large to be true" in desk.do(letters), what="the dead letter")
    assert '"A-4"' in desk.do(look)
    eventually_sync(lambda: "lag 0" in desk.do(lag), what="that all is committed")

    desk.endpoint("as it was meant")
    service.until("was assigned", times=3)
    assert "1 would be replayed" in desk.do(next(lines))
    assert "1 replayed" in desk.do(next(lines))
    assert '"A-3"' in desk.do(next(lines))
    assert "too large" not in desk.do(letters)

    (desk.directory / "tests" / "test_large_orders.py").write_text(file(PAGE, "tests/test_large_orders.py"))
    assert "1 passed" in desk.do(next(lines))
    assert "everything is in order" in desk.do(next(lines))
    desk.do(next(lines))
    assert (desk.directory / "contract.yaml").exists()
    assert "would run" in desk.do(next(lines))
    assert list(lines) == []
    assert service.stop() == 0
