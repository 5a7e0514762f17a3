"""What commands print: JSON for programs, plain text for people.

Text that others wrote is made harmless: it moves no cursor, sets no colour, and begins no line.
"""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from evkafka.serde.safe_text import escape_line, escape_multiline_text, json_text


def print_json(value: object) -> None:
    print(json_text(value, indent=2))


def print_json_line(value: object) -> None:
    """Print one line of JSON and flush it: a program may read it from a pipe.

    Raises:
        ValueError, RecursionError: as `json_text`.
    """
    print(json_text(value), flush=True)


def stdout_console() -> Console:
    """A console for stdout. In a file or a pipe each row is one line.

    Text is printed as it is, and only styles colour it: a name that others chose may look like markup.
    """
    return Console(highlight=False, markup=False, emoji=False, width=None if sys.stdout.isatty() else 300)


def styled_line(*parts: str | tuple[str, str]) -> Text:
    """One line of parts; each is a text, or (text, style)."""
    pairs = [(one, "") if isinstance(one, str) else one for one in parts]
    return Text.assemble(*((escape_line(text), style) for text, style in pairs))


def print_table(heads: Sequence[str], rows: Sequence[Sequence[object]], *, numbers: Sequence[str] = ()) -> None:
    """Print a table without borders. Only its last column wraps.

    Args:
        numbers: the heads of the columns that are aligned to the right.
    """
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for index, head in enumerate(heads):
        is_last = index == len(heads) - 1
        table.add_column(head, justify="right" if head in numbers else "left", overflow="fold", no_wrap=not is_last)
    for row in rows:
        table.add_row(*(Text(escape_line(str(cell))) for cell in row))
    stdout_console().print(table)


def counted(number: int, noun: str) -> str:
    """`1 record`, `2 records`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def escape_indented_after_first(text: str) -> str:
    """Text that others wrote, with its lines. Lines after the first are indented, so that none looks like a field."""
    return escape_multiline_text(text).replace("\n", "\n    ")


def escape_indented(text: str) -> str:
    """Text that others wrote, with its lines, all of them indented: for a text that begins on a line of its own."""
    return f"    {escape_indented_after_first(text)}"


def bytes_to_text_or_base64(data: bytes | None) -> str | dict[str, str] | None:
    """UTF-8 as text, anything else as base64."""
    if data is None:
        return None
    try:
        return data.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(data).decode()}


def bytes_to_json_value(data: bytes | None) -> Any:
    """JSON as its value, else text, else base64.

    JSON strings and null stay as they are written: they would look like plain text and like a tombstone otherwise.
    """
    if data is None:
        return None
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return bytes_to_text_or_base64(data)
    return bytes_to_text_or_base64(data) if value is None or isinstance(value, str) else value


def format_decoded_value(value: Any) -> str:
    """A value of `bytes_to_text_or_base64` or `bytes_to_json_value`, for people."""
    match value:
        case None:
            return "-"
        case {"base64": text}:
            return f"base64 {text}"
        case Mapping():
            return ", ".join(f"{name} {format_decoded_value(part)}" for name, part in value.items())
        case _:
            return str(value)


@contextmanager
def show_progress_bar(description: str, total: int | None = None) -> Iterator[Callable[[int, int | None], None]]:
    """A progress bar on stderr, if that is a terminal. Yields a function that sets completed and total."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as progress:
        task = progress.add_task(description, total=total)
        yield lambda completed, total: progress.update(task, completed=completed, total=total)
