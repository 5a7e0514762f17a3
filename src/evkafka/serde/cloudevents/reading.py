"""Takes the CloudEvent out of a record: the result is a record with the event's data as its value."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Sequence

from evkafka.exceptions import DecodeError
from evkafka.records import Record
from evkafka.serde.cloudevents.event import (
    CONTENT_TYPE,
    HEADER_PREFIX,
    STRINGS,
    STRUCTURED,
    TRACE_ATTRIBUTES,
    AttributeValue,
    CloudEvent,
    EventFault,
    event_from_attributes,
    has_structured_content_type,
    is_content_type_header,
    is_json,
    is_structured_content_type,
    is_valid_utf8,
)

Headers = tuple[tuple[str, bytes | None], ...]

_PREFIX_LENGTH = len(HEADER_PREFIX)
_PARTITION_KEY = "partitionkey"
_SPACE = re.compile(r"[ \t\r\n]*")
_JSON = json.JSONDecoder()


class EventRecord:
    """A record as an endpoint sees it: its value is the event's data, and its event type the event's type.

    Attributes:
        value: the data; None if the event has none.
        key: the record's key; without one, the event's attribute `partitionkey`.
        headers: the record's, with the event's type in the type header, and its trace context.
        cloudevent: the event's attributes.
    """

    __slots__ = ("cloudevent", "headers", "key", "offset", "partition", "timestamp", "topic", "value")

    def __init__(
        self, record: Record, cloudevent: CloudEvent, value: bytes | None, key: bytes | None, headers: Headers
    ) -> None:
        self.topic = record.topic
        self.partition = record.partition
        self.offset = record.offset
        self.timestamp = record.timestamp
        self.cloudevent = cloudevent
        self.value = value
        self.key = key
        self.headers = headers


def read_event(record: Record, type_header: str) -> EventRecord:
    """The event in a record.

    Args:
        type_header: the header that gets the event's type.

    Raises:
        DecodeError: the record is not a valid CloudEvent; the text says why.
    """
    try:
        event, data = _event_and_data(record)
        return EventRecord(
            record,
            event,
            data,
            _key_or_partition_key(record, event),
            _headers_with_event_type_and_trace(record, event, type_header),
        )
    except EventFault as error:
        fault = DecodeError(
            f"the record {record.topic}[{record.partition}]@{record.offset} is not a CloudEvent: {error}",
            topic=record.topic,
            partition=record.partition,
            offset=record.offset,
            event_type=None,
        )
    raise fault  # outside of the `except`: the error of a parser, which has the value, is not its context


def _event_and_data(record: Record) -> tuple[CloudEvent, bytes | None]:
    attributes: dict[str, AttributeValue] = {}
    content_type: bytes | None = None
    name = ""
    try:
        for name, value in record.headers:
            if value is None:
                continue
            if name[:_PREFIX_LENGTH] == HEADER_PREFIX:
                attributes.setdefault(name[_PREFIX_LENGTH:], value.decode())
            elif content_type is None and is_content_type_header(name):
                if is_structured_content_type(value):
                    _check_structured_format(value[len(STRUCTURED) :])
                    return _read_structured(record.value, record.key)
                content_type = value
                name = CONTENT_TYPE
                attributes["datacontenttype"] = value.decode()
    except UnicodeDecodeError as error:
        raise EventFault(f"the header {name} is not valid UTF-8 (byte {error.start})") from None
    _set_default_partition_key(attributes, record.key)
    return event_from_attributes(attributes), record.value


def _set_default_partition_key(attributes: dict[str, AttributeValue], key: bytes | None) -> None:
    """The record's key is the partition key of an event without one, if it is text."""
    if key is not None and _PARTITION_KEY not in attributes and is_valid_utf8(key):
        attributes[_PARTITION_KEY] = key.decode()


def event_data_or_value(value: bytes | None, headers: Sequence[tuple[str, bytes | None]]) -> bytes | None:
    """The data of a CloudEvent in structured mode; of any other record, the value."""
    if not has_structured_content_type(headers):
        return value
    try:
        return _read_structured(value, None)[1]
    except EventFault:
        return value


def structured_event_type(record: Record) -> str | None:
    """The type of a CloudEvent in structured mode; None for any other record. It is not in a header."""
    if not has_structured_content_type(record.headers):
        return None
    try:
        return _event_and_data(record)[0].type
    except EventFault:
        return None


def _key_or_partition_key(record: Record, event: CloudEvent) -> bytes | None:
    if record.key is not None or _PARTITION_KEY not in event.extensions:
        return record.key
    return str(event.extensions[_PARTITION_KEY]).encode(errors="replace")


def _headers_with_event_type_and_trace(record: Record, event: CloudEvent, type_header: str) -> Headers:
    kept = [pair for pair in record.headers if pair[0] != type_header]
    headers = [(type_header, event.type.encode(errors="surrogatepass")), *kept]
    for name in TRACE_ATTRIBUTES:
        if name in event.extensions and all(header != name for header, _ in kept):
            # Otherwise the record has the trace of the send, which is nearer than that of the event.
            headers.append((name, str(event.extensions[name]).encode(errors="replace")))  # noqa: PERF401
    return tuple(headers)


# ---------------------------------------------------------------------------- structured mode


def _check_structured_format(rest: bytes) -> None:
    """Check what follows `application/cloudevents` in the media type.

    Raises:
        EventFault: it is the batch mode, or a format other than JSON.
    """
    kind = rest.partition(b";")[0].strip().lower()
    if kind.startswith(b"-batch"):
        raise EventFault(
            "it is a batch of events (application/cloudevents-batch), which the Kafka binding of CloudEvents does not"
            " have: send each event as a record"
        )
    if kind not in (b"", b"+json"):
        raise EventFault(
            "its structured format is not JSON: EVKafka reads application/cloudevents+json, and the binary mode"
        )


def _read_structured(value: bytes | None, key: bytes | None) -> tuple[CloudEvent, bytes | None]:
    if value is None:
        raise EventFault("it has no value, but in structured mode the event is the value")
    try:
        members = _parse_json_members(value.decode())
    except UnicodeDecodeError as error:
        raise EventFault(f"its value is not valid UTF-8 (byte {error.start})") from None
    except json.JSONDecodeError as error:
        raise EventFault(f"its value is not valid JSON: {error.msg} at character {error.pos}") from None
    except ValueError:  # a number that is too long for Python
        raise EventFault("its value is not valid JSON") from None
    except RecursionError:
        raise EventFault("its value is nested too deeply") from None
    data, encoded = members.pop("data", None), members.pop("data_base64", None)
    attributes = {name: _check_attribute_type(name, value) for name, (value, _) in members.items() if value is not None}
    _set_default_partition_key(attributes, key)
    event = event_from_attributes(attributes)
    if encoded is not None and encoded[0] is not None:
        if data is not None:
            raise EventFault("it has both data and data_base64")
        return event, _decode_base64(encoded[0])
    return event, None if data is None else _encode_data(data, event)


def _parse_json_members(text: str) -> dict[str, tuple[object, str]]:
    """The members of a JSON object: each one's value, and its text, so that the data stays as it was written.

    Raises:
        json.JSONDecodeError, RecursionError: it is not an object.
    """
    members: dict[str, tuple[object, str]] = {}
    position = _skip_character(text, 0, "{")
    if text[position : position + 1] == "}":
        return _require_end(text, position, members)
    while True:
        if text[position : position + 1] != '"':
            raise json.JSONDecodeError("Expecting a name in double quotes", text, position)
        name, position = _JSON.raw_decode(text, position)
        start = _skip_character(text, position, ":")
        value, end = _JSON.raw_decode(text, start)
        members[name] = value, text[start:end]
        position = _skip_spaces(text, end)
        if text[position : position + 1] == "}":
            return _require_end(text, position, members)
        position = _skip_character(text, position, ",")


def _require_end(text: str, position: int, members: dict[str, tuple[object, str]]) -> dict[str, tuple[object, str]]:
    if _skip_spaces(text, position + 1) != len(text):
        raise json.JSONDecodeError("Extra data", text, position + 1)
    return members


def _skip_character(text: str, position: int, character: str) -> int:
    """The position after this character, and the spaces around it."""
    position = _skip_spaces(text, position)
    if text[position : position + 1] != character:
        raise json.JSONDecodeError(f"Expecting '{character}'", text, position)
    return _skip_spaces(text, position + 1)


def _skip_spaces(text: str, position: int) -> int:
    found = _SPACE.match(text, position)
    return found.end() if found is not None else position


def _check_attribute_type(name: str, value: object) -> AttributeValue:
    if name in STRINGS and not isinstance(value, str):
        raise EventFault(f"attribute {name} must be a string")
    if not isinstance(value, str | int):
        raise EventFault(f"attribute {name if name.isalnum() else '*'} must be a string, a number or a boolean")
    return value


def _encode_data(data: tuple[object, str], event: CloudEvent) -> bytes:
    """The data's bytes: the JSON as it was written; of other media types, the text in the JSON string."""
    value, text = data
    if isinstance(value, str) and not is_json(event.datacontenttype):
        text = value
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise EventFault("its data is not valid Unicode") from None


def _decode_base64(text: object) -> bytes:
    try:
        return base64.b64decode(text if isinstance(text, str) else "?", validate=True)
    except (binascii.Error, ValueError):
        raise EventFault("data_base64 is not valid base64") from None
