"""A dead letter, as it is read: the record, and what its headers tell of it, in either style. Pure."""

from __future__ import annotations

import struct
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import NamedTuple

from evkafka.records import Record
from evkafka.runtime.dead_letters.headers import PREFIX, SPRING, UNREADABLE, Headers
from evkafka.runtime.ports import UnreadRecord
from evkafka.serde.safe_text import time_of

UNKNOWN_TIME = datetime.fromtimestamp(0, UTC)
"""Of a letter that tells no time, in a record that has none or one that no calendar has."""

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


class LetterPosition(NamedTuple):
    """Partition and offset of a letter in the dead-letter topic."""

    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.partition}@{self.offset}"

    @classmethod
    def parse(cls, text: str) -> LetterPosition:
        """
        Raises:
            ValueError: it is not PARTITION@OFFSET.
        """
        partition, sign, offset = text.partition("@")
        if not (sign and partition.isdecimal() and offset.isdecimal()):
            raise ValueError(f"{text[:50]!r} is no place of a letter: give PARTITION@OFFSET, 0@17 for example")
        return cls(int(partition), int(offset))


@dataclass(frozen=True, slots=True)
class DeadLetterRecord:
    """One dead letter.

    Attributes:
        record: as it stands in the dead-letter topic.
        id: names the record that failed first, by group, cluster, topic with its id, partition and offset; the place
            of this letter if it tells none. Several letters have one id if that record failed more than once.
        topic, partition, offset, timestamp_ms, group: where it failed first; None where the letter does not tell.
        failed_at: when it failed last; the record's own time where the letter does not tell.
        replays: how often it had been replayed when it failed.
        unreadable: True where the client could not read the record, so that the letter holds nothing of it; or the
            letter itself.
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
    def place(self) -> LetterPosition:
        """Where this letter stands in the dead-letter topic: what is replayed or dropped is the letter at a place."""
        return LetterPosition(self.record.partition, self.record.offset)


def read_dead_letter(record: Record, *, type_header: str = "Event-Type") -> DeadLetterRecord:
    """What the headers tell, ours or Spring's; a header that cannot be read tells nothing.

    A letter in our style is read by our names alone: Spring's are the record's own there.
    """
    told = {name: value for name, value in reversed(record.headers) if value is not None}
    fault = record.error if isinstance(record, UnreadRecord) else None
    if not _is_springs(record):
        told = {name: value for name, value in told.items() if not name.startswith(SPRING)}

    def text(name: str) -> str | None:
        value = told.get(PREFIX + name, told.get(_SPRING_NAMES.get(name, "")))
        return None if value is None else value.decode(errors="replace")

    failed_at = _moment(text("failed-at")) or time_of(record.timestamp) or UNKNOWN_TIME
    own_type = told.get(type_header)
    return DeadLetterRecord(
        record=record,
        id=text("id") or f"{record.topic}/{record.partition}/{record.offset}",
        topic=text("topic"),
        partition=_number(told, "partition"),
        offset=_number(told, "offset"),
        timestamp_ms=_number(told, "timestamp"),
        group=text("group"),
        event_type=text("event-type") or (own_type.decode(errors="replace") if own_type is not None else None),
        attempts=_number(told, "attempts"),
        error_type=type(fault).__name__ if fault is not None else text("error-type") or "",
        error_message=str(record) if fault is not None else text("error-message") or "",
        traceback=text("error-traceback") or "",
        failed_at=failed_at,
        replays=_number(told, "replays") or 0,
        unreadable=fault is not None or UNREADABLE in told,
    )


def replayed_headers(letter: DeadLetterRecord) -> Headers:
    """The record's own headers, where it came from, its id, and the count with this replay. Why it failed is left
    out: its next letter says why it has failed again."""
    story = (PREFIX, f"{SPRING}exception-") if _is_springs(letter.record) else (PREFIX,)
    own = [(name, value) for name, value in letter.record.headers if not name.startswith(story)]
    known = {
        "topic": letter.topic,
        "partition": letter.partition,
        "offset": letter.offset,
        "timestamp": letter.timestamp_ms,
        "group": letter.group,
        "id": letter.id,
        "replays": letter.replays + 1,
    }
    return [*own, *((PREFIX + name, str(value).encode()) for name, value in known.items() if value is not None)]


def _is_springs(record: Record) -> bool:
    return all(name != f"{PREFIX}topic" for name, _ in record.headers)


def _number(told: Mapping[str, bytes], name: str) -> int | None:
    """Ours in decimal digits, Spring's in big-endian binary."""
    try:
        if (ours := told.get(PREFIX + name)) is not None:
            return int(ours)
        springs = told.get(_SPRING_NAMES.get(name, ""))
        if springs is not None:
            return int(struct.unpack(">i" if len(springs) == 4 else ">q", springs)[0])
    except (ValueError, struct.error):
        return None  # somebody else's header of that name: it tells us nothing
    return None


def _moment(text: str | None) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text) if text else None
    except ValueError:
        return None
    return moment if moment is None or moment.tzinfo is not None else moment.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class LetterFilter:
    """Which letters are meant; what is empty or None excludes nothing.

    Attributes:
        event_types: any of these.
        error: a shell pattern, for the error's type, with or without its module, or a part of its message.
        since, until: when it failed last; `until` is excluded.
        partition, offset: its address in the dead-letter topic.
        ids: any of these.
        places: any of these.
    """

    event_types: Collection[str] = ()
    error: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    partition: int | None = None
    offset: int | None = None
    ids: Collection[str] = ()
    places: Collection[LetterPosition] = ()

    def takes(self, letter: DeadLetterRecord) -> bool:
        record = letter.record
        return (
            (not self.event_types or letter.event_type in self.event_types)
            and (self.error is None or self._is_error(self.error, letter))
            and (self.since is None or letter.failed_at >= self.since)
            and (self.until is None or letter.failed_at < self.until)
            and (self.partition is None or record.partition == self.partition)
            and (self.offset is None or record.offset == self.offset)
            and (not self.ids or letter.id in self.ids)
            and (not self.places or letter.place in self.places)
        )

    @staticmethod
    def _is_error(error: str, letter: DeadLetterRecord) -> bool:
        name = letter.error_type
        return fnmatchcase(name, error) or fnmatchcase(name.rpartition(".")[2], error) or error in letter.error_message
