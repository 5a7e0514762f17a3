"""The headers of a dead letter: where the record came from and why it failed. Key and value are the record's own.

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
from evkafka.runtime.failure_cause import app_traceback, failure_message, needs_traceback, reported_exception

PREFIX = "evkafka-dlq-"
ORIGIN = ("topic", "partition", "offset", "timestamp", "group", "id")
"""The headers that keep the values of the first failure when a replayed record fails again."""

REPLAYS = f"{PREFIX}replays"
"""How many times this record was replayed from the dead-letter topic; absent if it never was."""

SIGNATURE = f"{PREFIX}signature"
"""The proof that a replay wrote a record: see `replay_signature.py`."""

KEPT = frozenset({*(PREFIX + name for name in ORIGIN), REPLAYS})
"""The headers of a replayed record that its next dead letter keeps."""

RENAMED = "evkafka-source-"
"""The prefix put before a header of the source record whose name is reserved for dead letters."""

SPRING = "kafka_dlt-"

UNREADABLE = f"{PREFIX}unreadable"
"""Replaces the record's own headers if the client could not read it: its offsets, "7-7"."""

TRACEBACK_BYTES = 8 * 1024
REDUCED_BYTES = ((1024, 1024), (0, 256))
"""Limits of traceback and message for each further attempt to make a dead letter fit into the topic."""

Headers = list[tuple[str, bytes | None]]


@dataclass(frozen=True, slots=True)
class TopicIncarnation:
    """Which one of all topics of this name, over time and across clusters; None while unknown."""

    cluster_id: str | None = None
    topic_id: str | None = None


@dataclass(frozen=True, slots=True)
class FailureInfo:
    """Why a record failed.

    Attributes:
        event_type: the type that it was routed by; None if no endpoint takes it.
        attempts: how many attempts there were.
        reason: the explanation of the endpoint, or of the policy.
    """

    group_id: str
    event_type: str | None
    attempts: int
    reason: str
    error: BaseException | None
    failed_at: datetime

    @property
    def message(self) -> str:
        """The message of the error; the reason if there is no error."""
        return failure_message(self.error) if self.error is not None else self.reason


def dead_letter_headers(
    record: Record,
    failure: FailureInfo,
    policy: ErrorPolicySettings,
    *,
    id_: str,
    replayed: bool = False,
    reduced: int = 0,
) -> Headers:
    """The record's own headers, then those that describe the failure.

    Headers of the record with the names of dead-letter headers are renamed, because any producer could have written
    them.

    Args:
        id_: of the dead letter; see `build_dead_letter_id_from_address`.
        replayed: a valid signature proves that a replay wrote the record: its origin, id and count are kept.
        reduced: 0 for the full failure, else a step of `REDUCED_BYTES`, from 1.
    """
    traceback_bytes, message_bytes = REDUCED_BYTES[reduced - 1] if reduced else (TRACEBACK_BYTES, TRACEBACK_BYTES)
    origin = _replayed_origin(record) if replayed else {}
    headers = _DeadLetterHeaders(record, failure, id_, origin, traceback_bytes, message_bytes)
    match policy.dead_letter_header_style:
        case "spring":
            return headers.as_spring()
        case _:
            return headers.as_evkafka()


def build_dead_letter_id_from_address(group_id: str, record: Record, incarnation: TopicIncarnation) -> str:
    """The id of a record's dead letter: group, cluster, topic with its id, partition, offset. Unknown parts are left
    out.

    It identifies the record that failed. If that record fails several times, several dead letters have one id.
    """
    topic = f"{record.topic}:{incarnation.topic_id}" if incarnation.topic_id else record.topic
    cluster = [incarnation.cluster_id] if incarnation.cluster_id else []
    return "/".join([group_id, *cluster, topic, str(record.partition), str(record.offset)])


def origin_values(record: Record, failure: FailureInfo, id_: str) -> dict[str, bytes]:
    """The values of `ORIGIN` for a record that fails."""
    return {
        "topic": record.topic.encode(),
        "partition": b"%d" % record.partition,
        "offset": b"%d" % record.offset,
        "timestamp": b"%d" % record.timestamp,
        "group": failure.group_id.encode(),
        "id": id_.encode(),
    }


def _replayed_origin(record: Record) -> dict[str, bytes]:
    """The headers of a replayed record that describe its first failure, by the names of `ORIGIN`."""
    values = {name: value for name, value in reversed(record.headers) if value is not None}
    origin = {name: values[PREFIX + name] for name in ORIGIN if PREFIX + name in values}
    return origin if {"topic", "partition", "offset"} <= origin.keys() else {}


@dataclass(frozen=True, slots=True)
class UnreadableOrigin:
    """A record that the client could not read: only its address is known."""

    topic: str
    partition: int
    offset: int
    headers: tuple[tuple[str, bytes | None], ...]
    timestamp: int = -1
    key: None = None
    value: None = None


def record_with_address_of_unreadable(unreadable: Unreadable) -> UnreadableOrigin:
    tp, offsets = unreadable.partition, b"%d-%d" % (unreadable.offset, unreadable.next_offset - 1)
    return UnreadableOrigin(tp.topic, tp.partition, unreadable.offset, ((UNREADABLE, offsets),))


class _DeadLetterHeaders:
    """The headers of one dead letter, in either style.

    Args:
        first_origin: the origin that the record had at its first failure; empty unless it was replayed.
    """

    def __init__(
        self,
        record: Record,
        failure: FailureInfo,
        id_: str,
        first_origin: Mapping[str, bytes],
        traceback_bytes: int,
        message_bytes: int,
    ) -> None:
        error = failure.error
        self.record = record
        self.failure = failure
        self.first_origin = first_origin
        self.origin = {**origin_values(record, failure, id_), **first_origin}
        self.error_type = exception_class_name(error)
        self.message = truncate_end(failure.message, message_bytes)
        self.traceback = _truncate_start(_format_traceback(error) if error else "", traceback_bytes)

    def as_evkafka(self) -> Headers:
        failure = self.failure
        values = {name: self.origin[name] for name in ORIGIN if name != "id"} | {
            "event-type": (failure.event_type or "").encode(),
            "attempts": b"%d" % failure.attempts,
            "error-type": self.error_type.encode(),
            "error-message": self.message,
            "error-traceback": self.traceback,
            "failed-at": failure.failed_at.astimezone(UTC).isoformat().replace("+00:00", "Z").encode(),
            "id": self.origin["id"],
        }
        return [
            *self._record_headers_renaming_conflicts((PREFIX,)),
            *((PREFIX + name, value) for name, value in values.items()),
        ]

    def as_spring(self) -> Headers:
        """The names and encodings of Spring for Apache Kafka's dead-letter publisher: numbers are big-endian binary,
        so that its tools can read them. Our id is added: the replay identifies a dead letter by it."""
        origin = self.origin
        values = {
            f"{SPRING}original-topic": origin["topic"],
            f"{SPRING}original-partition": struct.pack(">i", int(origin["partition"])),
            f"{SPRING}original-offset": struct.pack(">q", int(origin["offset"])),
            f"{SPRING}original-timestamp": struct.pack(">q", int(origin["timestamp"])),
            f"{SPRING}original-consumer-group": origin["group"],
            f"{SPRING}exception-fqcn": self.error_type.encode(),
            f"{SPRING}exception-message": self.message,
            f"{SPRING}exception-stacktrace": self.traceback,
            f"{PREFIX}attempts": b"%d" % self.failure.attempts,
            f"{PREFIX}id": origin["id"],
        }
        return [*self._record_headers_renaming_conflicts((PREFIX, SPRING)), *values.items()]

    def _record_headers_renaming_conflicts(self, prefixes: tuple[str, ...]) -> Iterator[tuple[str, bytes | None]]:
        """The record's own headers, unchanged except for names that a dead letter of this style uses: those are
        renamed.

        What a replay wrote into a replayed record is already in `origin`; only its count stays in its place.
        """
        for name, value in self.record.headers:
            if (
                not name.startswith(prefixes)
                or isinstance(self.record, UnreadableOrigin)
                or (self.first_origin and name == REPLAYS)
            ):
                yield name, value
            elif not (self.first_origin and (name in KEPT or name == SIGNATURE or name.startswith(SPRING))):
                yield RENAMED + name, value


def exception_class_name(error: BaseException | None) -> str:
    """The class of the reported exception, with its module; empty without an error."""
    if error is None:
        return ""
    kind = type(reported_exception(error))
    return f"{kind.__module__}.{kind.__qualname__}"


def truncate_end(text: str, most: int) -> bytes:
    return text.encode(errors="replace")[:most].decode(errors="ignore").encode()


def _format_traceback(error: BaseException) -> str:
    if not needs_traceback(error):
        return ""
    return "".join(traceback.format_exception(type(error), error, app_traceback(error)))


def _truncate_start(text: str, most: int) -> bytes:
    """The end of a traceback says most about the error."""
    return text.encode(errors="replace")[-most:].decode(errors="ignore").encode() if most else b""
