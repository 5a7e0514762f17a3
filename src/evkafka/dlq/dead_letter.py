"""One dead letter: the record, and the failure that its headers describe, in our style or Spring's. No I/O."""

from __future__ import annotations

import struct
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import NamedTuple

from evkafka.records import Record, first_header
from evkafka.runtime.dead_letters.headers import PREFIX, SPRING, UNREADABLE, Headers
from evkafka.runtime.ports import UnreadRecord
from evkafka.serde.safe_text import timestamp_to_datetime

OffsetRanges = Mapping[int, range]
"""Offsets of a topic, by partition."""

POSITIONS_MAX = 100_000
"""Most positions of one range."""

UNKNOWN_TIME = datetime.fromtimestamp(0, UTC)
"""Used if neither the headers nor the record have a valid time."""

_SPRING_NAMES = {
    "topic": f"{SPRING}original-topic",
    "partition": f"{SPRING}original-partition",
    "offset": f"{SPRING}original-offset",
    "timestamp": f"{SPRING}original-timestamp",
    "group": f"{SPRING}original-consumer-group",
    "error-type": f"{SPRING}exception-fqcn",
    "error-message": f"{SPRING}exception-message",
    "error-traceback": f"{SPRING}exception-stacktrace",
}


class DeadLetterPosition(NamedTuple):
    """Partition and offset in the dead-letter topic."""

    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.partition}@{self.offset}"

    @classmethod
    def parse(cls, text: str) -> DeadLetterPosition:
        """Parse PARTITION@OFFSET.

        Raises:
            ValueError: the text has another form.
        """
        partition, sign, offset = text.partition("@")
        if not (sign and partition.isdecimal() and offset.isdecimal()):
            raise ValueError(
                f"{text[:50]!r} is not the address of a dead letter: give PARTITION@OFFSET, for example 0@17"
            )
        return cls(int(partition), int(offset))

    @classmethod
    def parse_range(cls, text: str) -> list[DeadLetterPosition]:
        """Parse PARTITION@OFFSET, or PARTITION@FIRST-LAST for all offsets from the first to the last.

        Raises:
            ValueError: the text has another form, or names more than `POSITIONS_MAX` offsets.
        """
        first_text, dash, last = text.partition("-")
        first = cls.parse(first_text)
        if not dash:
            return [first]
        if not last.isdecimal() or int(last) < first.offset:
            raise ValueError(
                f"{text[:50]!r} is not a range of addresses: give PARTITION@FIRST-LAST, for example 0@17-41"
            )
        if int(last) - first.offset >= POSITIONS_MAX:
            raise ValueError(f"{text[:50]!r} names more than {POSITIONS_MAX} offsets; a filter selects any number")
        return [cls(first.partition, offset) for offset in range(first.offset, int(last) + 1)]


@dataclass(frozen=True, slots=True)
class DeadLetterRecord:
    """One dead letter.

    Attributes:
        record: the record of the dead-letter topic.
        id: identifies the record that failed first, by group, cluster, topic with its id, partition and offset. A dead
            letter without the header gets its own address as id. Several dead letters have the same id if the record
            failed again after a replay.
        topic, partition, offset, timestamp_ms, group: where the record failed first; None if the headers do not say.
        failed_at: when the record failed last; the time of the dead letter if the headers do not say.
        replays: how often the record had been replayed when it failed.
        unreadable: True if the client could not read the record that failed, so the dead letter has no content; or if
            the client cannot read the dead letter.
    """

    record: Record
    id: str
    topic: str | None
    partition: int | None
    offset: int | None
    timestamp_ms: int | None
    group: str | None
    event_type: str | None
    attempts: int | None
    error_type: str
    error_message: str
    traceback: str
    failed_at: datetime
    replays: int
    unreadable: bool = False

    @property
    def position(self) -> DeadLetterPosition:
        """The position in the dead-letter topic. It identifies one dead letter, which `id` does not."""
        return DeadLetterPosition(self.record.partition, self.record.offset)

    def copy_without_content(self) -> DeadLetterRecord:
        """A copy for long lists: without key, value, headers and traceback."""
        record = self.record
        address = RecordCopy(record.topic, record.partition, record.offset, record.timestamp)
        return replace(self, record=address, traceback="")


@dataclass(frozen=True, slots=True)
class RecordCopy:
    """A record of which some parts are left out, or replaced."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None = None
    value: bytes | None = None
    headers: Sequence[tuple[str, bytes | None]] = ()


def original_record(
    dead_letter: DeadLetterRecord, record: Record, headers: Sequence[tuple[str, bytes | None]]
) -> RecordCopy:
    """A record with these headers and the address at which it failed first, as far as its dead letter says. Key and
    value are those of `record`: of the dead letter, or of the event in it."""
    return RecordCopy(
        dead_letter.topic or record.topic,
        record.partition if dead_letter.partition is None else dead_letter.partition,
        record.offset if dead_letter.offset is None else dead_letter.offset,
        record.timestamp if dead_letter.timestamp_ms is None else dead_letter.timestamp_ms,
        record.key,
        record.value,
        headers,
    )


def read_dead_letter(record: Record, *, type_header: str = "Event-Type") -> DeadLetterRecord:
    """Read the headers, in our style or Spring's. Headers that cannot be parsed are ignored.

    If the record has our headers, Spring's are ignored: they belong to the record that failed.
    """
    headers = {name: value for name, value in reversed(record.headers) if value is not None}
    read_error = record.error if isinstance(record, UnreadRecord) else None
    if not _has_spring_style(record):
        headers = {name: value for name, value in headers.items() if not name.startswith(SPRING)}

    def text(name: str) -> str | None:
        value = headers.get(PREFIX + name, headers.get(_SPRING_NAMES.get(name, "")))
        return None if value is None else value.decode(errors="replace")

    failed_at = _parse_time(text("failed-at")) or timestamp_to_datetime(record.timestamp) or UNKNOWN_TIME
    own_type = first_header(record, type_header)
    return DeadLetterRecord(
        record=record,
        id=text("id") or f"{record.topic}/{record.partition}/{record.offset}",
        topic=text("topic"),
        partition=_parse_number(headers, "partition"),
        offset=_parse_number(headers, "offset"),
        timestamp_ms=_parse_number(headers, "timestamp"),
        group=text("group"),
        event_type=text("event-type") or (own_type.decode(errors="replace") if own_type is not None else None),
        attempts=_parse_number(headers, "attempts"),
        error_type=type(read_error).__name__ if read_error is not None else text("error-type") or "",
        error_message=str(record) if read_error is not None else text("error-message") or "",
        traceback=text("error-traceback") or "",
        failed_at=failed_at,
        replays=_parse_number(headers, "replays") or 0,
        unreadable=read_error is not None or UNREADABLE in headers,
    )


def replayed_headers(dead_letter: DeadLetterRecord) -> Headers:
    """Headers of the replayed record: its own ones, its origin and id, and the new number of replays.

    The headers about the failure are removed: if the record fails again, the next dead letter has its own.
    """
    removed = (PREFIX, f"{SPRING}exception-") if _has_spring_style(dead_letter.record) else (PREFIX,)
    own = [(name, value) for name, value in dead_letter.record.headers if not name.startswith(removed)]
    origin = {
        "topic": dead_letter.topic,
        "partition": dead_letter.partition,
        "offset": dead_letter.offset,
        "timestamp": dead_letter.timestamp_ms,
        "group": dead_letter.group,
        "id": dead_letter.id,
        "replays": dead_letter.replays + 1,
    }
    return [*own, *((PREFIX + name, str(value).encode()) for name, value in origin.items() if value is not None)]


def _has_spring_style(record: Record) -> bool:
    return all(name != f"{PREFIX}topic" for name, _ in record.headers)


def _parse_number(headers: Mapping[str, bytes], name: str) -> int | None:
    """Our headers have decimal digits, Spring's big-endian binary."""
    try:
        if (ours := headers.get(PREFIX + name)) is not None:
            return int(ours)
        springs = headers.get(_SPRING_NAMES.get(name, ""))
        if springs is not None:
            return int(struct.unpack(">i" if len(springs) == 4 else ">q", springs)[0])
    except (ValueError, struct.error):
        return None  # another program uses the same header name
    return None


def _parse_time(text: str | None) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text) if text else None
    except ValueError:
        return None
    return moment if moment is None or moment.tzinfo is not None else moment.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class DeadLetterFilter:
    """Selects dead letters. Empty and None attributes match everything.

    Attributes:
        event_types: any of these.
        error: a shell pattern for the error's type, with or without its module; or a part of the error's message.
        since, until: when the record failed last; `until` is exclusive.
        partition, offset: the position in the dead-letter topic.
        ids: any of these.
        positions: any of these.
        containing: a text in the id, the event type or the error; upper and lower case are the same.
        within: offsets by partition; no dead letter outside of them is read.
        shown_message: the error's message as it is shown, from the one that was stored; `error` and `containing` search
            in it, so that they cannot find out what is hidden.
    """

    event_types: Collection[str] = ()
    error: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    partition: int | None = None
    offset: int | None = None
    ids: Collection[str] = ()
    positions: Collection[DeadLetterPosition] = ()
    containing: str = ""
    within: OffsetRanges | None = None
    shown_message: Callable[[str], str] = str

    def offset_ranges(self) -> OffsetRanges | None:
        """The part of the topic that has to be read; None for all of it."""
        if self.within is not None or not self.positions:
            return self.within
        return ranges_covering(self.positions)

    def matches(self, dead_letter: DeadLetterRecord) -> bool:
        record = dead_letter.record
        if self.error is not None or self.containing:
            dead_letter = replace(dead_letter, error_message=self.shown_message(dead_letter.error_message))
        return (
            (not self.event_types or dead_letter.event_type in self.event_types)
            and (self.error is None or _error_matches_pattern(dead_letter, self.error))
            and (self.since is None or dead_letter.failed_at >= self.since)
            and (self.until is None or dead_letter.failed_at < self.until)
            and (self.partition is None or record.partition == self.partition)
            and (self.offset is None or record.offset == self.offset)
            and (not self.ids or dead_letter.id in self.ids)
            and (not self.positions or dead_letter.position in self.positions)
            and (not self.containing or _has_text_in_id_type_or_error(dead_letter, self.containing.lower()))
            and (self.within is None or record.offset in self.within.get(record.partition, ()))
        )


def ranges_covering(positions: Collection[DeadLetterPosition]) -> OffsetRanges:
    """The smallest range of each partition that has all of these positions."""
    offsets: defaultdict[int, list[int]] = defaultdict(list)
    for position in positions:
        offsets[position.partition].append(position.offset)
    return {partition: range(min(found), max(found) + 1) for partition, found in offsets.items()}


def _has_text_in_id_type_or_error(dead_letter: DeadLetterRecord, lower_case: str) -> bool:
    fields = (dead_letter.id, dead_letter.event_type, dead_letter.error_type, dead_letter.error_message)
    return any(lower_case in field.lower() for field in fields if field)


def _error_matches_pattern(dead_letter: DeadLetterRecord, pattern: str) -> bool:
    name = dead_letter.error_type
    short_name = name.rpartition(".")[2]
    return fnmatchcase(name, pattern) or fnmatchcase(short_name, pattern) or pattern in dead_letter.error_message
