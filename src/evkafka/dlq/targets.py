"""The topics that dead letters may be replayed to. The origin in their headers is checked before it is used."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from evkafka.config.settings import ConnectionSettings, ConsumerSettings
from evkafka.dlq.dead_letter import DeadLetterRecord, replayed_headers
from evkafka.exceptions import ConfigError
from evkafka.kafka.admin.topics import settings_of_topic
from evkafka.runtime.dead_letters.replay_signature import state_topic
from evkafka.runtime.ports import UnreadRecord
from evkafka.runtime.topic_pattern import TopicPattern

RECORD_OVERHEAD_BYTES = 128
"""Least size of a batch of one record, without its key, value and headers."""

NO_CONTENT = (
    "the client could not read the record, so there is nothing to replay: inspect the record at its address, then"
    " discard the dead letter"
)


@dataclass(frozen=True, slots=True)
class SourceTopics:
    """The topics of the consumer that wrote the dead letters. Without a target topic, each goes back to one of them.

    Attributes:
        names: the configured topics.
        pattern: the configured pattern, if the consumer subscribes by pattern.
    """

    names: frozenset[str] = frozenset()
    pattern: TopicPattern | None = None

    def has(self, topic: str) -> bool:
        return topic in self.names or (self.pattern is not None and self.pattern.match(topic))


def source_topics_of(settings: ConsumerSettings) -> SourceTopics:
    """The topics that a consumer's dead letters come from."""
    pattern = TopicPattern.from_settings(settings) if settings.topic_pattern is not None else None
    return SourceTopics(frozenset(topic.name for topic in settings.topics), pattern)


@dataclass(frozen=True, slots=True)
class Target:
    """Where a replay sends to.

    Attributes:
        topic: the topic for all dead letters; None sends each to the topic where it failed first.
        sources: the topics that a dead letter may come from. None if the consumer is not known: then the name of the
            dead-letter topic must be derived from the topic.
    """

    topic: str | None = None
    sources: SourceTopics | None = None


class TargetTopics:
    """Checks for each dead letter whether it may be replayed. The settings of each topic are read once.

    Args:
        to: None if the dead letters are handled in this process.
    """

    def __init__(self, connection: ConnectionSettings, topic: str, to: Target | None, *, force: bool) -> None:
        self._connection = connection
        self._topic = topic
        self._to = to
        self._force = force
        self._settings: dict[str, Mapping[str, str]] = {}

    async def check_targets(self) -> None:
        """
        Raises:
            ConfigError: there is one target topic for all dead letters, and it cannot take any.
        """
        if (
            self._to is not None
            and self._to.topic is not None
            and (why := await self._topic_refusal_reason(self._to.topic))
        ):
            raise ConfigError(why)

    async def replay_refusal_reason(self, dead_letter: DeadLetterRecord) -> str | None:
        """Why this dead letter cannot be replayed; None if no reason is known."""
        if isinstance(dead_letter.record, UnreadRecord):
            return f"the dead letter itself, {dead_letter.record}"
        if dead_letter.unreadable:
            return NO_CONTENT
        topic = self.topic_for(dead_letter)
        if self._to is None:
            return await self._topic_refusal_reason(topic) if topic and self._is_source(topic, dead_letter) else None
        if topic is None:
            return "it does not name its source topic: give one with --to-topic TOPIC"
        if self._to.topic is None and not self._is_source(topic, dead_letter):
            return f"its source topic is {topic!r}, but {self._foreign_source_reason()}"
        return await self._topic_refusal_reason(topic) or self._record_refusal_reason(topic, dead_letter)

    def topic_for(self, dead_letter: DeadLetterRecord) -> str | None:
        return (self._to.topic if self._to is not None else None) or dead_letter.topic

    def _is_source(self, topic: str, dead_letter: DeadLetterRecord) -> bool:
        if self._to is not None and self._to.sources is not None:
            return self._to.sources.has(topic)
        return is_named_after(self._topic, topic, dead_letter.group)

    def _foreign_source_reason(self) -> str:
        if self._to is not None and self._to.sources is not None:
            return (
                "the consumer of these dead letters does not read that topic; if it is right, confirm it with"
                " --to-topic TOPIC"
            )
        return (
            "it is unknown whether these are dead letters of that topic; name their app (--app MODULE:APP or --config"
            " FILE), or the topic (--to-topic TOPIC)"
        )

    async def _topic_refusal_reason(self, topic: str) -> str | None:
        if topic in (self._topic, state_topic(self._topic)):
            return f"{topic!r} is the topic being replayed: name another topic"
        if topic not in self._settings:
            self._settings[topic] = await settings_of_topic(self._connection, topic)
        settings = self._settings[topic]
        if not settings:
            servers = ",".join(self._connection.bootstrap_servers)
            return f"topic {topic!r} does not exist at {servers}" if self._to is not None else None
        if "compact" in settings.get("cleanup.policy", "") and not self._force:
            return (
                f"{topic!r} is compacted: a replayed record could replace a newer one with the same key; use --force"
                " to replay anyway"
            )
        return None

    def _record_refusal_reason(self, topic: str, dead_letter: DeadLetterRecord) -> str | None:
        """Why the broker would refuse the record. The whole transaction would fail with it."""
        record, settings = dead_letter.record, self._settings[topic]
        if record.key is None and "compact" in settings.get("cleanup.policy", ""):
            return f"it has no key, but {topic!r} is compacted, and a compacted topic requires keys"
        size = len(record.key or b"") + len(record.value or b"") + RECORD_OVERHEAD_BYTES
        size += sum(len(name.encode()) + len(value or b"") + 8 for name, value in replayed_headers(dead_letter))
        most = int(settings.get("max.message.bytes", size))
        return f"its {size} bytes do not fit into {topic!r}, whose max.message.bytes is {most}" if size > most else None


def is_named_after(dead_letter_topic: str, topic: str, group: str | None) -> bool:
    """True if the dead-letter topic's name is derived from the topic's, by the defaults of EVKafka or Spring.

    Args:
        group: the consumer group; None matches any.
    """
    if group is None:
        ours = dead_letter_topic.startswith(f"{topic}.") and dead_letter_topic.endswith(".dlq")
    else:
        ours = dead_letter_topic == f"{topic}.{group}.dlq"
    return ours or dead_letter_topic in (f"{topic}.DLT", f"{topic}-dlt")
