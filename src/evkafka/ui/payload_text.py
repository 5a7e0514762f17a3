"""Payloads as text for a person: cut, with fields hidden that look like secrets. Binary data is shown as hexadecimal.

The work is limited by what is shown. Values of up to `PARSED_BYTES` are parsed, and written until the limit is reached.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

from evkafka.records import Record
from evkafka.runtime.ports import UnreadRecord
from evkafka.serde.formats.plain_reader import PlainRecord
from evkafka.serde.safe_text import CUT, NAME_CHARACTERS, escape_line, escape_multiline_text, truncate
from evkafka.ui.models import PayloadText

SHOWN_BYTES = 16 * 1024
PARSED_BYTES = 64 * 1024
KEY_BYTES = 1024
FAULT_CHARACTERS = 1000
LEVELS = 32
"""Deeper levels are shown as `…`."""

HEADERS_MAX = 50
HEADER_CHARACTERS = 2000
ALL_HEADERS_CHARACTERS = 8 * 1024

MESSAGE_CHARACTERS = 1000
TRACEBACK_CHARACTERS = 8 * 1024

HIDDEN = "***"

SECRET = re.compile(
    r"passw|pwd|passphrase|passcode|(^|_)pass(_|$)|secret|token|credential|authorization|cookie|"
    r"(^|_)auth(_key|_code|_header|_data)?$|(^|_)(pw|psw|jwt|bearer|otp|totp|pin|pan|csc|ssn|dsn)(_(code|number|no))?$|"
    r"session_?(id|key)|(api|access|private|signing|signature|encryption|shared|master|account|storage)_?key|"
    r"card_?(number|num|no)(_|$)|cvv|cvc|iban|social_?security|security_?code|connection_?string"
)
"""Names of fields and headers whose values are hidden, in lower case, with `_` between their words."""

_WORD_BEGINS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|[^A-Za-z0-9]+")
_NAME = re.compile(r"""(?<![\w-])([\w-]{1,64})\\{0,8}["']?\s{0,8}[:=]|<(?:\w{1,64}:)?([\w-]{1,64})[\s>]""")
"""A name before a value, or the name of an XML element. Each part has a limit, so that no text is slow to search."""

_LOGIN = re.compile(r"://[^/\s:@]{0,256}:[^/\s@]{1,256}@")
_PAIR_NAMES = frozenset({"name", "key", "field", "header", "parameter"})


def is_secret(name: str) -> bool:
    """Whether a field of this name is hidden: `passwordHash`, `X-Api-Key`, `client.secret`."""
    return SECRET.search(_WORD_BEGINS.sub("_", name[:NAME_CHARACTERS]).lower()) is not None


def payload_as_text(data: bytes | None, *, most: int = SHOWN_BYTES) -> PayloadText | None:
    """The text of a key or value; None for None.

    JSON that can be parsed is indented, and its secret fields are hidden. Other text is hidden completely if it may
    contain a secret.
    """
    if data is None:
        return None
    size = len(data)
    if size <= PARSED_BYTES and (found := _parse_payload(data)) is not None:
        writer = _JsonWriter(most)
        writer.write(found, 0)
        return PayloadText(text=writer.written_text, kind="json", cut=writer.is_cut, size=size, masked=writer.masked)
    try:
        text = data[: 4 * most].decode(errors="strict" if size <= 4 * most else "ignore")
    except UnicodeDecodeError:
        return PayloadText(text=data[: most // 3].hex(" "), kind="hex", cut=size > most // 3, size=size, masked=False)
    if _mentions_secret_name(text[:most]):
        return PayloadText(text=HIDDEN, kind="text", cut=False, size=size, masked=True)
    shown = escape_multiline_text(text[:most])[:most]
    return PayloadText(text=shown, kind="text", cut=len(text) > most or size > 4 * most, size=size, masked=False)


def unshowable_text(data: bytes | None, error: BaseException) -> PayloadText:
    """Shown instead of a value that could not be converted to text."""
    text = escape_line(f"cannot be shown: {type(error).__name__}", NAME_CHARACTERS)
    return PayloadText(text=text, kind="text", cut=True, size=len(data or b""), masked=False)


def record_value_as_text(record: Record, *, most: int = SHOWN_BYTES) -> PayloadText | None:
    """The text of a record's value; if it cannot be shown, the reason."""
    reason = unshown_value_reason(record)
    if reason is None:
        return payload_as_text(record.value, most=most)
    return PayloadText(text=reason, kind="text", cut=True, size=len(record.value or b""), masked=False)


def unshown_value_reason(record: Record) -> str | None:
    """Why the value cannot be shown; None if it can.

    One that cannot be decoded is not shown as bytes: its fields are not known, and so no secret could be hidden.
    """
    match record:
        case UnreadRecord():
            return escape_line(str(record), NAME_CHARACTERS)
        case PlainRecord(fault=fault) if fault:
            return escape_line(f"cannot be decoded: {fault}", FAULT_CHARACTERS)
        case _:
            return None


def _parse_payload(data: bytes | str) -> Any:
    """The parsed object, list or string; None for any other text, and for JSON that is nested too deep."""
    if data[:16].lstrip()[:1] not in (b"{", b"[", b'"', "{", "[", '"'):
        return None
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None


class _JsonWriter:
    """Writes JSON without its secrets, up to a limit.

    Args:
        most: most characters.
        levels: deeper levels are left out.
        indented: False writes everything on one line.
    """

    def __init__(self, most: int, *, levels: int = LEVELS, indented: bool = True) -> None:
        self._most = most
        self._levels = levels
        self._indented = indented
        self._parts: list[str] = []
        self._length = 0
        self.masked = False
        self._left_out = False

    @property
    def written_text(self) -> str:
        return "".join(self._parts)[: self._most]

    @property
    def is_cut(self) -> bool:
        return self._left_out or self._length > self._most

    def write(self, value: Any, level: int) -> None:
        match value:
            case dict() | list() if level >= self._levels:
                self._left_out = True
                self._append_text(CUT)
            case dict() if value:
                self._write_object(value, level)
            case list() if value:
                self._write_list(value, level)
            case str():
                self._write_string(value)
            case _:
                self._append_text(json.dumps(value))

    def _write_object(self, value: dict[str, Any], level: int) -> None:
        pair = _is_secret_name_value_object(value)
        for number, (name, field) in enumerate(value.items()):
            self._append_text(
                ("," if number else "{")
                + self._line_break_text(level + 1)
                + _quote_json_string(truncate(name, self._most))
                + ": "
            )
            if field is not None and (is_secret(name) or (pair and name == "value")):
                self._write_mask()
            else:
                self.write(field, level + 1)
            if self._length > self._most:
                return
        self._append_text(self._line_break_text(level) + "}")

    def _write_list(self, value: list[Any], level: int) -> None:
        pair = len(value) == 2 and isinstance(value[0], str) and is_secret(value[0])
        for number, item in enumerate(value):
            self._append_text(("," if number else "[") + self._line_break_text(level + 1))
            if pair and number:
                self._write_mask()
            else:
                self.write(item, level + 1)
            if self._length > self._most:
                return
        self._append_text(self._line_break_text(level) + "]")

    def _write_string(self, value: str) -> None:
        shown, masked = _string_without_secrets(value)
        self.masked = self.masked or masked
        self._append_text(_quote_json_string(truncate(shown, self._most)))

    def _line_break_text(self, level: int) -> str:
        return "\n" + "  " * level if self._indented else ""

    def _write_mask(self) -> None:
        self.masked = True
        self._append_text(f'"{HIDDEN}"')

    def _append_text(self, text: str) -> None:
        self._parts.append(text)
        self._length += len(text)


def _quote_json_string(text: str) -> str:
    """A string as JSON, with its control characters escaped."""
    return escape_multiline_text(json.dumps(text, ensure_ascii=False))


def _is_secret_name_value_object(value: dict[str, Any]) -> bool:
    """Whether it is like `{"name": "password", "value": "..."}`."""
    return "value" in value and any(isinstance(value.get(name), str) and is_secret(value[name]) for name in _PAIR_NAMES)


def _string_without_secrets(text: str) -> tuple[str, bool]:
    """The string, and whether something in it is hidden.

    JSON inside the string is shown without its secrets. Any other string that may contain a secret, as a query or a
    URL with a password, is hidden completely.
    """
    parsed = _parse_payload(text) if len(text) <= PARSED_BYTES else None
    if isinstance(parsed, (dict, list)):
        inner = _JsonWriter(SHOWN_BYTES, levels=LEVELS // 4, indented=False)
        inner.write(parsed, 0)
        # A part that was left out may be a secret: then only the part that was checked is shown.
        return (inner.written_text, True) if inner.masked or inner.is_cut else (text, False)
    return (HIDDEN, True) if _mentions_secret_name(text[:SHOWN_BYTES]) else (text, False)


def _mentions_secret_name(text: str) -> bool:
    """Whether a text that is not JSON, for example JSON that was cut, has the name of a secret in it."""
    return _LOGIN.search(text) is not None or any(is_secret(found[1] or found[2]) for found in _NAME.finditer(text))


def error_message_as_text(message: str) -> str:
    """The message of an error, cut, and hidden like any text that may contain a secret."""
    return escape_multiline_text(_string_without_secrets(message)[0], MESSAGE_CHARACTERS)


def traceback_as_text(traceback: str, message: str) -> str:
    """The end of a traceback. In it, the error's message is hidden if it may contain a secret, and so is each line of
    the other messages; source code is shown, its lines are indented."""
    shown, masked = _string_without_secrets(message)
    whole = traceback.replace(message, shown) if masked else traceback
    lines = whole[-TRACEBACK_CHARACTERS:].split("\n")
    hidden = (not line.startswith((" ", "\t")) and _mentions_secret_name(line) for line in lines)
    return escape_multiline_text("\n".join(HIDDEN if hide else line for line, hide in zip(lines, hidden, strict=True)))


def headers_as_text(headers: Iterable[tuple[str, bytes | None]]) -> list[tuple[str, str | None]]:
    """The headers without the tracebacks, which are shown elsewhere; the first ones if there are too many."""
    shown: list[tuple[str, str | None]] = []
    kept = [header for header in headers if not header[0].endswith(("error-traceback", "exception-stacktrace"))]
    length = 0
    for name, value in kept[:HEADERS_MAX]:
        text = _header_text(name, value)
        length += len(text or "")
        if length > ALL_HEADERS_CHARACTERS:
            break
        shown.append((escape_line(name, NAME_CHARACTERS), text))
    if len(shown) < len(kept):
        shown.append((CUT, f"{len(kept) - len(shown)} more headers"))
    return shown


def _header_text(name: str, value: bytes | None) -> str | None:
    if value is None:
        return None
    if is_secret(name):
        return HIDDEN
    try:
        text, _ = _string_without_secrets(value[: 4 * HEADER_CHARACTERS].decode(errors=_decode_errors_argument(value)))
    except UnicodeDecodeError:
        return value[: HEADER_CHARACTERS // 3].hex(" ")
    return escape_line(text, HEADER_CHARACTERS)


def _decode_errors_argument(value: bytes) -> str:
    return "strict" if len(value) <= 4 * HEADER_CHARACTERS else "ignore"
