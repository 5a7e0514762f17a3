"""`CloudEvent`: the attributes of an event. They are checked here, in whatever mode it was written."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

SPECVERSION = "1.0"
REQUIRED = ("id", "source", "specversion", "type")
STRINGS = frozenset({*REQUIRED, "subject", "time", "datacontenttype", "dataschema"})
"""Attributes whose values are strings; those of extensions may also be numbers or booleans."""
HEADER_PREFIX = "ce_"
TYPE_HEADER = HEADER_PREFIX + "type"
CONTENT_TYPE = "content-type"
STRUCTURED = "application/cloudevents"
STRUCTURED_JSON = f"{STRUCTURED}+json; charset=UTF-8"
TRACE_ATTRIBUTES = ("traceparent", "tracestate")
"""Attributes of the extension "Distributed Tracing". The trace context's headers have the same names."""

AttributeValue = str | int | bool

_VERSION = re.compile(r"\d{1,3}(\.\d{1,3}){0,2}")


class EventFault(ValueError):
    """A record is not a valid CloudEvent. The text may be shown: it contains nothing of the event's data."""


@dataclass(frozen=True, slots=True)
class CloudEvent:
    """The attributes of a CloudEvent, without its data, as `request.cloudevent` has them.

    Attributes:
        id: with `source`, identifies the event: an event that is sent twice has the same.
        source: where it happened, a URI reference.
        type: the event type, which chooses the endpoint.
        specversion: always "1.0".
        subject: what it is about, in its source.
        time: when it happened.
        datacontenttype: the media type of the data; None means JSON.
        dataschema: a URI of the data's schema.
        extensions: all further attributes. In binary mode their values are str. `partitionkey` is the record's key,
            if the event does not say otherwise and the key is text.
    """

    id: str
    source: str
    type: str
    specversion: str = SPECVERSION
    subject: str | None = None
    time: datetime | None = None
    datacontenttype: str | None = None
    dataschema: str | None = None
    extensions: Mapping[str, AttributeValue] = field(default_factory=dict)


def event_from_attributes(attributes: dict[str, AttributeValue]) -> CloudEvent:
    """The event with these attributes. The dictionary is used up.

    Raises:
        EventFault: a required one is missing, the specversion is unknown, or one has an invalid value.
    """
    take: Callable[[str, None], Any] = attributes.pop
    identity, source = take("id", None), take("source", None)
    version, kind = take("specversion", None), take("type", None)
    if not (identity and source and version and kind):
        found = (identity, source, version, kind)
        missing = [name for name, value in zip(REQUIRED, found, strict=True) if not value]
        raise EventFault(f"{_join_attribute_names(missing)} {'is' if len(missing) == 1 else 'are'} missing")
    if version != SPECVERSION:
        shown = repr(version) if isinstance(version, str) and _VERSION.fullmatch(version) else "of the event"
        raise EventFault(f"specversion {shown} is not supported: EVKafka reads {SPECVERSION}")
    time = take("time", None)
    return CloudEvent(
        identity,
        source,
        kind,
        version,
        take("subject", None),
        None if time is None else parse_time(time),
        take("datacontenttype", None),
        take("dataschema", None),
        attributes,
    )


def parse_time(text: str) -> datetime:
    """Raises EventFault if it is not a timestamp of RFC 3339."""
    try:
        time = datetime.fromisoformat(text.upper())
    except ValueError:
        time = None
    if time is None or time.tzinfo is None or text[10:11] not in ("T", "t", " "):
        raise EventFault("attribute time is not an RFC 3339 timestamp, such as 2026-05-01T12:00:00Z")
    return time


def is_valid_utf8(value: bytes) -> bool:
    """Whether it is valid UTF-8."""
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True


def is_content_type_header(header: str) -> bool:
    """Whether a header of this name has the media type. Some producers write `Content-Type`."""
    return header.lower() == CONTENT_TYPE


def is_structured_content_type(content_type: bytes) -> bool:
    """Whether a record with this header `content-type` has the whole event as its value."""
    return content_type[: len(STRUCTURED)].lower() == STRUCTURED.encode()


def content_type_values(headers: Sequence[tuple[str, bytes | None]]) -> list[bytes]:
    """The values of the headers with the media type. Readers take the first."""
    return [text for name, text in headers if is_content_type_header(name) and text is not None]


def has_structured_content_type(headers: Sequence[tuple[str, bytes | None]]) -> bool:
    """Whether a record with these headers has the whole event as its value."""
    return any(map(is_structured_content_type, content_type_values(headers)))


def is_json(datacontenttype: str | None) -> bool:
    """Whether data of this media type is JSON. It is without a media type."""
    if datacontenttype is None:
        return True
    media = datacontenttype.partition(";")[0].strip().lower()
    return media.endswith(("/json", "+json"))


def _join_attribute_names(names: list[str]) -> str:
    *others, last = names
    return f"required attribute{'s' if others else ''} {', '.join(others)}{' and ' if others else ''}{last}"
