"""Retry topics: which ones a consumer needs, how it reads them, and the headers of the records in them.

When the attempts at a record are used up, it is written to the retry topic of the next longer delay, with its own
headers unchanged and ours appended. So it can be restored when it is read: an endpoint sees it at its original
address, and if it becomes a dead letter in the end, that is the record that failed first, byte for byte.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from evkafka.config import checked_retry_topic_name
from evkafka.config.settings import ConsumerSettings, ErrorPolicySettings, TopicSettings
from evkafka.exceptions import ConfigError
from evkafka.records import Record
from evkafka.runtime.dead_letters.headers import FailureInfo, Headers, exception_class_name, origin_values, truncate_end

PREFIX = "evkafka-retry-"

MESSAGE_BYTES = (1024, 128, 0)
"""Limit of the error message; the next one applies if the record does not fit into the topic."""


class RetryTopic(NamedTuple):
    """One retry topic: the topic whose records are in it, and how long each of them waits."""

    source: str
    delay_ms: int


RetryTopics = Mapping[str, RetryTopic]
"""A consumer's retry topics by name."""


def retry_topics_of(settings: ConsumerSettings, policies: Iterable[ErrorPolicySettings]) -> dict[str, RetryTopic]:
    """The retry topics that these policies of a consumer need, by name: one for each topic and delay.

    Raises:
        ConfigError: a name is illegal, or the consumer already reads it; or the consumer's topics are a pattern.
    """
    if settings.at_most_once:
        return {}  # nothing is retried
    delays_ms = sorted({delay_ms for policy in policies for delay_ms in policy.retry_topics})
    if delays_ms and settings.topic_pattern is not None:
        raise ConfigError(
            f"on_error.retry_topics cannot be combined with topic_pattern {settings.topic_pattern.pattern!r}, because"
            " each retry topic belongs to one topic; list the topics in `topics`"
        )
    found = {}
    for topic in settings.topics:
        for delay_ms in delays_ms:
            name = checked_retry_topic_name(topic.name, group_id=settings.group_id, delay_ms=delay_ms)
            if any(name == other.name for other in settings.topics):
                raise ConfigError(
                    f"on_error.retry_topics: {delay_ms} creates retry topic {name!r}, which `topics` lists too; remove"
                    " it from `topics`, retry topics are read automatically"
                )
            found[name] = RetryTopic(topic.name, delay_ms)
    return found


def retry_consumer_settings(settings: ConsumerSettings, retry_topics: RetryTopics) -> ConsumerSettings:
    """The settings of the consumer that reads these retry topics: those of the original one, with a group of its
    own."""
    return dataclasses.replace(
        settings,
        topics=tuple(TopicSettings(name) for name in retry_topics),
        group_id=f"{settings.group_id or 'none'}.retry",
        auto_offset_reset="earliest",  # every record in them was written for this group
        allow_auto_create_topics=False,
        transactional_id=f"{settings.transactional_id}.retry" if settings.transactional_id is not None else None,
    )


def retry_consumer_name(consumer: str) -> str:
    """The name of the consumer that reads a consumer's retry topics."""
    return f"{consumer}.retry"


# ---------------------------------------------------------------------------- writing


def retry_headers(record: Record, failure: FailureInfo, *, id_: str, reduced: int = 0) -> Headers:
    """A record's own headers, then those that describe the failure while it waits.

    Args:
        id_: of the dead letter that it may become.
        reduced: the step of `MESSAGE_BYTES`.
    """
    values = origin_values(record, failure, id_) | {
        "event-type": (failure.event_type or "").encode(),
        "attempts": b"%d" % failure.attempts,
        "error-type": exception_class_name(failure.error).encode(),
        "error-message": truncate_end(failure.message, MESSAGE_BYTES[reduced]),
    }
    return [*record.headers, *((PREFIX + name, value) for name, value in values.items())]


# ---------------------------------------------------------------------------- reading


@dataclass(frozen=True, slots=True)
class Origin:
    """A record as it was when it failed first.

    Attributes:
        id: of the dead letter that it may become; None if it was written by a version without ids.
    """

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]
    id: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class DelayedRecord:
    """A record of a retry topic, with its address there.

    Attributes:
        origin: the record that waits in it.
        earlier: the number of attempts so far.
        due_s: when it may run, on the consumer's clock.
    """

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]
    origin: Origin
    earlier: int
    due_s: float


def parse_delayed_record(record: Record, retry_topic: RetryTopic, *, now_s: float, now_ms: int) -> DelayedRecord:
    """Restore a record of a retry topic.

    It is due one delay after its timestamp. If the clock that wrote it is ahead of ours, it is due one delay from now,
    because it cannot have been written later than now.
    """
    delay_ms = retry_topic.delay_ms
    wait_ms = delay_ms if record.timestamp < 0 else record.timestamp + delay_ms - now_ms
    own, values = _split_headers(record)
    id_ = values.get("id")
    origin = Origin(
        retry_topic.source,
        _parse_number_or_default(values.get("partition"), record.partition),
        _parse_number_or_default(values.get("offset"), record.offset),
        _parse_number_or_default(values.get("timestamp"), record.timestamp),
        record.key,
        record.value,
        tuple(own),
        None if id_ is None else id_.decode(errors="replace"),
    )
    return DelayedRecord(
        record.topic,
        record.partition,
        record.offset,
        record.timestamp,
        record.key,
        record.value,
        tuple(record.headers),
        origin,
        max(_parse_number_or_default(values.get("attempts"), 0), 0),
        now_s + min(max(wait_ms, 0), delay_ms) / 1000,
    )


def _split_headers(record: Record) -> tuple[Headers, dict[str, bytes]]:
    """The record's own headers, and ours. Ours are the last ones and begin with the topic: a source record may have
    headers of the same names, which mean nothing."""
    headers = list(record.headers)
    starts = [index for index, (name, _) in enumerate(headers) if name == f"{PREFIX}topic"]
    own = headers[: starts[-1]] if starts else headers
    ours = headers[len(own) :]
    return own, {name.removeprefix(PREFIX): value for name, value in ours if value is not None}


def _parse_number_or_default(value: bytes | None, default: int) -> int:
    """The default if it is no number: another program may have written it."""
    try:
        return default if value is None else int(value)
    except ValueError:
        return default
