"""What a dead letter says: the record byte for byte, and in its headers where it came from and why it is here.

Pure: `writer.py` writes it.
"""

from __future__ import annotations

import struct
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from evkafka.config.settings import ErrorPolicySettings
from evkafka.records import Record, Unreadable
from evkafka.runtime.failure_cause import failure_message, reported_exception

PREFIX = "evkafka-dlq-"
ORIGIN = ("topic", "partition", "offset", "timestamp", "group", "id")
"""What stays as the first failure wrote it, when a replayed record fails once more."""

REPLAYS = f"{PREFIX}replays"
"""How often this record came out of the dead-letter topic again; absent where it never did."""

SIGNATURE = f"{PREFIX}signature"
"""By which a replay proves that it wrote a record: see `replay_signature.py`."""

KEPT = frozenset({*(PREFIX + name for name in ORIGIN), REPLAYS})
"""The headers of a replayed record that its next letter keeps."""

ASIDE = "evkafka-source-"
"""Before the name of a source record's own header, if the name is one that only letters may use."""

SPRING = "kafka_dlt-"

UNREADABLE = f"{PREFIX}unreadable"
"""In place of the record's own headers, where the client could not read it: the offsets, "7-7"."""

TRACEBACK_BYTES = 8 * 1024
SHORTER = ((1024, 1024), (0, 256))
"""For what does not fit: most bytes of the traceback and of the message, in turn."""

Headers = list[tuple[str, bytes | None]]


@dataclass(frozen=True, slots=True)
class TopicIncarnation:
    """Which of the topics that had this name, in the course of time and in several clusters; None while unknown."""

    cluster_id: str | None = None
    topic_id: str | None = None


@dataclass(frozen=True, slots=True)
class FailureInfo:
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


def dead_letter_headers(
    record: Record,
    story: FailureInfo,
    policy: ErrorPolicySettings,
    *,
    id_: str,
    replayed: bool = False,
    shorter: int = 0,
) -> Headers:
    """The record's own headers, then the story's.

    What the record itself says of dead letters is moved aside, for any producer could have written it.

    Args:
        id_: of the letter; see `dead_letter_id`.
        replayed: a replay of our own is proven to have written the record: its origin, id and count are kept.
        shorter: 0 for the whole story, then one for each step of `SHORTER`.
    """
    traceback_bytes, message_bytes = SHORTER[shorter - 1] if shorter else (TRACEBACK_BYTES, TRACEBACK_BYTES)
    told = _Told(record, story, id_, _origin_of(record) if replayed else {}, traceback_bytes, message_bytes)
    match policy.dead_letter_header_style:
        case "spring":
            return told.as_spring()
        case _:
            return told.as_evkafka()


def dead_letter_id(group_id: str, record: Record, incarnation: TopicIncarnation) -> str:
    """The id of a record's letter: group, cluster, topic with its id, partition, offset. What is not known is left out.

    It names the record that failed. Several letters have one id if that record fails more than once.
    """
    topic = f"{record.topic}:{incarnation.topic_id}" if incarnation.topic_id else record.topic
    cluster = [incarnation.cluster_id] if incarnation.cluster_id else []
    return "/".join([group_id, *cluster, topic, str(record.partition), str(record.offset)])


def _origin_of(record: Record) -> dict[str, bytes]:
    """What a replayed record says of its first failure, by the names of `ORIGIN`."""
    told = {name: value for name, value in reversed(record.headers) if value is not None}
    origin = {name: told[PREFIX + name] for name in ORIGIN if PREFIX + name in told}
    return origin if {"topic", "partition", "offset"} <= origin.keys() else {}


@dataclass(frozen=True, slots=True)
class UnreadableOrigin:
    """What is known of a record that the client could not read: where it stands."""

    topic: str
    partition: int
    offset: int
    headers: tuple[tuple[str, bytes | None], ...]
    timestamp: int = -1
    key: None = None
    value: None = None


def unreadable_origin(unreadable: Unreadable) -> UnreadableOrigin:
    tp, offsets = unreadable.partition, b"%d-%d" % (unreadable.offset, unreadable.next_offset - 1)
    return UnreadableOrigin(tp.topic, tp.partition, unreadable.offset, ((UNREADABLE, offsets),))


class _Told:
    """One story, told in either style."""

    def __init__(
        self,
        record: Record,
        story: FailureInfo,
        id_: str,
        first: Mapping[str, bytes],
        traceback_bytes: int,
        message_bytes: int,
    ) -> None:
        error = story.error
        self.record = record
        self.story = story
        self.first = first
        self.origin = {
            "topic": record.topic.encode(),
            "partition": b"%d" % record.partition,
            "offset": b"%d" % record.offset,
            "timestamp": b"%d" % record.timestamp,
            "group": story.group_id.encode(),
            "id": id_.encode(),
            **first,
        }
        self.error_type = error_type_of(error)
        self.message = cut(failure_message(error) if error is not None else story.reason, message_bytes)
        self.traceback = _cut_head("".join(traceback.format_exception(error)) if error else "", traceback_bytes)

    def as_evkafka(self) -> Headers:
        story = self.story
        said = {name: self.origin[name] for name in ORIGIN if name != "id"} | {
            "event-type": (story.event_type or "").encode(),
            "attempts": b"%d" % story.attempts,
            "error-type": self.error_type.encode(),
            "error-message": self.message,
            "error-traceback": self.traceback,
            "failed-at": story.failed_at.astimezone(UTC).isoformat().replace("+00:00", "Z").encode(),
            "id": self.origin["id"],
        }
        return [*self._own((PREFIX,)), *((PREFIX + name, value) for name, value in said.items())]

    def as_spring(self) -> Headers:
        """The names and encodings of Spring for Apache Kafka's dead-letter publisher: numbers are big-endian binary,
        so that its own tools read them. Our id comes along: the replay knows a dead letter by it."""
        origin = self.origin
        said = {
            f"{SPRING}original-topic": origin["topic"],
            f"{SPRING}original-partition": struct.pack(">i", int(origin["partition"])),
            f"{SPRING}original-offset": struct.pack(">q", int(origin["offset"])),
            f"{SPRING}original-timestamp": struct.pack(">q", int(origin["timestamp"])),
            f"{SPRING}original-consumer-group": origin["group"],
            f"{SPRING}exception-fqcn": self.error_type.encode(),
            f"{SPRING}exception-message": self.message,
            f"{SPRING}exception-stacktrace": self.traceback,
            f"{PREFIX}attempts": b"%d" % self.story.attempts,
            f"{PREFIX}id": origin["id"],
        }
        return [*self._own((PREFIX, SPRING)), *said.items()]

    def _own(self, prefixes: tuple[str, ...]) -> Iterator[tuple[str, bytes | None]]:
        """The record's own headers as they are, but for names that a letter of this style uses: those are moved aside.

        Of a replayed record, what our replay wrote is told by `origin`; only its count stays in its place.
        """
        for name, value in self.record.headers:
            if (
                not name.startswith(prefixes)
                or isinstance(self.record, UnreadableOrigin)
                or (self.first and name == REPLAYS)
            ):
                yield name, value
            elif not (self.first and (name in KEPT or name == SIGNATURE or name.startswith(SPRING))):
                yield ASIDE + name, value


def error_type_of(error: BaseException | None) -> str:
    """The class that names it, with its module; empty where there is none."""
    if error is None:
        return ""
    kind = type(reported_exception(error))
    return f"{kind.__module__}.{kind.__qualname__}"


def cut(text: str, most: int) -> bytes:
    return text.encode(errors="replace")[:most].decode(errors="ignore").encode()


def _cut_head(text: str, most: int) -> bytes:
    """A traceback's end says most."""
    return text.encode(errors="replace")[-most:].decode(errors="ignore").encode() if most else b""
