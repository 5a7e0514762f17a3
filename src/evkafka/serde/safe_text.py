"""Text that others wrote, made safe to show: on the page, in a terminal, in logs that are plain text.

Control characters move the cursor or begin a line that looks like another log record; bidirectional controls show text
in another order than it is read in; lone surrogates cannot be encoded at all; invisible characters make two names look
the same. Each of them is shown as JSON writes it (`\\n`, `\\u001b`, `\\ud800`), so that text within JSON stays JSON.

Cut first, then escape: the work is bounded by what is shown, whatever the record holds.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta

CUT = "…"

_EPOCH = datetime.fromtimestamp(0, UTC)

NAME_CHARACTERS = 200
"""The longest event type, header name or key that is kept or shown."""

_UNSAFE_BUT_LINES = (
    r"\x00-\x08\x0b-\x1f\x7f-\x9f\xad"  # controls, the soft hyphen
    r"\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u115f\u1160\u180e\u3164\uffa0"  # invisible
    r"\u200b-\u200f\u2028-\u202e\u2060-\u206f"  # zero width, separators of lines, bidirectional controls
    r"\ud800-\udfff\ufeff\ufff0-\ufffb\ufffe\uffff"  # surrogates, the byte order mark, what is no character
    r"\U000110bd\U000110cd\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0001-\U000e007f"
)
_UNSAFE_IN_LINES = re.compile(f"[{_UNSAFE_BUT_LINES}]")
_UNSAFE = re.compile(f"[\\t\\n{_UNSAFE_BUT_LINES}]")


def one_line(text: str, most: int | None = None) -> str:
    """The text on one line, with nothing in it that a terminal or a browser would act on.

    Args:
        most: the longest result, in characters; None for all of it. What is cut ends with `…`.
    """
    return _safe(text, most, _UNSAFE)


def lines(text: str, most: int | None = None) -> str:
    """As `one_line`, but tabs and line ends stay: for tracebacks and payloads, where nothing is to be read by lines."""
    return _safe(text, most, _UNSAFE_IN_LINES)


def json_text(value: object, *, indent: int | None = None, compact: bool = True) -> str:
    """JSON of which every character can be encoded and shown.

    Args:
        compact: no blanks between its parts, unless it is indented.

    Raises:
        ValueError: there is a number in it that JSON does not have: not a number, or infinite.
        RecursionError: it is nested too deep.
    """
    separators = (",", ":") if compact and indent is None else None
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, indent=indent, separators=separators)
    # A line end stands between values only; within a string it is escaped already.
    return _UNSAFE_IN_LINES.sub(_escaped, text)


def cut(text: str, most: int) -> str:
    """No more than so many characters; what is cut ends with `…`."""
    return text if len(text) <= most else text[: max(most - 1, 0)] + CUT


def time_of(timestamp_ms: int) -> datetime | None:
    """A record's time; None where it has none, or one that no calendar has: a producer may write any number."""
    if timestamp_ms < 0:
        return None
    try:
        return _EPOCH + timedelta(milliseconds=timestamp_ms)
    except OverflowError:
        return None


def _safe(text: str, most: int | None, unsafe: re.Pattern[str]) -> str:
    if most is None:
        return unsafe.sub(_escaped, text)
    return cut(unsafe.sub(_escaped, cut(text, most)), most)


def _escaped(found: re.Match[str]) -> str:
    written = json.dumps(found[0])[1:-1]
    return written if written.startswith("\\") else f"\\u{ord(written):04x}"  # JSON leaves DEL as it is
