"""How commands say what they found: JSON for programs, plain text for people, nothing that moves a cursor."""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from evkafka.serde.safe_text import json_text, lines, one_line


def print_json(told: object) -> None:
    print(json_text(told, indent=2))


def print_line(told: object) -> None:
    """One line of JSON, at once: somebody may be reading along.

    Raises:
        ValueError, RecursionError: as `json_text`.
    """
    print(json_text(told), flush=True)


def screen() -> Console:
    """For stdout; into a file or a pipe goes one line for each row. Text is printed as it is: what is coloured is said
    by a style, for names that others chose may look like markup."""
    return Console(highlight=False, markup=False, emoji=False, width=None if sys.stdout.isatty() else 300)


def styled(*parts: str | tuple[str, str]) -> Text:
    """Pieces of a line, as text or as (text, style)."""
    told = [(one, "") if isinstance(one, str) else one for one in parts]
    return Text.assemble(*((plain(text), style) for text, style in told))


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
        table.add_row(*(Text(plain(str(cell))) for cell in row))
    screen().print(table)


def plain(text: str, most: int | None = None) -> str:
    """What others wrote, on one line: it moves no cursor, sets no colours, and begins no line of its own."""
    return one_line(text, most)


def block(text: str) -> str:
    """What others wrote, on as many lines as it has. Those after the first are indented, so that none of them looks
    like the next field."""
    return lines(text).replace("\n", "\n    ")


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
