"""Escapes untrusted text for the page, terminals and plain-text logs.

Control characters move the cursor or begin a line that looks like another log record; bidirectional controls change the
order in which text is shown; lone surrogates cannot be encoded; invisible characters make two names look the same. Each
of them is escaped as in JSON (`\\n`, `\\u001b`, `\\ud800`), so that escaped JSON text is still JSON.

Text is cut before it is escaped: the work is bounded by the shown length, not by the size of the record.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta

CUT = "…"

_EPOCH = datetime.fromtimestamp(0, UTC)

NAME_CHARACTERS = 200
"""The longest event type, header name or key that is stored or shown."""

_UNSAFE_BUT_LINES = (
    r"\x00-\x08\x0b-\x1f\x7f-\x9f\xad"  # controls, the soft hyphen
    r"\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u115f\u1160\u180e\u3164\uffa0"  # invisible
    r"\u200b-\u200f\u2028-\u202e\u2060-\u206f"  # zero width, separators of lines, bidirectional controls
    r"\ud800-\udfff\ufeff\ufff0-\ufffb\ufffe\uffff"  # surrogates, the byte order mark, noncharacters
    r"\U000110bd\U000110cd\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0001-\U000e007f"
)
_UNSAFE_IN_LINES = re.compile(f"[{_UNSAFE_BUT_LINES}]")
_UNSAFE = re.compile(f"[\\t\\n{_UNSAFE_BUT_LINES}]")


def escape_line(text: str, most: int | None = None) -> str:
    """The text on one line, without characters that a terminal or a browser interprets.

    Args:
        most: the most characters of the result; None: no limit. A cut text ends with `…`.
    """
    return _escape_matches_and_truncate(text, most, _UNSAFE)


def escape_multiline_text(text: str, most: int | None = None) -> str:
    """Like `escape_line`, but tabs and line ends are kept: for tracebacks and payloads, which no parser splits."""
    return _escape_matches_and_truncate(text, most, _UNSAFE_IN_LINES)


def json_text(value: object, *, indent: int | None = None, compact: bool = True) -> str:
    """JSON text of which every character can be encoded and shown.

    Args:
        compact: no spaces between its parts, unless it is indented.

    Raises:
        ValueError: it contains NaN or an infinite number, which JSON does not have.
        RecursionError: it is nested too deeply.
    """
    separators = (",", ":") if compact and indent is None else None
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, indent=indent, separators=separators)
    # Line ends are only between values; within a string they are escaped already.
    return _UNSAFE_IN_LINES.sub(_escape_character, text)


def truncate(text: str, most: int) -> str:
    """At most so many characters; a cut text ends with `…`."""
    return text if len(text) <= most else text[: max(most - 1, 0)] + CUT


def timestamp_to_datetime(timestamp_ms: int) -> datetime | None:
    """A record's time; None if it has none, or an impossible one: a producer may write any number."""
    if timestamp_ms < 0:
        return None
    try:
        return _EPOCH + timedelta(milliseconds=timestamp_ms)
    except OverflowError:
        return None


def _escape_matches_and_truncate(text: str, most: int | None, unsafe: re.Pattern[str]) -> str:
    if most is None:
        return unsafe.sub(_escape_character, text)
    return truncate(unsafe.sub(_escape_character, truncate(text, most)), most)


def _escape_character(found: re.Match[str]) -> str:
    written = json.dumps(found[0])[1:-1]
    return written if written.startswith("\\") else f"\\u{ord(written):04x}"  # JSON leaves DEL as it is
