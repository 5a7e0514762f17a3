"""Code of the pages, as a reader would copy it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]

_FENCE = re.compile(r"^```(?P<language>\w+)(?P<options>[^\n]*)\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)
_TITLE = re.compile(r'title="([^"]+)"')


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block of code.

    Attributes:
        title: the file name that the page gives, or None.
    """

    language: str
    title: str | None
    code: str


def blocks(page: str) -> list[Block]:
    """Return all fenced blocks of a page, in order."""
    text = (ROOT / page).read_text()
    return [
        Block(found["language"], title[1] if (title := _TITLE.search(found["options"])) else None, found["code"])
        for found in _FENCE.finditer(text)
    ]


def file(page: str, title: str) -> str:
    """Return the code of the block with this file name."""
    [code] = [block.code for block in blocks(page) if block.title == title]
    return code
