"""Retry topics: which ones a consumer needs, how it reads them, and what its records say on the way there.

A record whose attempts are over is written to the topic of the first delay that is longer than what it has waited,
with its own headers untouched and ours behind them. So it can be read back as it was: an endpoint sees it at its first
address, and what becomes a dead letter in the end is the record that failed first, byte for byte.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from evkafka.config import retry_topic
from evkafka.config.settings import ConsumerSettings, ErrorPolicySettings, TopicSettings
from evkafka.exceptions import ConfigError
from evkafka.records import Record
from evkafka.runtime.dead_letters.headers import FailureInfo, Headers, cut, error_type_of
from evkafka.runtime.failure_cause import failure_message

PREFIX = "evkafka-retry-"

MESSAGE_BYTES = (1024, 128, 0)
"""Most bytes of an error's message; the next one in turn where a record does not fit."""


class RetryTopic(NamedTuple):
    """One retry topic: records of which topic wait in it, and how long."""

    source: str
    delay_ms: int


RetryTopics = Mapping[str, RetryTopic]


def retry_topics_of(settings: ConsumerSettings, policies: Iterable[ErrorPolicySettings]) -> dict[str, RetryTopic]:
    """The retry topics that these policies of a consumer ask for, by name: one for each topic and delay.

    Raises:
        ConfigError: a name is illegal, or is read as it is; or the topics are not given by name.
    """
    if settings.auto_commit_mode == "pre-commit":
        return {}  # nothing is tried again
    delays_ms = sorted({delay_ms for policy in policies for delay_ms in policy.retry_topics})
    if delays_ms and settings.topic_pattern is not None:
        raise ConfigError(
            "on_error.retry_topics: each belongs to one topic, and topic_pattern"
            f" {settings.topic_pattern.pattern!r} names none; give the topics by name, in `topics`"
        )
    found = {}
    for topic in settings.topics:
        for delay_ms in delays_ms:
            name = retry_topic(topic.name, group_id=settings.group_id, delay_ms=delay_ms)
            if any(name == other.name for other in settings.topics):
                raise ConfigError(
                    f"on_error.retry_topics: {delay_ms} makes {name!r}, which this consumer reads already;"
                    " take it out of `topics`: it is read by itself"
                )
            found[name] = RetryTopic(topic.name, delay_ms)
    return found


def retry_consumer_settings(settings: ConsumerSettings, tiers: RetryTopics) -> ConsumerSettings:
    """The consumer of these retry topics: like the one whose records wait in them, in a group of its own."""
    return dataclasses.replace(
        settings,
        topics=tuple(TopicSettings(name) for name in tiers),
        group_id=f"{settings.group_id or 'none'}.retry",
        auto_offset_reset="earliest",  # what is in there was put there for this group
        allow_auto_create_topics=False,
    )


def retry_consumer_name(consumer: str) -> str:
    """What the consumer of a consumer's retry topics is called."""
    return f"{consumer}.retry"


# ---------------------------------------------------------------------------- there


def retry_headers(record: Record, story: FailureInfo, *, id_: str, shorter: int = 0) -> Headers:
    """A record's own headers, then what is told of it while it waits.

    Args:
        id_: of the letter that it may become.
        shorter: which step of `MESSAGE_BYTES`.
    """
    message = failure_message(story.error) if story.error is not None else story.reason
    said = {
        "topic": record.topic.encode(),
        "partition": b"%d" % record.partition,
        "offset": b"%d" % record.offset,
        "timestamp": b"%d" % record.timestamp,
        "group": story.group_id.encode(),
        "id": id_.encode(),
        "event-type": (story.event_type or "").encode(),
        "attempts": b"%d" % story.attempts,
        "error-type": error_type_of(story.error).encode(),
        "error-message": cut(message, MESSAGE_BYTES[shorter]),
    }
    return [*record.headers, *((PREFIX + name, value) for name, value in said.items())]


# ---------------------------------------------------------------------------- and back


@dataclass(frozen=True, slots=True)
class Origin:
    """A record as it was when it failed first.

    Attributes:
        id: of the letter that it may become; None if it was written before there was one.
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
    """A record of a retry topic, at its address there.

    Attributes:
        origin: the record that waits in it.
        earlier: attempts at it so far.
        due_s: when it may be run, on the consumer's clock.
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


def read_delayed(record: Record, tier: RetryTopic, *, now_s: float, now_ms: int) -> DelayedRecord:
    """Read a record of a retry topic back.

    It is due so long after its timestamp; where the clock that wrote it goes before ours, so long after we first saw
    it, for it cannot have been written later than that.
    """
    wait_ms = tier.delay_ms if record.timestamp < 0 else record.timestamp + tier.delay_ms - now_ms
    own, told = _parted(record)
    id_ = told.get("id")
    origin = Origin(
        tier.source,
        _number(told.get("partition"), record.partition),
        _number(told.get("offset"), record.offset),
        _number(told.get("timestamp"), record.timestamp),
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
        max(_number(told.get("attempts"), 0), 0),
        now_s + min(max(wait_ms, 0), tier.delay_ms) / 1000,
    )


def _parted(record: Record) -> tuple[Headers, dict[str, bytes]]:
    """The record's own headers, and ours. Ours stand last and begin with the topic: a source record may hold headers of
    these names too, and those say nothing."""
    headers = list(record.headers)
    places = [place for place, (name, _) in enumerate(headers) if name == f"{PREFIX}topic"]
    own = headers[: places[-1]] if places else headers
    ours = headers[len(own) :]
    return own, {name.removeprefix(PREFIX): value for name, value in ours if value is not None}


def _number(told: bytes | None, otherwise: int) -> int:
    """Somebody else may have written it: what is no number tells nothing."""
    try:
        return otherwise if told is None else int(told)
    except ValueError:
        return otherwise
