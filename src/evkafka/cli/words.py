"""How commands say what they found: JSON for programs, plain text for people, nothing that moves a cursor."""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table


def print_json(told: object) -> None:
    json.dump(told, sys.stdout, indent=2, ensure_ascii=False)
    print()


def print_line(told: object) -> None:
    """One line of JSON, at once: somebody may be reading along."""
    print(json.dumps(told, ensure_ascii=False, separators=(",", ":")), flush=True)


def screen() -> Console:
    """For stdout; into a file or a pipe goes one line for each row."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else 300)


def print_table(
    heads: Sequence[str], rows: Sequence[Sequence[object]], *, numbers: Sequence[str] = (), last_wraps: bool = True
) -> None:
    """A table without lines.

    Args:
        numbers: the columns that stand at the right.
    """
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for index, head in enumerate(heads):
        wraps = last_wraps and index == len(heads) - 1
        table.add_column(head, justify="right" if head in numbers else "left", overflow="fold", no_wrap=not wraps)
    for row in rows:
        table.add_row(*(escape(plain(str(cell))) for cell in row))
    screen().print(table)


def plain(text: str) -> str:
    """What others wrote moves no cursor, and sets no colours."""
    return "".join(sign if sign.isprintable() or sign in "\n\t" else "?" for sign in text)


def as_text(data: bytes | None) -> str | dict[str, str] | None:
    """Text where it is text, else its base64."""
    if data is None:
        return None
    try:
        return data.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(data).decode()}


def as_value(data: bytes | None) -> Any:
    """What JSON holds where it is JSON, else text, else base64. JSON's own texts and null stay as they are written,
    so that they can be told from plain text and from nothing."""
    if data is None:
        return None
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return as_text(data)
    return as_text(data) if value is None or isinstance(value, str) else value


def shown(value: Any) -> str:
    match value:
        case None:
            return "-"
        case {"base64": text}:
            return f"base64 {text}"
        case Mapping():
            return ", ".join(f"{name} {shown(part)}" for name, part in value.items())
        case _:
            return str(value)
