"""README: its commands run with other ports and print what it shows, and its figures are those of the benchmark."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.docs.programs import Start
from tests.support.doc_pages import ROOT, blocks, file
from tests.support.waiting import eventually_sync

README = (ROOT / "README.md").read_text()
INSTALL, DEV, SEND, FAIL, REPLAY = [block.code.strip() for block in blocks("README.md") if block.language == "shell"]
STARTED, LISTED, REPLAYED = [block.code for block in blocks("README.md") if block.language == "text"]
RAISE = 'raise ValueError("no printer")'
POLICY = 'config["on_error"] = {"max_attempts": 3, "then": "dead_letter"}'


def lines(text: str) -> list[str]:
    """Its lines, with the same ports, partition, offset, time, token and width in each run."""
    text = re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1:0", text)
    text = re.sub(r"orders\[\d+\]@\d+", "orders[0]@0", text)  # the second order may go to the first one's partition
    text = re.sub(r"orders\[\d+\]", "orders[0]", text)
    text = re.sub(r"(?m)^ [012]( +0 +)\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", r" 0\1time", text)
    text = re.sub(r"─+", "─", re.sub(r"(?m) +$", "", text))
    return re.sub(r"(?m)^(  Token +)\S+$", r"\1token", text).splitlines()


def are_in(shown: str, printed: str) -> bool:
    """Whether the printed lines have all shown lines in this order; `...` and empty lines are left out."""
    rest: Iterator[str] = iter(lines(printed))
    return all(line in rest for line in lines(shown) if line not in ("", "..."))


class DevApp:
    """The app of the README in `evkafka dev`."""

    def __init__(self, start: Start, path: Path) -> None:
        self._start = start
        self._path = path
        self._starts = 0
        self._commands = 0
        self.code = file("README.md", "billing.py")
        path.write_text(self.code)
        self.process = start(DEV, "dev")

    @property
    def printed(self) -> str:
        return self.process.printed

    def starts_as_shown(self) -> None:
        self._wait_for_start()
        assert are_in(STARTED, self.printed), self.printed

    def change(self, code: str) -> None:
        """Save the file, and wait until the app has restarted."""
        self.code = code
        self._path.write_text(code)
        self._wait_for_start()

    def run(self, command: str) -> str:
        """Run a command of the second terminal; return what it printed."""
        self._commands += 1
        ended = self._start(command, f"command-{self._commands}")
        assert ended.process.wait(60) == 0, ended.printed
        return ended.printed

    def _wait_for_start(self) -> None:
        self._starts += 1
        eventually_sync(lambda: self.printed.count("was assigned") == self._starts, what=f"start {self._starts}")


class TestFirstApp:
    @pytest.mark.kafka
    def test_its_commands_print_what_the_readme_shows(
        self, start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name, value in {"EVKAFKA_BROKER_PORT": "0", "EVKAFKA_PORT": "0", "COLUMNS": "120", "NO_COLOR": "1"}.items():
            monkeypatch.setenv(name, value)
        app = DevApp(start, tmp_path / "billing.py")
        app.starts_as_shown()
        assert "sent to orders[0]@0" in lines(app.run(SEND))
        eventually_sync(lambda: "order A-1: 12.50" in app.printed, what="the handled event")

        app.change(app.code.replace("    print(", f"    {RAISE}\n    print(").replace("app.add", f"{POLICY}\napp.add"))
        send, list_letters = FAIL.splitlines()
        app.run(send)
        eventually_sync(lambda: "attempt 3; writing it" in app.printed, what="the last attempt")
        eventually_sync(lambda: are_in(LISTED, app.run(list_letters)), what="the dead letter")
        app.change(app.code.replace(f"    {RAISE}\n", ""))
        assert are_in(REPLAYED, app.run(REPLAY))

        assert app.process.terminate() == 0, app.printed

    def test_says_what_its_commands_print_and_what_to_change(self) -> None:
        for told in ("sent to orders[1]@0", "order A-1: 12.50", RAISE, POLICY):
            assert f"`{told}`" in README

    def test_has_a_test_that_passes(self, tmp_path: Path) -> None:
        for name in ("billing.py", "test_billing.py"):
            (tmp_path / name).write_text(file("README.md", name))
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
        paths = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT / "src")])}
        ended = subprocess.run(command, cwd=tmp_path, env=paths, capture_output=True, text=True, timeout=60)
        assert "1 passed" in ended.stdout, ended.stdout + ended.stderr

    def test_is_also_the_one_of_the_first_page_of_the_documentation(self) -> None:
        of_readme = {block for block in blocks("README.md") if block.title != "test_billing.py"}
        assert set(blocks("docs/index.md")) == of_readme

    def test_has_fifteen_lines_of_code(self) -> None:
        assert len(file("README.md", "billing.py").replace("\n\n", "\n").splitlines()) <= 15

    def test_is_installed_with_the_extras_that_its_commands_need(self) -> None:
        found = re.search(r"pip install '/path/to/the/checkout\[(.+)\]'$", INSTALL)
        assert found is not None
        project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
        extras = set(found[1].split(","))
        assert {"cli", "broker", "reload"} <= extras, "`evkafka dev` needs these"
        assert extras <= project["optional-dependencies"].keys()


class TestFigures:
    def test_of_the_readme_are_those_of_the_last_benchmark(self) -> None:
        cost_us = {one["title"]: f"{one['cpu_us_per_event']['median']:.2f}" for one in latest()}
        [row] = [line for line in README.splitlines() if line.startswith("| CPU time per event")]
        assert f"| {cost_us['EVKafka']} µs | {cost_us['FastStream']} µs ({cost_us['FastStream, batches']} in" in row
        assert f"aiokafka loop takes {cost_us['aiokafka `getmany` loop, hand-written']} µs" in README

    def test_of_the_page_on_performance_are_those_of_the_last_benchmark(self) -> None:
        page = (ROOT / "docs" / "performance.md").read_text().splitlines()
        figures = (ROOT / "bench" / "results" / "latest.md").read_text().splitlines()
        assert [line for line in figures if line not in page] == []

    def test_of_the_comparison_page_are_those_of_the_last_benchmark(self) -> None:
        page = (ROOT / "docs" / "comparison.md").read_text().partition("## Speed")[2]
        figures = (ROOT / "bench" / "results" / "latest.md").read_text().splitlines()
        stated = [line for line in page.splitlines() if line.startswith("| ") and " (" in line]
        assert len(stated) >= 6
        assert [line for line in stated if line not in figures] == []


def latest() -> list[dict[str, Any]]:
    """The rows of the last benchmark."""
    figures: dict[str, Any] = json.loads((ROOT / "bench" / "results" / "latest.json").read_text())
    return [row for table in figures["tables"] for row in table]
