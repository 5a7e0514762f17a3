"""The tables of what EVKafka withstands are held to the tests: each row names some that exist, none is left out."""

from __future__ import annotations

import ast
import importlib
import re
from functools import cache
from typing import Any

import pytest

from tests.acceptance.bad_input import test_matrix
from tests.docs.pages import ROOT

PAGE = ROOT / "docs" / "reliability.md"
TEST = re.compile(r"`((?:\w+/)+test_\w+\.py(?:::\w+)+(?:\[[^`]+\])?)`")
VERDICTS = ("recovers", "waits", "ends")


def tables() -> list[tuple[str, list[str]]]:
    """Each row's section, and its cells."""
    found, section = [], ""
    for line in PAGE.read_text().splitlines():
        if line.startswith("#"):
            section = line.lstrip("# ")
        elif line.startswith("| ") and not line.startswith("| ---"):
            found.append((section, [cell.strip() for cell in line.strip("|").split(" | ")]))
    return [(section, cells) for section, cells in found if cells[0] not in ("fault", "the record", "what")]


def rows(length: int) -> list[Any]:
    return [pytest.param(cells, id=cells[0]) for _, cells in tables() if len(cells) == length]


def named() -> set[str]:
    return set(TEST.findall(PAGE.read_text()))


@cache
def tree(path: str) -> ast.Module:
    return ast.parse((ROOT / "tests" / path).read_text())


def is_there(test: str) -> bool:
    test, _, row = test.rstrip("]").partition("[")
    path, *names = test.split("::")
    if not (ROOT / "tests" / path).exists():
        return False
    body: list[ast.stmt] = tree(path).body
    for name in names:
        found = [
            node
            for node in body
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and node.name == name
        ]
        if not found:
            return False
        body = found[0].body
    return not row or row in known_rows(path)


def known_rows(path: str) -> set[str]:
    module = importlib.import_module("tests." + path.removesuffix(".py").replace("/", "."))
    return {row.name for row in module.ROWS}


def functions_of(path: str) -> set[str]:
    """All tests of a file, each by its class too where it has one."""
    found = set()
    for node in tree(path).body:
        if isinstance(node, ast.ClassDef):
            for inner in node.body:
                if getattr(inner, "name", "").startswith("test_"):
                    found.add(f"{path}::{node.name}::{inner.name}")  # type: ignore[attr-defined]
        elif getattr(node, "name", "").startswith("test_"):
            found.add(f"{path}::{node.name}")  # type: ignore[attr-defined]
    return found


class TestTheTablesOfFaults:
    @pytest.mark.parametrize("cells", rows(3))
    def test_give_each_a_verdict_and_tests_that_are_there(self, cells: list[str]) -> None:
        _, verdict, tests = cells
        assert verdict.startswith(VERDICTS)
        assert TEST.findall(tests)
        assert TEST.sub("", tests).strip() == ""
        assert [test for test in TEST.findall(tests) if not is_there(test)] == []

    def test_tell_each_fault_once(self) -> None:
        faults = [cells[0] for _, cells in tables()]
        assert [fault for fault in faults if faults.count(fault) > 1] == []

    def test_leave_out_no_test_of_a_fault(self) -> None:
        paths = [f"faults/{path.name}" for path in (ROOT / "tests" / "faults").glob("test_*.py")]
        told = {test.partition("[")[0] for test in named()}
        missing = [
            test
            for test in sorted(test for path in paths for test in functions_of(path))
            if not any(f"{test}::".startswith(f"{one}::") for one in told)
        ]
        assert missing == []

    def test_leave_out_no_row_of_the_wire(self) -> None:
        path = "acceptance/faults/test_wire.py"
        told = {test.partition("[")[2].rstrip("]") for test in named() if test.startswith(f"{path}::")}
        assert told == known_rows(path)


class TestTheTableOfBadRecords:
    def test_says_of_each_what_the_tests_say(self) -> None:
        told = {cells[0]: cells[1] for _, cells in tables() if len(cells) == 2}
        assert told == {row.name: row.decision for row in test_matrix.ROWS}


class TestThePage:
    def test_names_no_test_that_is_not_there(self) -> None:
        assert [test for test in sorted(named()) if not is_there(test)] == []

    def test_names_no_module_that_is_not_there(self) -> None:
        modules = re.findall(r"`(runtime/[\w/]+\.py)`", PAGE.read_text())
        assert modules
        assert [module for module in modules if not (ROOT / "src" / "evkafka" / module).exists()] == []
