"""Importing a submodule sets its name on the package: whatever else of that name the package had is gone then.

Only a test that runs after the import could see it.
"""

from __future__ import annotations

import symtable
from pathlib import Path

import pytest

SOURCES = Path(__file__).parents[2] / "src"
PACKAGES = {".".join(path.parent.relative_to(SOURCES).parts): path for path in SOURCES.rglob("__init__.py")}


def submodules(package: Path) -> set[str]:
    return {path.stem for path in package.glob("*.py")} | {path.parent.name for path in package.glob("*/__init__.py")}


def own_names(init: Path) -> set[str]:
    """What the package's own code binds: functions, classes, variables and imported names."""
    table = symtable.symtable(init.read_text(encoding="utf-8"), str(init), "exec")
    return {one.get_name() for one in table.get_symbols() if one.is_assigned() or one.is_imported()}


def test_all_packages_are_checked() -> None:
    assert {"evkafka", "evkafka.runtime", "evkafka_command", "pytest_evkafka"} <= PACKAGES.keys()


@pytest.mark.parametrize("package", sorted(PACKAGES))
def test_a_package_defines_no_name_that_one_of_its_submodules_has(package: str) -> None:
    init = PACKAGES[package]
    assert own_names(init) & submodules(init.parent) == set()
