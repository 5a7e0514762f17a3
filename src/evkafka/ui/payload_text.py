"""Bytes as text for a person: cut, and with fields hidden that look like secrets. What is not text is hexadecimal.

The work is bounded by what is shown. A value of up to `PARSED_BYTES` is parsed; it is laid out until enough is written.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

from evkafka.runtime.ports import UnreadRecord
from evkafka.serde.safe_text import CUT, NAME_CHARACTERS, cut, lines, one_line
from evkafka.ui.models import Text

SHOWN_BYTES = 16 * 1024
PARSED_BYTES = 64 * 1024
KEY_BYTES = 1024
LEVELS = 32
"""What is nested deeper than this is shown as `…`."""

HEADERS = 50
HEADER_CHARACTERS = 2000
HEADERS_CHARACTERS = 8 * 1024
"""Of all of a record's headers together."""

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
"""A name before a value, or that of an XML element. Bounded in each part: what others wrote may be slow to search."""

_LOGIN = re.compile(r"://[^/\s:@]{0,256}:[^/\s@]{1,256}@")
_PAIR_NAMES = frozenset({"name", "key", "field", "header", "parameter"})


def is_secret(name: str) -> bool:
    """Whether a field of this name is hidden: `passwordHash`, `X-Api-Key`, `client.secret`."""
    return SECRET.search(_WORD_BEGINS.sub("_", name[:NAME_CHARACTERS]).lower()) is not None


def as_text(data: bytes | None, *, most: int = SHOWN_BYTES) -> Text | None:
    """None for None. JSON is laid out, and its secret fields are hidden; so it is only if it can be read whole."""
    if data is None:
        return None
    size = len(data)
    if size <= PARSED_BYTES and (found := _parsed(data)) is not None:
        layout = _Layout(most)
        layout.write(found, 0)
        return Text(text=layout.text, kind="json", cut=layout.cut, size=size, masked=layout.masked)
    try:
        text = data[: 4 * most].decode(errors="strict" if size <= 4 * most else "ignore")
    except UnicodeDecodeError:
        return Text(text=data[: most // 3].hex(" "), kind="hex", cut=size > most // 3, size=size, masked=False)
    if _looks_secret(text[:most]):
        return Text(text=HIDDEN, kind="text", cut=False, size=size, masked=True)
    shown = lines(text[:most])[:most]
    return Text(text=shown, kind="text", cut=len(text) > most or size > 4 * most, size=size, masked=False)


def not_shown(data: bytes | None, error: BaseException) -> Text:
    """What stands in the place of a value that could not be made into text."""
    text = one_line(f"cannot be shown: {type(error).__name__}", NAME_CHARACTERS)
    return Text(text=text, kind="text", cut=True, size=len(data or b""), masked=False)


def not_read(record: UnreadRecord) -> Text:
    """What stands in the place of a value that the client could not read."""
    return Text(text=one_line(str(record), NAME_CHARACTERS), kind="text", cut=True, size=0, masked=False)


def _parsed(data: bytes | str) -> Any:
    """What JSON holds, of an object, a list or a string; None of anything else, and of what is nested too deep."""
    if data[:16].lstrip()[:1] not in (b"{", b"[", b'"', "{", "[", '"'):
        return None
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None


class _Layout:
    """Writes JSON as a person reads it, without its secrets, until it is full.

    Args:
        most: characters.
        levels: what is nested deeper is left out.
        indented: False writes all of it on one line.
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
    def text(self) -> str:
        return "".join(self._parts)[: self._most]

    @property
    def cut(self) -> bool:
        return self._left_out or self._length > self._most

    def write(self, value: Any, level: int) -> None:
        match value:
            case dict() | list() if level >= self._levels:
                self._left_out = True
                self._add(CUT)
            case dict() if value:
                self._write_object(value, level)
            case list() if value:
                self._write_list(value, level)
            case str():
                self._write_string(value)
            case _:
                self._add(json.dumps(value))

    def _write_object(self, value: dict[str, Any], level: int) -> None:
        pair = _is_secret_pair(value)
        for number, (name, one) in enumerate(value.items()):
            self._add(("," if number else "{") + self._break(level + 1) + _quoted(cut(name, self._most)) + ": ")
            if one is not None and (is_secret(name) or (pair and name == "value")):
                self._hide()
            else:
                self.write(one, level + 1)
            if self._length > self._most:
                return
        self._add(self._break(level) + "}")

    def _write_list(self, value: list[Any], level: int) -> None:
        pair = len(value) == 2 and isinstance(value[0], str) and is_secret(value[0])
        for number, one in enumerate(value):
            self._add(("," if number else "[") + self._break(level + 1))
            if pair and number:
                self._hide()
            else:
                self.write(one, level + 1)
            if self._length > self._most:
                return
        self._add(self._break(level) + "]")

    def _write_string(self, value: str) -> None:
        shown, masked = _string_without_secrets(value)
        self.masked = self.masked or masked
        self._add(_quoted(cut(shown, self._most)))

    def _break(self, level: int) -> str:
        return "\n" + "  " * level if self._indented else ""

    def _hide(self) -> None:
        self.masked = True
        self._add(f'"{HIDDEN}"')

    def _add(self, text: str) -> None:
        self._parts.append(text)
        self._length += len(text)


def _quoted(text: str) -> str:
    """A string as JSON, with nothing in it that a browser would act on."""
    return lines(json.dumps(text, ensure_ascii=False))


def _is_secret_pair(value: dict[str, Any]) -> bool:
    """`{"name": "password", "value": "..."}`"""
    return "value" in value and any(isinstance(value.get(one), str) and is_secret(value[one]) for one in _PAIR_NAMES)


def _string_without_secrets(text: str) -> tuple[str, bool]:
    """A string may hold JSON itself, a query, an address with a login: JSON is shown without its secrets, the others
    not at all."""
    parsed = _parsed(text) if len(text) <= PARSED_BYTES else None
    if isinstance(parsed, (dict, list)):
        inner = _Layout(SHOWN_BYTES, levels=LEVELS // 4, indented=False)
        inner.write(parsed, 0)
        # What was left out of it may be a secret: then only what was looked at is shown.
        return (inner.text, True) if inner.masked or inner.cut else (text, False)
    return (HIDDEN, True) if _looks_secret(text[:SHOWN_BYTES]) else (text, False)


def _looks_secret(text: str) -> bool:
    """Of what cannot be read as JSON, cut JSON for one: whether a name in it is that of a secret."""
    return _LOGIN.search(text) is not None or any(is_secret(found[1] or found[2]) for found in _NAME.finditer(text))


def headers_as_text(headers: Iterable[tuple[str, bytes | None]]) -> list[tuple[str, str | None]]:
    """Tracebacks are left out: they have a place of their own. Of many headers, the first are shown."""
    shown: list[tuple[str, str | None]] = []
    told, left = [one for one in headers if not one[0].endswith(("error-traceback", "exception-stacktrace"))], 0
    for name, value in told[:HEADERS]:
        text = _header(name, value)
        left += len(text or "")
        if left > HEADERS_CHARACTERS:
            break
        shown.append((one_line(name, NAME_CHARACTERS), text))
    if len(shown) < len(told):
        shown.append((CUT, f"{len(told) - len(shown)} more headers"))
    return shown


def _header(name: str, value: bytes | None) -> str | None:
    if value is None:
        return None
    if is_secret(name):
        return HIDDEN
    try:
        text, _ = _string_without_secrets(value[: 4 * HEADER_CHARACTERS].decode(errors=_errors(value)))
    except UnicodeDecodeError:
        return value[: HEADER_CHARACTERS // 3].hex(" ")
    return one_line(text, HEADER_CHARACTERS)


def _errors(value: bytes) -> str:
    return "strict" if len(value) <= 4 * HEADER_CHARACTERS else "ignore"
