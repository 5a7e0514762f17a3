"""What a request for records asks: which topic, from where, and which of the records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from evkafka.http.security import RequestRefused
from evkafka.kafka.admin.log_pages import After, Before, FromOffset, FromTime, Newest, Start
from evkafka.ui.record_filter import QUERY_CHARACTERS, RecordFilter
from evkafka.ui.request_fields import LONGEST, PARTITION_MAX, number_parameter

RECORDS_DEFAULT = 50
RECORDS_MAX = 100
PARTITIONS_MAX = 200
"""Most partitions that are merged."""


@dataclass(frozen=True, slots=True)
class RecordQuery:
    """
    Attributes:
        partition: None for all partitions.
        limit: most records of the answer.
    """

    topic: str
    partition: int | None
    start: Start
    filter: RecordFilter
    limit: int


def parse_record_query(parameters: Mapping[str, str]) -> RecordQuery:
    """
    Raises:
        RequestRefused: a parameter is not valid.
    """
    partition = parameters.get("partition", "")
    return RecordQuery(
        topic=parameters.get("topic", ""),
        partition=None if partition == "all" else number_parameter(parameters, "partition", PARTITION_MAX),
        start=_parse_start(parameters),
        filter=RecordFilter.from_texts(_read_search_text(parameters, "key"), _read_search_text(parameters, "q")),
        limit=max(1, min(number_parameter(parameters, "limit", LONGEST) or RECORDS_DEFAULT, RECORDS_MAX)),
    )


def _parse_start(parameters: Mapping[str, str]) -> Start:
    if cursor := parameters.get("cursor"):
        return _parse_cursor(cursor)
    if (offset := number_parameter(parameters, "offset", LONGEST)) is not None:
        return FromOffset(offset)
    if (at_ms := number_parameter(parameters, "at_ms", LONGEST)) is not None:
        return FromTime(at_ms)
    return Newest()


def _read_search_text(parameters: Mapping[str, str], name: str) -> str:
    text = parameters.get(name, "")
    if len(text) > QUERY_CHARACTERS:
        raise RequestRefused(400, f"{name} has {len(text)} characters; the most is {QUERY_CHARACTERS}")
    return text


def format_cursor(direction: str, offsets: Mapping[int, int]) -> str:
    """A cursor as a parameter: `after:0-120,1-40` continues after these offsets."""
    return f"{direction}:" + ",".join(f"{partition}-{offset}" for partition, offset in offsets.items())


def _parse_cursor(text: str) -> Before | After:
    direction, _, places = text.partition(":")
    pairs = [place.partition("-") for place in places.split(",", PARTITIONS_MAX)]
    valid = all(_is_number(partition) and _is_number(offset) for partition, _, offset in pairs)
    if not valid or direction not in ("before", "after"):
        raise RequestRefused(400, "cursor must be one that an answer has returned")
    offsets = {int(partition): int(offset) for partition, _, offset in pairs}
    return Before(offsets) if direction == "before" else After(offsets)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < len(str(LONGEST))
