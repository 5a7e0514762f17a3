"""Bytes as text for a person: cut, and with fields hidden that look like secrets. What is not text is hexadecimal."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

from evkafka.web.ui.shapes import Text

SHOWN_BYTES = 16 * 1024
PARSED_BYTES = 256 * 1024
HEADER_CHARACTERS = 2000
HIDDEN = "***"

SECRET = re.compile(
    r"pass(word|wd|phrase)?$|secret|token|api_?key|private_?key|authorization|credential|"
    r"card_?(number|no)$|^pan$|cvv|cvc|iban|^ssn$|(^|_)pin$",
    re.IGNORECASE,
)
"""Names of fields and headers whose values are hidden."""


def as_text(data: bytes | None, *, most: int = SHOWN_BYTES) -> Text | None:
    """None for None. JSON is laid out, and its secret fields are hidden; so it is only where it can be read whole."""
    if data is None:
        return None
    size = len(data)
    if size <= PARSED_BYTES and (found := _json(data)) is not None:
        text, masked = found
        return Text(text=text[:most], kind="json", cut=len(text) > most, size=size, masked=masked)
    try:
        text = data[: 4 * most].decode() if size <= 4 * most else data[: 4 * most].decode(errors="ignore")
    except UnicodeDecodeError:
        return Text(text=data[: most // 3].hex(" "), kind="hex", cut=size > most // 3, size=size, masked=False)
    if _looks_secret(text):
        return Text(text=HIDDEN, kind="text", cut=False, size=size, masked=True)
    return Text(text=text[:most], kind="text", cut=len(text) > most or size > 4 * most, size=size, masked=False)


def _json(data: bytes) -> tuple[str, bool] | None:
    if data[:1] not in b'{["' or not data:
        return None
    try:
        told = json.loads(data)
    except (ValueError, RecursionError):
        return None
    hidden, masked = _hide(told)
    return json.dumps(hidden, indent=2, ensure_ascii=False), masked


def _hide(told: Any) -> tuple[Any, bool]:
    match told:
        case dict():
            masked, shown = False, {}
            for name, value in told.items():
                if SECRET.search(name) and value is not None:
                    shown[name], masked = HIDDEN, True
                else:
                    shown[name], deeper = _hide(value)
                    masked = masked or deeper
            return shown, masked
        case list():
            parts = [_hide(one) for one in told]
            return [part for part, _ in parts], any(one for _, one in parts)
        case _:
            return told, False


_NAME = re.compile(r"""(?<!\w)(\w{1,64})["']?\s{0,8}[:=]""")
"""A name before a value. Bounded in each part: what others wrote may be made to be slow to search."""


def _looks_secret(text: str) -> bool:
    """Of what cannot be read as JSON, cut JSON for one: whether a name in it is that of a secret."""
    return any(SECRET.search(name) for name in _NAME.findall(text))


def headers_as_text(headers: Iterable[tuple[str, bytes | None]]) -> list[tuple[str, str | None]]:
    """Tracebacks are left out: they have a place of their own."""
    return [
        (name, _header(name, value))
        for name, value in headers
        if not name.endswith(("error-traceback", "exception-stacktrace"))
    ]


def _header(name: str, value: bytes | None) -> str | None:
    if value is None:
        return None
    if SECRET.search(name.replace("-", "_")):
        return HIDDEN
    try:
        return value.decode()[:HEADER_CHARACTERS]
    except UnicodeDecodeError:
        return value[: HEADER_CHARACTERS // 3].hex(" ")
