"""What a dead letter says: the record byte for byte, and in its headers where it came from and why it is here.

Pure: `dead_letters.py` writes it.
"""

from __future__ import annotations

import struct
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from evkafka.ports import Record, Unreadable
from evkafka.runtime.raised import message_in, named_by
from evkafka.settings import ErrorPolicySettings

PREFIX = "evkafka-dlq-"
ORIGIN = frozenset({"topic", "partition", "offset", "timestamp", "group", "id"})
"""What stays as the first failure wrote it, when a dead letter fails once more."""

UNREADABLE = f"{PREFIX}unreadable"
"""In place of the record's own headers, where the client could not read it: the offsets, "7-7"."""

TRACEBACK_BYTES = 8 * 1024
SHORTER = ((1024, 1024), (0, 256))
"""For what does not fit: most bytes of the traceback and of the message, in turn."""

Headers = list[tuple[str, bytes | None]]


@dataclass(frozen=True, slots=True)
class Story:
    """Why a record is a dead letter.

    Attributes:
        event_type: as it was routed; None where no endpoint took it.
        attempts: how many there were.
        reason: what the endpoint, or the policy, says of it.
    """

    group_id: str
    event_type: str | None
    attempts: int
    reason: str
    error: BaseException | None
    failed_at: datetime


def headers_of(record: Record, story: Story, policy: ErrorPolicySettings, *, shorter: int = 0) -> Headers:
    """The record's own headers, then the story's.

    Args:
        shorter: 0 for the whole story, then one for each step of `SHORTER`.
    """
    traceback_bytes, message_bytes = SHORTER[shorter - 1] if shorter else (TRACEBACK_BYTES, TRACEBACK_BYTES)
    told = _Told(record, story, traceback_bytes, message_bytes)
    match policy.dead_letter_header_style:
        case "spring":
            return told.as_spring()
        case _:
            return told.as_evkafka()


@dataclass(frozen=True, slots=True)
class Unread:
    """What is known of a record that the client could not read: where it stands."""

    topic: str
    partition: int
    offset: int
    headers: tuple[tuple[str, bytes | None], ...]
    timestamp: int = -1
    key: None = None
    value: None = None


def unread(unreadable: Unreadable) -> Unread:
    tp, offsets = unreadable.partition, b"%d-%d" % (unreadable.offset, unreadable.next_offset - 1)
    return Unread(tp.topic, tp.partition, unreadable.offset, ((UNREADABLE, offsets),))


class _Told:
    """One story, told in either style."""

    def __init__(self, record: Record, story: Story, traceback_bytes: int, message_bytes: int) -> None:
        error = story.error
        self.record = record
        self.story = story
        self.error_type = error_type_of(error)
        self.message = cut(message_in(error) if error is not None else story.reason, message_bytes)
        self.traceback = _cut_head("".join(traceback.format_exception(error)) if error else "", traceback_bytes)

    def as_evkafka(self) -> Headers:
        record, story = self.record, self.story
        said = {
            "topic": record.topic.encode(),
            "partition": b"%d" % record.partition,
            "offset": b"%d" % record.offset,
            "timestamp": b"%d" % record.timestamp,
            "group": story.group_id.encode(),
            "event-type": (story.event_type or "").encode(),
            "attempts": b"%d" % story.attempts,
            "error-type": self.error_type.encode(),
            "error-message": self.message,
            "error-traceback": self.traceback,
            "failed-at": story.failed_at.astimezone(UTC).isoformat().replace("+00:00", "Z").encode(),
            "id": f"{story.group_id}/{record.topic}/{record.partition}/{record.offset}".encode(),
        }
        return list(_laid_over(record, {PREFIX + name: value for name, value in said.items()}, _EVKAFKA_ORIGIN))

    def as_spring(self) -> Headers:
        """The names and encodings of Spring for Apache Kafka's dead-letter publisher: numbers are big-endian binary,
        so that its own tools read them. Our id comes along: the replay knows a dead letter by it."""
        record, story = self.record, self.story
        said = {
            "kafka_dlt-original-topic": record.topic.encode(),
            "kafka_dlt-original-partition": struct.pack(">i", record.partition),
            "kafka_dlt-original-offset": struct.pack(">q", record.offset),
            "kafka_dlt-original-timestamp": struct.pack(">q", record.timestamp),
            "kafka_dlt-original-consumer-group": story.group_id.encode(),
            "kafka_dlt-exception-fqcn": self.error_type.encode(),
            "kafka_dlt-exception-message": self.message,
            "kafka_dlt-exception-stacktrace": self.traceback,
            f"{PREFIX}attempts": b"%d" % story.attempts,
            f"{PREFIX}id": f"{story.group_id}/{record.topic}/{record.partition}/{record.offset}".encode(),
        }
        return list(_laid_over(record, said, _SPRING_ORIGIN))


_EVKAFKA_ORIGIN = frozenset(PREFIX + name for name in ORIGIN)
_SPRING_ORIGIN = frozenset(
    {f"{PREFIX}id"}
    | {f"kafka_dlt-original-{name}" for name in ("topic", "partition", "offset", "timestamp", "consumer-group")}
)


def _laid_over(record: Record, said: Mapping[str, bytes], kept: frozenset[str]) -> Iterator[tuple[str, bytes | None]]:
    """The record's own headers as they are, but for an older story; of that its origin is kept."""
    older: dict[str, bytes | None] = {}
    for name, value in record.headers:
        if name in said:
            older[name] = value
        else:
            yield name, value
    for name, told in said.items():
        first = older.get(name) if name in kept else None
        yield name, told if first is None else first


def error_type_of(error: BaseException | None) -> str:
    """The class that names it, with its module; empty where there is none."""
    if error is None:
        return ""
    kind = type(named_by(error))
    return f"{kind.__module__}.{kind.__qualname__}"


def cut(text: str, most: int) -> bytes:
    return text.encode(errors="replace")[:most].decode(errors="ignore").encode()


def _cut_head(text: str, most: int) -> bytes:
    """A traceback's end says most."""
    return text.encode(errors="replace")[-most:].decode(errors="ignore").encode() if most else b""
