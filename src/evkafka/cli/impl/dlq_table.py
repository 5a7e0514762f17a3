"""The table of `evkafka dlq list`. In a terminal it is as wide as the terminal, and only the error is shortened."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table

from evkafka.dlq import DeadLetterRecord
from evkafka.serde.safe_text import escape_line

ERROR_CHARACTERS = 100
"""An error is shortened to this, also where there is room for more."""

USEFUL_CHARACTERS = 24
"""If the error had less room than this, the columns of `OPTIONAL` are left out."""

OPTIONAL = ("attempts", "event type")
"""Columns that can be left out, the first one first; `evkafka dlq show` prints them too."""

GAP = 2


def print_letters(letters: Sequence[tuple[DeadLetterRecord, str]], *, with_status: bool, width: int) -> None:
    """Print one line for each dead letter.

    Args:
        letters: each with its status.
        width: of the terminal, in characters.
    """
    columns = {
        "partition": [str(letter.position.partition) for letter, _ in letters],
        "offset": [str(letter.position.offset) for letter, _ in letters],
        "failed at": [f"{letter.failed_at:%Y-%m-%d %H:%M:%S}" for letter, _ in letters],
        "event type": [escape_line(letter.event_type or "") for letter, _ in letters],
        "attempts": ["" if letter.attempts is None else str(letter.attempts) for letter, _ in letters],
        "error": [error_text_of(letter) for letter, _ in letters],
        "from": [escape_line(origin_text_of(letter)) for letter, _ in letters],
    }
    if with_status:
        columns["status"] = [status for _, status in letters]
    room = _error_column_width(columns, width)
    for optional in OPTIONAL:
        if room < min(USEFUL_CHARACTERS, _column_width("error", columns["error"])):
            del columns[optional]
            room = _error_column_width(columns, width)
    room = max(room, USEFUL_CHARACTERS)
    columns["error"] = [shorten_in_middle(error, room) for error in columns["error"]]
    needed = sum(GAP + _column_width(head, cells) for head, cells in columns.items())
    table = Table(*columns, box=None)
    for cells in zip(*columns.values(), strict=True):
        table.add_row(*cells)
    # If even this is wider than the terminal, the terminal breaks the lines, and nothing is cut.
    Console(highlight=False, markup=False, emoji=False, width=max(needed, width)).print(table)


def _error_column_width(columns: dict[str, list[str]], width: int) -> int:
    return width - GAP - sum(GAP + _column_width(head, cells) for head, cells in columns.items() if head != "error")


def _column_width(head: str, cells: Sequence[str]) -> int:
    return max(map(cell_len, (head, *cells)))


def error_text_of(letter: DeadLetterRecord) -> str:
    """Type and message of its error on one line, shortened."""
    name = letter.error_type.rpartition(".")[2]
    message = " ".join(letter.error_message.split())
    return shorten_in_middle(escape_line(f"{name}: {message}" if name else message), ERROR_CHARACTERS)


def shorten_in_middle(text: str, most: int) -> str:
    """The text without its middle: the beginning names the type of the error, the end often the field and its fault."""
    if len(text) <= most:
        return text
    end = (most - 1) * 2 // 3
    return f"{text[: most - 1 - end]}…{text[-end:]}"


def origin_text_of(letter: DeadLetterRecord) -> str:
    """Where it failed first."""
    return f"{letter.topic}[{letter.partition}]@{letter.offset}" if letter.topic is not None else ""
