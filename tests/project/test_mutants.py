"""Each breakage of `make mutants` applies to the source as it is, and one that no test sees is reported."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from tools.mutants.__main__ import ROOT, run_one
from tools.mutants.breakage import Breakage
from tools.mutants.breakages import BREAKAGES

FEWEST = 30


@pytest.mark.parametrize("breakage", BREAKAGES, ids=lambda one: one.name)
def test_each_breakage_applies(breakage: Breakage) -> None:
    assert breakage.find_fault(ROOT) is None
    assert breakage.old != breakage.new


def test_names_of_breakages_are_unique() -> None:
    names = Counter(one.name for one in BREAKAGES)
    assert len(names) >= FEWEST
    assert [name for name, times in names.items() if times > 1] == []


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A program of one function and two tests of it; only one test checks the result."""
    (tmp_path / "src" / "evkafka").mkdir(parents=True)
    (tmp_path / "src" / "evkafka" / "sums.py").write_text("def add(a, b):\n    return a + b\n")
    run = "exec(Path('src/evkafka/sums.py').read_text(), names)"
    load = f"from pathlib import Path\nnames = {{}}\n{run}\nadd = names['add']\n"
    (tmp_path / "test_looks.py").write_text(f"{load}\ndef test_it():\n    assert add(2, 3) == 5\n")
    (tmp_path / "test_blind.py").write_text(f"{load}\ndef test_it():\n    add(2, 3)\n")
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    return tmp_path


def breakage(*seen_by: str, old: str = "a + b") -> Breakage:
    return Breakage("sums are products", "sums.py", old, "a * b", "it costs money", seen_by)


def test_a_breakage_that_a_test_sees_is_red_and_the_tree_is_restored(tree: Path) -> None:
    result = run_one(breakage("test_blind.py", "test_looks.py"), tree)
    assert (result.red, result.reason) == (True, "test_looks.py::test_it")
    assert "a + b" in (tree / "src" / "evkafka" / "sums.py").read_text()


def test_a_breakage_that_no_test_sees_is_green(tree: Path) -> None:
    result = run_one(breakage("test_blind.py"), tree)
    assert (result.red, result.reason) == (False, "every test passed")


def test_a_breakage_whose_tests_cannot_run_is_not_red(tree: Path) -> None:
    (tree / "test_none.py").write_text("")
    result = run_one(breakage("test_none.py"), tree)
    assert not result.red
    assert result.reason.startswith("pytest ended with 5")


@pytest.mark.parametrize(
    ("one", "why"),
    [
        (breakage("test_looks.py", old="a - b"), "occurs 0 times"),
        (breakage("test_looks.py", old="a"), "and must occur once"),
        (breakage("test_gone.py"), "the tests test_gone.py do not exist"),
        (breakage("test_looks.py::test_gone"), "the tests test_looks.py::test_gone do not exist"),
    ],
)
def test_a_breakage_that_cannot_be_applied_has_a_reason(tree: Path, one: Breakage, why: str) -> None:
    assert why in (one.find_fault(tree) or "")
