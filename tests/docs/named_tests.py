"""Finds the tests that a page names, such as `kafka/consumer/test_commit.py::TestDeadlines`."""

from __future__ import annotations

import ast
import importlib
import re
from functools import cache

from tests.support.doc_pages import ROOT

TEST = re.compile(r"`((?:\w+/)+test_\w+\.py(?:::\w+)+(?:\[[^`]+\])?)`")


@cache
def tree(path: str) -> ast.Module:
    return ast.parse((ROOT / "tests" / path).read_text())


def exists(test: str) -> bool:
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
    """Return the names of all tests of a file, with their class if they have one."""
    found = set()
    for node in tree(path).body:
        if isinstance(node, ast.ClassDef):
            for inner in node.body:
                if getattr(inner, "name", "").startswith("test_"):
                    found.add(f"{path}::{node.name}::{inner.name}")  # type: ignore[attr-defined]
        elif getattr(node, "name", "").startswith("test_"):
            found.add(f"{path}::{node.name}")  # type: ignore[attr-defined]
    return found
