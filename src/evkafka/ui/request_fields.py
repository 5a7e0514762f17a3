"""Reads request bodies and query parameters of the page's API, and refuses those that are not valid."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from starlette.requests import ClientDisconnect, Request

from evkafka.dlq import DeadLetterFilter, DeadLetterPosition
from evkafka.dlq.dead_letter import OffsetRanges
from evkafka.dlq.state_topic import Status
from evkafka.http.security import RequestRefused
from evkafka.serde.safe_text import NAME_CHARACTERS, escape_line
from evkafka.ui.dead_letter_list import ROWS_MAX, ListQuery
from evkafka.ui.offset_ranges import parse_ranges
from evkafka.ui.payload_text import error_message_as_text

BODY_BYTES = 64 * 1024
DEAD_LETTERS_MAX = 1000
STATUSES: Mapping[str, Status | None] = {"open": "open", "replayed": "replayed", "dropped": "dropped", "all": None}

LONGEST = 2**63 - 1
"""The largest offset and time: the Kafka protocol has 64 bits for them."""

PARTITION_MAX = 2**31 - 1


async def read_body_bytes(request: Request, max_bytes: int) -> bytes:
    """
    Raises:
        RequestRefused: the body is too long, or the client disconnected.
    """
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > max_bytes:
                raise RequestRefused(413, f"the body of the request is longer than {max_bytes} bytes")
    except ClientDisconnect:
        raise RequestRefused(408, "the request ended before its body was complete") from None
    return bytes(body)


async def read_json_object(request: Request) -> Mapping[str, Any]:
    """The fields of a JSON body. They are also kept in `request.state.order` for the audit log.

    Raises:
        RequestRefused: the body is not a JSON object.
    """
    body = await read_body_bytes(request, BODY_BYTES) or b"null"
    try:
        fields = json.loads(body, parse_constant=_refuse_constant, parse_float=str)
    except (ValueError, RecursionError) as error:
        raise RequestRefused(400, f"the body is not JSON: {error}") from None
    if not isinstance(fields, dict):
        raise RequestRefused(400, "the body is not a JSON object")
    request.state.order = {name: value for name, value in fields.items() if name != "token"}
    return fields


def _refuse_constant(text: str) -> object:
    raise ValueError(f"{text} is not a number in JSON")


# The functions below raise RequestRefused if the field is missing or not valid.


def text_field(fields: Mapping[str, Any], name: str) -> str:
    value = fields.get(name)
    if not isinstance(value, str) or not value:
        raise RequestRefused(400, f"{name} is missing")
    return value


def number_field(fields: Mapping[str, Any], name: str, largest: int) -> int:
    value = fields.get(name)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= largest:
        shown = escape_line(repr(value), NAME_CHARACTERS)
        raise RequestRefused(400, f"{name} must be a whole number from 0 to {largest}, not {shown}")
    return value


def topic_and_partition_fields(fields: Mapping[str, Any]) -> tuple[str, int]:
    return text_field(fields, "topic"), number_field(fields, "partition", PARTITION_MAX)


def read_dead_letter_filter(fields: Mapping[str, Any]) -> DeadLetterFilter:
    """The selected dead letters.

    By `filter`, all that match it; by `places`, each of one dead letter; or by `ids`, each of one record.
    """
    if "filter" in fields:
        chosen = fields["filter"]
        if not isinstance(chosen, dict) or not all(isinstance(value, str) for value in chosen.values()):
            raise RequestRefused(400, "filter must be an object of texts: q, event_type, error and within")
        if not chosen.get("within"):
            raise RequestRefused(400, "filter needs `within` from a list: it selects nothing newer than that list")
        return _create_dead_letter_filter(chosen)
    if "places" not in fields:
        return DeadLetterFilter(ids=frozenset(_text_list_field(fields, "ids")))
    try:
        return DeadLetterFilter(positions=frozenset(map(DeadLetterPosition.parse, _text_list_field(fields, "places"))))
    except ValueError as error:
        raise RequestRefused(400, str(error)) from None


def read_list_query(query: Mapping[str, str]) -> ListQuery:
    """Which dead letters are to be listed."""
    status = query.get("status") or ("all" if query.get("closed") or query.get("at") else "open")
    if status not in STATUSES:
        raise RequestRefused(400, f"status must be one of {', '.join(STATUSES)}, not {status[:50]!r}")
    limit = number_parameter(query, "limit", LONGEST)
    return ListQuery(
        wanted=_create_dead_letter_filter(query),
        before=_parse_ranges(query.get("before")),
        status=STATUSES[status],
        skip=number_parameter(query, "skip", LONGEST) or 0,
        limit=ROWS_MAX if limit is None else max(1, min(limit, ROWS_MAX)),
    )


def _create_dead_letter_filter(texts: Mapping[str, str]) -> DeadLetterFilter:
    event_type, at = texts.get("event_type"), texts.get("at")
    try:
        positions = (DeadLetterPosition.parse(at),) if at else ()
    except ValueError as error:
        raise RequestRefused(400, str(error)) from None
    return DeadLetterFilter(
        event_types=(event_type,) if event_type else (),
        error=texts.get("error") or None,
        containing=texts.get("q", ""),
        positions=positions,
        within=_parse_ranges(texts.get("within")),
        shown_message=error_message_as_text,
    )


def _parse_ranges(text: str | None) -> OffsetRanges | None:
    try:
        return parse_ranges(text) if text else None
    except ValueError as error:
        raise RequestRefused(400, str(error)) from None


def _text_list_field(fields: Mapping[str, Any], name: str) -> list[str]:
    texts = fields.get(name)
    if not isinstance(texts, list) or not texts or not all(isinstance(text, str) for text in texts):
        raise RequestRefused(400, f"{name} must be a list of {name} of dead letters, and not empty")
    if len(texts) > DEAD_LETTERS_MAX:
        raise RequestRefused(400, f"at most {DEAD_LETTERS_MAX} {name} at once; a filter selects any number")
    return texts


def number_parameter(query: Mapping[str, str], name: str, largest: int) -> int | None:
    """A number in the query string; None if it is not there."""
    value = query.get(name)
    if value is None or value == "":
        return None
    try:
        number = int(value)
    except ValueError:
        raise RequestRefused(400, f"{name} must be a whole number, not {value[:50]!r}") from None
    if not 0 <= number <= largest:
        raise RequestRefused(400, f"{name} must be a whole number from 0 to {largest}, not {value[:50]!r}")
    return number
