"""Puts CloudEvents into records.

A send first gets the headers of the binary mode (`headers`), then tracing adds its own, and `wrap` gives the record the
mode that was asked for.
"""

from __future__ import annotations

import base64
import json
import re
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal, get_args

from evkafka.serde.cloudevents.event import (
    CONTENT_TYPE,
    HEADER_PREFIX,
    REQUIRED,
    SPECVERSION,
    STRUCTURED,
    STRUCTURED_JSON,
    TRACE_ATTRIBUTES,
    content_type_values,
    has_structured_content_type,
    is_content_type_header,
    is_json,
    is_structured_content_type,
    is_valid_utf8,
    parse_time,
)

Mode = Literal["binary", "structured"]
MODES: tuple[Mode, ...] = get_args(Mode)
Pairs = list[tuple[str, bytes | None]]

SCHEMA_MARK = b"\0"
"""Begins a value that has the id of its schema in front of its JSON. JSON never begins with it."""

PARTITION_KEY = HEADER_PREFIX + "partitionkey"

_NAME = re.compile(r"[a-z0-9]+")
_RESERVED = ("data", "data_base64", "datacontenttype")
_EPOCH = datetime.fromtimestamp(0, UTC)


@dataclass(frozen=True, slots=True)
class CloudEventsEnvelope:
    """How the events of a sender become CloudEvents.

    Attributes:
        source: the attribute `source` of its events.
    """

    source: str
    mode: Mode = "binary"

    def key_and_headers(
        self,
        given: Pairs,
        *,
        event_type: str,
        key: bytes | None,
        value: bytes | None,
        content_type: str,
        now_ms: int,
    ) -> tuple[bytes | None, Pairs]:
        """The record's key and headers, in binary mode.

        Args:
            given: the headers of the send: those that begin with `ce_` are attributes.
            value: the data; None if there is none.
            content_type: the media type of the data, unless `given` has one.

        Raises:
            ValueError: an attribute has an invalid name or value, or the data is not of the given media type.
        """
        attributes = self._encode_attributes(given, event_type)
        attributes.setdefault(HEADER_PREFIX + "time", _format_time(now_ms).encode())
        if key is None:
            key = attributes.get(PARTITION_KEY)
        elif PARTITION_KEY not in attributes and is_valid_utf8(key):
            attributes[PARTITION_KEY] = key
        others: Pairs = [(name, value) for name, value in given if not name.startswith(HEADER_PREFIX)]
        self._check_content_types(others)
        if value is not None:
            self._add_content_type(others, value, content_type)
        return key, [*attributes.items(), *others]

    def _check_content_types(self, headers: Pairs) -> None:
        for text in content_type_values(headers):
            if not is_valid_utf8(text):
                raise ValueError(f"the header {CONTENT_TYPE} is not valid UTF-8")
            if self.mode == "binary" and is_structured_content_type(text):
                raise ValueError(
                    f"the header {CONTENT_TYPE} begins with {STRUCTURED}, which marks the structured mode, but this"
                    " sender writes the binary mode: leave the header out, give it the media type of the data, or"
                    ' create the Sender with mode="structured"'
                )

    def _add_content_type(self, headers: Pairs, value: bytes, content_type: str) -> None:
        own = next(iter(content_type_values(headers)), None)
        if own is None:
            headers.append((CONTENT_TYPE, content_type.encode()))
        elif self.mode == "structured" and is_json(own.decode()) and not is_json(content_type):
            try:
                json.loads(value)
            except (ValueError, RecursionError) as error:
                raise ValueError(f"the header {CONTENT_TYPE} says JSON, but the payload is not JSON") from error

    def _encode_attributes(self, given: Pairs, event_type: str) -> dict[str, bytes]:
        own = {name[len(HEADER_PREFIX) :]: value for name, value in given if name.startswith(HEADER_PREFIX)}
        attributes = {
            "specversion": SPECVERSION.encode(),
            "id": str(uuid.uuid4()).encode(),
            "source": self.source.encode(),
            "type": event_type.encode(),
        }
        for name, value in own.items():
            _check_attribute(name, value, event_type)
            if value is not None:
                attributes[name] = value
        return {HEADER_PREFIX + name: value for name, value in attributes.items()}

    def wrap(self, value: bytes | None, headers: Pairs) -> tuple[bytes | None, Pairs]:
        """Value and headers of the record in this mode. The trace context in the headers becomes attributes."""
        names = {name for name, _ in headers}
        traced = [
            (HEADER_PREFIX + name, text)
            for name, text in headers
            if name in TRACE_ATTRIBUTES and HEADER_PREFIX + name not in names
        ]
        return (value, [*headers, *traced]) if self.mode == "binary" else _encode_structured(value, [*headers, *traced])


def add_missing_specversion_id_and_source(headers: Pairs, *, source: str) -> Pairs:
    """The headers with the required attributes that they lack, except the type, unless they are of the structured
    mode."""
    names = {name for name, _ in headers}
    if has_structured_content_type(headers):
        return headers
    defaults = {"specversion": SPECVERSION, "id": str(uuid.uuid4()), "source": source}
    missing = [name for name in defaults if HEADER_PREFIX + name not in names]
    return [*headers, *((HEADER_PREFIX + name, defaults[name].encode()) for name in missing)]


def _encode_structured(value: bytes | None, headers: Pairs) -> tuple[bytes, Pairs]:
    """The event as a JSON object, without headers of the binary mode: some readers recognize the mode by them."""
    content_type = next((text.decode() for text in content_type_values(headers)), None)
    attributes: dict[str, str] = {}
    others: Pairs = [(CONTENT_TYPE, STRUCTURED_JSON.encode())]
    for name, text in headers:
        if is_content_type_header(name):
            continue
        if not name.startswith(HEADER_PREFIX):
            others.append((name, text))
        elif text is not None:
            attributes[name[len(HEADER_PREFIX) :]] = text.decode()
    if value is not None and content_type is not None:
        attributes["datacontenttype"] = content_type
    envelope = json.dumps(attributes, ensure_ascii=False, separators=(",", ":")).encode()
    return (envelope if value is None else envelope[:-1] + _data_member(value, content_type) + b"}"), others


def _data_member(value: bytes, content_type: str | None) -> bytes:
    """The data as a member of the JSON object: JSON as it is, text as a string, anything else in base64."""
    if is_json(content_type) and not value.startswith(SCHEMA_MARK):
        return b',"data":' + value
    if content_type is not None and content_type.lower().startswith("text/") and is_valid_utf8(value):
        return b',"data":' + json.dumps(value.decode(), ensure_ascii=False).encode()
    return b',"data_base64":"' + base64.b64encode(value) + b'"'


def _check_attribute(name: str, value: bytes | None, event_type: str) -> None:
    header = HEADER_PREFIX + name
    if not _NAME.fullmatch(name):
        raise ValueError(f"the header {header!r} cannot be an attribute: a name has lower-case letters and digits only")
    if name in _RESERVED:
        raise ValueError(f"the header {header} is reserved; the data's media type is the header {CONTENT_TYPE}")
    if name in REQUIRED and not value:
        raise ValueError(f"the header {header} is empty, but the attribute is required")
    if value is None:
        return
    if not is_valid_utf8(value):
        raise ValueError(f"the header {header} is not valid UTF-8")
    match name:
        case "specversion" if value.decode() != SPECVERSION:
            raise ValueError(f"the header {header} must be {SPECVERSION}")
        case "type" if value.decode() != event_type:
            raise ValueError(f"the header {header} is not the event type {event_type!r}; leave it out")
        case "time":
            parse_time(value.decode())


def _format_time(ms: int) -> str:
    return (_EPOCH + timedelta(milliseconds=ms)).isoformat(timespec="milliseconds").replace("+00:00", "Z")
