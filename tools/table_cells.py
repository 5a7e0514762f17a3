"""Cells of Markdown tables.

Inside of backticks the site shows a `\\|` with its backslash, and GitHub ends the cell at a plain `|`.
"""

from __future__ import annotations

import html
import re

_CODE = re.compile(r"`([^`]*)`")
_PIPE, _UNDERSCORE, _STAR = "&#124;", "&#95;", "&#42;"


def cell(text: str | None) -> str:
    """The text in one line, with its pipes as entities."""
    line = " ".join((text or "").split())
    return _CODE.sub(lambda found: code(found[1]), line).replace("|", _PIPE)


def code(text: str) -> str:
    """The text as code; HTML if it has a pipe, because Markdown's code has no entities."""
    if "|" not in text:
        return f"`{text}`"
    escaped = html.escape(text, quote=False).replace("|", _PIPE).replace("_", _UNDERSCORE).replace("*", _STAR)
    return f"<code>{escaped}</code>"
