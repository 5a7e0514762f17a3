"""docs/reliability.md agrees with the tests: each row names tests that exist, and every test of a fault is named."""

from __future__ import annotations

from typing import Any

import pytest

from tests.acceptance.bad_input.rows import ROWS
from tests.docs.named_tests import TEST, exists, functions_of, known_rows
from tests.support.doc_pages import ROOT

PAGE = ROOT / "docs" / "reliability.md"
VERDICTS = ("recovers", "waits", "exits with code", "ends")


def tables() -> list[tuple[str, list[str]]]:
    """Return the section and the cells of each row."""
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


class TestTheTablesOfFaults:
    @pytest.mark.parametrize("cells", rows(3))
    def test_give_each_fault_a_verdict_and_tests_that_exist(self, cells: list[str]) -> None:
        _, verdict, tests = cells
        assert verdict.startswith(VERDICTS)
        assert TEST.findall(tests)
        assert TEST.sub("", tests).strip() == ""
        assert [test for test in TEST.findall(tests) if not exists(test)] == []

    def test_contain_each_fault_once(self) -> None:
        faults = [cells[0] for _, cells in tables()]
        assert [fault for fault in faults if faults.count(fault) > 1] == []

    def test_contain_every_test_of_a_fault(self) -> None:
        folder = "acceptance/faults"
        paths = [f"{folder}/{path.name}" for path in (ROOT / "tests" / folder).glob("test_*.py")]
        paths.remove("acceptance/faults/test_aiokafka_defects.py")  # aiokafka-defects.md names its tests
        assert paths
        listed = {test.partition("[")[0] for test in named()}
        missing = [
            test
            for test in sorted(test for path in paths for test in functions_of(path))
            if not any(f"{test}::".startswith(f"{one}::") for one in listed)
        ]
        assert missing == []

    def test_contain_every_row_of_the_wire(self) -> None:
        path = "acceptance/faults/test_connections.py"
        listed = {test.partition("[")[2].rstrip("]") for test in named() if test.startswith(f"{path}::")}
        assert listed == known_rows(path)


class TestTheTableOfBadRecords:
    def test_gives_each_record_the_decision_that_its_test_checks(self) -> None:
        listed = {cells[0]: cells[1] for _, cells in tables() if len(cells) == 2}
        assert listed == {row.name: row.decision for row in ROWS}


class TestThePage:
    def test_names_only_tests_that_exist(self) -> None:
        assert [test for test in sorted(named()) if not exists(test)] == []
