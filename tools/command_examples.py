"""Examples of commands with their output, from the pages whose commands the tests run."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

DOCS = Path(__file__).parent.parent / "docs"
PAGES = ("command-line.md", "tutorial.md", "getting-started.md", "dead-letters.md", "verify.md")

_EXAMPLE = re.compile(
    r"^```(?:shell|bash)\n(?P<lines>.*?)^```\n"
    r"(?P<between>[^`]*?)"
    r"^```text\n(?P<output>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
_EXIT_CODE = re.compile(r"\s+# exits with code \d+$")
_BETWEEN_MAX = 400
"""A sentence may stand between a command and its output, no more."""


@dataclass(frozen=True, slots=True)
class Example:
    """A command as a page shows it.

    Attributes:
        page: the file in docs/.
    """

    line: str
    output: str
    page: str


def first_example_of(path: tuple[str, ...]) -> Example | None:
    """The first example of the command with output; None if no page has one."""
    return next((one for one in _read_examples() if _runs_command(one.line, path)), None)


@cache
def _read_examples() -> tuple[Example, ...]:
    return tuple(one for page in PAGES for one in _read_examples_of(page))


def _read_examples_of(page: str) -> Iterator[Example]:
    for found in _EXAMPLE.finditer((DOCS / page).read_text(encoding="utf-8")):
        if len(found["between"]) <= _BETWEEN_MAX:
            line = _EXIT_CODE.sub("", found["lines"].splitlines()[-1])
            yield Example(line, found["output"], page)


def _runs_command(line: str, path: tuple[str, ...]) -> bool:
    if path == ("asyncapi", "print"):  # `evkafka asyncapi MODULE:APP` prints
        return line.startswith("evkafka asyncapi ") and not line.startswith("evkafka asyncapi diff ")
    return f"{line} ".startswith(f"evkafka {' '.join(path)} ")
