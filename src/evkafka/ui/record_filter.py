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
from evkafka.serde.safe_text import escape_multiline_text
from evkafka.ui.payload_text import KEY_BYTES, PARSED_BYTES, headers_as_text, payload_as_text, unshown_value_reason

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
    def from_texts(cls, key: str, text: str) -> RecordFilter:
        """A filter of what a person typed."""
        return cls(_remove_spaces(key), _casefold(text))

    def matches(self, record: Record) -> bool:
        try:
            return (not self.key or self._has_key(record)) and (not self.text or self._has_text(record))
        except Exception:
            logger.exception("%s[%d]@%d cannot be searched", record.topic, record.partition, record.offset)
            return False

    def _has_key(self, record: Record) -> bool:
        if record.key is None or not _may_contain(record.key, self.key.casefold()):
            return False
        shown = payload_as_text(record.key, most=KEY_BYTES)
        return shown is not None and not shown["masked"] and _remove_spaces(shown["text"]) == self.key

    def _has_text(self, record: Record) -> bool:
        reason = unshown_value_reason(record)
        in_value = self._payload_contains_text(record.value) if reason is None else self.text in _casefold(reason)
        if in_value or isinstance(record, UnreadRecord):
            return in_value
        return self._payload_contains_text(record.key, most=KEY_BYTES) or self._headers_contain_text(record.headers)

    def _payload_contains_text(self, data: bytes | None, **options: int) -> bool:
        if data is None or not _may_contain(data, self.text):
            return False
        shown = payload_as_text(data, **options)
        return shown is not None and self.text in _casefold(shown["text"])

    def _headers_contain_text(self, headers: Sequence[tuple[str, bytes | None]]) -> bool:
        if not any(
            self.text in _casefold(name) or (value is not None and _may_contain(value, self.text))
            for name, value in headers
        ):
            return False
        shown = headers_as_text(headers)
        return any(self.text in _casefold(name) or self.text in _casefold(value or "") for name, value in shown)


def _may_contain(data: bytes, wanted: str) -> bool:
    """False if the bytes, shown as text, certainly do not contain this folded text."""
    if b"\\" in data or _CONVERTED.search(wanted):
        return True
    try:
        text = data[:PARSED_BYTES].decode(errors="strict" if len(data) <= PARSED_BYTES else "ignore")
    except UnicodeDecodeError:
        return True
    folded = _casefold(escape_multiline_text(text))
    if wanted in folded or _EXPONENT.search(folded):
        return True
    return bool(_DIGIT.search(wanted) and _FRACTION.search(folded))


def _remove_spaces(text: str) -> str:
    return "".join(text.split())


def _casefold(text: str) -> str:
    return _remove_spaces(text).casefold()
