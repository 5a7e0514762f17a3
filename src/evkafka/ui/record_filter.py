"""The search of records: by key, and by text.

A search compares what the page shows, so it cannot find out a field that is hidden. Converting every record to text
would be slow, so most are ruled out by their bytes first.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass

from evkafka.records import Record
from evkafka.runtime.ports import UnreadRecord
from evkafka.serde.safe_text import escape_lines
from evkafka.ui.payload_text import KEY_BYTES, PARSED_BYTES, as_text, headers_as_text

logger = logging.getLogger("evkafka.web")

QUERY_CHARACTERS = 200

_CONVERTED = re.compile(r"[\\*…]")
"""Characters that may be shown although they are not in the bytes: of an escape, of a hidden or of a cut text."""

_DIGIT = re.compile(r"\d")
_FRACTION = re.compile(r"\d\.\d")
_EXPONENT = re.compile(r"(?<![\w.])\d+(?:\.\d+)?e[+-]?\d+(?!\w)")
"""Numbers that may be shown in another form: 1.50 as 1.5, 1e2 as 100.0, 1e999 as Infinity."""


@dataclass(frozen=True, slots=True)
class RecordFilter:
    """The records that a search finds. Neither case nor spaces count in `text`, and spaces do not in `key`.

    Attributes:
        key: the whole key, as it is shown; empty for any.
        text: a part of the key, the value or a header, as they are shown; empty for any.
    """

    key: str = ""
    text: str = ""

    @classmethod
    def of(cls, key: str, text: str) -> RecordFilter:
        """A filter of what a person typed."""
        return cls(_without_spaces(key), _folded(text))

    def matches(self, record: Record) -> bool:
        try:
            return (not self.key or self._has_key(record)) and (not self.text or self._has_text(record))
        except Exception:
            logger.exception("%s[%d]@%d cannot be searched", record.topic, record.partition, record.offset)
            return False

    def _has_key(self, record: Record) -> bool:
        if record.key is None or not _may_contain(record.key, self.key.casefold()):
            return False
        shown = as_text(record.key, most=KEY_BYTES)
        return shown is not None and not shown["masked"] and _without_spaces(shown["text"]) == self.key

    def _has_text(self, record: Record) -> bool:
        if isinstance(record, UnreadRecord):
            return self.text in _folded(str(record))
        return (
            self._is_in(record.value) or self._is_in(record.key, most=KEY_BYTES) or self._is_in_headers(record.headers)
        )

    def _is_in(self, data: bytes | None, **options: int) -> bool:
        if data is None or not _may_contain(data, self.text):
            return False
        shown = as_text(data, **options)
        return shown is not None and self.text in _folded(shown["text"])

    def _is_in_headers(self, headers: Sequence[tuple[str, bytes | None]]) -> bool:
        if not any(
            self.text in _folded(name) or (value is not None and _may_contain(value, self.text))
            for name, value in headers
        ):
            return False
        shown = headers_as_text(headers)
        return any(self.text in _folded(name) or self.text in _folded(value or "") for name, value in shown)


def _may_contain(data: bytes, wanted: str) -> bool:
    """False if the bytes, shown as text, certainly do not contain this folded text."""
    if b"\\" in data or _CONVERTED.search(wanted):
        return True
    try:
        text = data[:PARSED_BYTES].decode(errors="strict" if len(data) <= PARSED_BYTES else "ignore")
    except UnicodeDecodeError:
        return True
    folded = _folded(escape_lines(text))
    if wanted in folded or _EXPONENT.search(folded):
        return True
    return bool(_DIGIT.search(wanted) and _FRACTION.search(folded))


def _without_spaces(text: str) -> str:
    return "".join(text.split())


def _folded(text: str) -> str:
    return _without_spaces(text).casefold()
