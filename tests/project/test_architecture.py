"""ARCHITECTURE.md names only files, classes, members and functions that the code has."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "evkafka"
PAGE = ROOT / "ARCHITECTURE.md"
LINES = 150

FILE = re.compile(r"[\w/.-]+\.(?:py|md|toml|js)")
FOLDER = re.compile(r"[\w/.]+/")
MEMBER = re.compile(r"([A-Z]\w+)\.(\w+)(?:\(\))?")
CLASS = re.compile(r"[A-Z][a-z]\w*")
FUNCTION = re.compile(r"([a-z_]\w+)\(\)")


def names() -> set[str]:
    """All that the page sets in backticks, also inside of its code blocks' first two columns."""
    text = PAGE.read_text(encoding="utf-8")
    blocks = re.findall(r"```\n(.*?)```", text, re.DOTALL)
    prose = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    columns = {
        word for block in blocks for line in block.splitlines() for word in re.split(r"\s{2,}", line.strip())[1:3]
    }
    return set(re.findall(r"`([^`\n]+)`", prose)) | {
        word for word in columns if FILE.fullmatch(word) or MEMBER.fullmatch(word)
    }


@cache
def trees() -> list[ast.Module]:
    return [ast.parse(path.read_text(encoding="utf-8")) for path in PACKAGE.rglob("*.py")]


@cache
def members() -> dict[str, set[str]]:
    """By class: its methods, its fields, and what it sets on itself; those of its bases in the package too."""
    own: dict[str, set[str]] = {}
    bases: dict[str, set[str]] = {}
    for tree in trees():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                bases.setdefault(node.name, set()).update(ast.unparse(base).split("[")[0] for base in node.bases)
                own.setdefault(node.name, set()).update(_members_of(node))
    return {name: found.union(*(own.get(base, set()) for base in bases[name])) for name, found in own.items()}


def _members_of(node: ast.ClassDef) -> set[str]:
    found = set()
    for inner in ast.walk(node):
        if isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef):
            found.add(inner.name)
        elif isinstance(inner, ast.AnnAssign | ast.Assign):
            for target in [inner.target] if isinstance(inner, ast.AnnAssign) else inner.targets:
                found.add(ast.unparse(target).removeprefix("self."))
    return found


@cache
def functions() -> set[str]:
    return {
        node.name
        for tree in trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }


def is_in_the_code(name: str) -> bool:
    if FILE.fullmatch(name) or FOLDER.fullmatch(name):
        return (PACKAGE / name).exists() or (ROOT / name).exists()
    if member := MEMBER.fullmatch(name):
        return member[2] in members().get(member[1], ())
    if function := FUNCTION.fullmatch(name):
        return function[1] in functions()
    return not CLASS.fullmatch(name) or name in members()


@pytest.mark.parametrize("name", sorted(names()))
def test_each_name_on_the_page_is_in_the_code(name: str) -> None:
    assert is_in_the_code(name)


def test_a_name_that_is_not_in_the_code_is_noticed() -> None:
    wrong = ["runtime/nothing.py", "nothing/", "Consumer.nothing", "Nothing", "nothing_of_that_name()"]
    assert [name for name in wrong if is_in_the_code(name)] == []


def test_the_page_is_short_enough_to_be_read() -> None:
    assert len(PAGE.read_text(encoding="utf-8").splitlines()) < LINES
