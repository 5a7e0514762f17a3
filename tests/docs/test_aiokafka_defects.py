"""The page of aiokafka's defects names code and tests that exist, and comments in the code name its sections."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from tests.docs.named_tests import TEST, exists, functions_of
from tests.support.doc_pages import ROOT

PAGE = ROOT / "docs" / "aiokafka-defects.md"
SOURCE = ROOT / "src" / "evkafka" / "kafka"
HEADING = re.compile(r"^### .+ \{#([\w-]+)\}$", re.MULTILINE)
REFERENCE = re.compile(r"aiokafka-defects\.md#([\w-]+)(?:, #([\w-]+))*")


def sections() -> list[tuple[str, str]]:
    """Anchor and text of each defect."""
    _, *parts = HEADING.split(PAGE.read_text())
    return list(zip(parts[::2], parts[1::2], strict=True))


def code_names() -> list[object]:
    found = []
    for anchor, text in sections():
        [line] = re.findall(r"^- Code: (.+)$", text, re.MULTILINE)
        for part in line.split("; "):
            path, *names = re.findall(r"`([^`]+)`", part)
            found += [pytest.param(path, name, id=f"{anchor}-{path}-{name}") for name in names]
    return found


@cache
def tree(path: str) -> ast.Module:
    return ast.parse((SOURCE / path).read_text())


def is_defined(path: str, name: str) -> bool:
    body: list[ast.stmt] = tree(path).body
    for part in name.split("."):
        found = [node for node in body if part in _names(node)]
        if not found:
            return False
        body = getattr(found[0], "body", [])
    return True


def _names(node: ast.stmt) -> list[str]:
    match node:
        case ast.ClassDef() | ast.FunctionDef() | ast.AsyncFunctionDef():
            return [node.name]
        case ast.Assign():
            return [target.id for target in node.targets if isinstance(target, ast.Name)]
        case _:
            return []


def references() -> set[str]:
    files: list[Path] = [*SOURCE.rglob("*.py"), *(ROOT / "tests").rglob("*.py")]
    texts = (file.read_text() for file in files if file != Path(__file__))
    return {anchor for text in texts for found in REFERENCE.findall(text) for anchor in found if anchor}


@pytest.mark.parametrize(("path", "name"), code_names())
def test_names_code_that_exists(path: str, name: str) -> None:
    assert is_defined(path, name)


def test_names_tests_that_exist_for_each_defect() -> None:
    for anchor, text in sections():
        [line] = re.findall(r"^- Tests: (.+)$", text, re.MULTILINE)
        assert TEST.findall(line), anchor
    assert [test for test in TEST.findall(PAGE.read_text()) if not exists(test)] == []


def test_names_every_test_of_the_bare_client() -> None:
    named = TEST.findall(PAGE.read_text())
    tests = functions_of("acceptance/faults/test_aiokafka_defects.py")
    assert [test for test in sorted(tests) if not any(f"{test}::".startswith(f"{one}::") for one in named)] == []


def test_comments_refer_to_sections_that_exist() -> None:
    assert references() - {anchor for anchor, _ in sections()} == set()


def test_each_section_is_referred_to_by_the_code() -> None:
    assert {anchor for anchor, _ in sections()} - references() == set()
