"""README: its commands run with other ports and print what it shows, and its figures are those of the benchmark."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.docs.programs import Start
from tests.support.doc_pages import ROOT, blocks, file
from tests.support.waiting import eventually_sync

README = (ROOT / "README.md").read_text()
INSTALL, DEV, SEND = [block.code.strip() for block in blocks("README.md") if block.language == "shell"]
STARTED, SENT, HANDLED = [block.code for block in blocks("README.md") if block.language == "text"]


def lines(text: str) -> list[str]:
    """Its lines, with the same ports, partition and token in each run."""
    text = re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1:0", text)
    text = re.sub(r"orders\[\d+\]", "orders[0]", text)
    return re.sub(r"(?m)^(  Token +)\S+$", r"\1token", text).splitlines()


def are_in(shown: str, printed: str) -> bool:
    """Whether the printed lines have all shown lines in this order; `...` and empty lines are left out."""
    rest: Iterator[str] = iter(lines(printed))
    return all(line in rest for line in lines(shown) if line not in ("", "..."))


class TestFirstApp:
    @pytest.mark.kafka
    def test_its_commands_print_what_the_readme_shows(
        self, start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name, value in {"EVKAFKA_BROKER_PORT": "0", "EVKAFKA_PORT": "0", "COLUMNS": "80", "NO_COLOR": "1"}.items():
            monkeypatch.setenv(name, value)
        (tmp_path / "billing.py").write_text(file("README.md", "billing.py"))

        app = start(DEV, "dev")
        eventually_sync(lambda: are_in(STARTED, app.printed), what=f"the box in {app.printed!r}")
        sent = start(SEND, "send")
        assert sent.process.wait(60) == 0, sent.printed
        eventually_sync(lambda: HANDLED in app.printed, what="the handled event")

        assert are_in(SENT, sent.printed), sent.printed
        assert app.terminate() == 0, app.printed

    def test_is_also_the_one_of_the_first_page_of_the_documentation(self) -> None:
        assert set(blocks("docs/index.md")) == set(blocks("README.md"))

    def test_has_fifteen_lines_of_code(self) -> None:
        assert len(file("README.md", "billing.py").replace("\n\n", "\n").splitlines()) <= 15

    def test_is_installed_with_the_extras_that_its_commands_need(self) -> None:
        found = re.fullmatch(r"pip install '\.\[(.+)\]'", INSTALL)
        assert found is not None
        project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
        extras = set(found[1].split(","))
        assert {"cli", "broker", "reload"} <= extras, "`evkafka dev` needs these"
        assert extras <= project["optional-dependencies"].keys()


class TestFigures:
    def test_of_the_readme_are_those_of_the_last_benchmark(self) -> None:
        cost_us = {one["title"]: f"{one['cpu_us_per_event']:.2f}" for one in latest()}
        [row] = [line for line in README.splitlines() if line.startswith("| CPU time per event")]
        assert f"| {cost_us['EVKafka']} µs | {cost_us['FastStream']} µs ({cost_us['FastStream, batches']} in" in row
        assert f"aiokafka loop takes {cost_us['aiokafka `getmany` loop, hand-written']} µs" in README

    def test_of_the_page_on_performance_are_those_of_the_last_benchmark(self) -> None:
        page = (ROOT / "docs" / "performance.md").read_text().splitlines()
        figures = (ROOT / "bench" / "results" / "latest.md").read_text().splitlines()
        assert [line for line in figures if line not in page] == []

    def test_of_the_comparison_page_are_about_the_same(self) -> None:
        page = (ROOT / "docs" / "comparison.md").read_text().partition("## Speed")[2]
        rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in page.splitlines() if line.startswith("| ")]
        stated = {title: (float(us), float(ratio)) for title, us, _, ratio in rows if us[0].isdigit()}
        assert len(stated) == 6
        for one in latest():
            if one["title"] in stated:
                assert stated.pop(one["title"]) == pytest.approx((one["cpu_us_per_event"], one["ratio"]), rel=0.4)
        assert stated == {}


def latest() -> list[dict[str, Any]]:
    """The rows of the last benchmark."""
    results: list[dict[str, Any]] = json.loads((ROOT / "bench" / "results" / "latest.json").read_text())["results"]
    return results
