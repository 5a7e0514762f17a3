"""Functions and constructors of the package stay small enough to be read at once."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "src" / "evkafka"
LINES = 50
PARAMETERS = 8

# Users see the parameters of the app's constructor in their editor, and code for evkafka 0.7 passes most of them.
EXEMPT = {"app.EVKafkaApp"}


@cache
def nodes() -> list[tuple[str, ast.AST]]:
    """The package's code: each node, and the module that it is in."""
    return [
        (".".join(path.relative_to(PACKAGE).with_suffix("").parts), node)
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    ]


def functions() -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    """All functions, nested ones too: where each is, and its code."""
    for module, node in nodes():
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield f"{module}.{node.name}, line {node.lineno}", node


def constructors() -> Iterator[tuple[str, ast.arguments]]:
    for module, node in nodes():
        for one in node.body if isinstance(node, ast.ClassDef) else ():
            if isinstance(one, ast.FunctionDef) and one.name == "__init__":
                yield f"{module}.{node.name}", one.args


def test_no_function_has_more_lines_than_a_screen() -> None:
    lines = {where: (node.end_lineno or 0) - node.lineno + 1 for where, node in functions()}
    assert len(lines) > 1000
    assert {where: count for where, count in lines.items() if count > LINES} == {}


def test_no_constructor_has_too_many_parameters() -> None:
    counts = {
        where: len([*given.posonlyargs, *given.args, *given.kwonlyargs]) - 1  # without self
        for where, given in constructors()
    }
    assert {where for where, count in counts.items() if count > PARAMETERS} == EXEMPT
