"""Where dead letters may be replayed to: what a letter says of its origin is checked before a replay follows it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from evkafka.config.settings import ConnectionSettings, ConsumerSettings
from evkafka.dlq.dead_letter import DeadLetterRecord, replayed_headers
from evkafka.exceptions import ConfigError
from evkafka.kafka.admin.topics import topic_settings
from evkafka.runtime.dead_letters.replay_signature import state_topic
from evkafka.runtime.ports import UnreadRecord
from evkafka.runtime.subscription import TopicPattern

RECORD_BYTES = 128
"""At least what a record takes beside its key, value and headers, in a batch of its own."""

NOTHING_IN_IT = (
    "the client could not read the record, so there is nothing to replay: look at its address, and drop the letter"
)


@dataclass(frozen=True, slots=True)
class SourceTopics:
    """The topics of the consumer that wrote the letters: a letter without a target goes back to one of them.

    Attributes:
        names: as they are configured.
        pattern: of a consumer that subscribes by pattern.
    """

    names: frozenset[str] = frozenset()
    pattern: TopicPattern | None = None

    def has(self, topic: str) -> bool:
        return topic in self.names or (self.pattern is not None and self.pattern.match(topic))


def sources_of(settings: ConsumerSettings) -> SourceTopics:
    """The topics that a consumer's dead letters come from."""
    pattern = TopicPattern.of(settings) if settings.topic_pattern is not None else None
    return SourceTopics(frozenset(topic.name for topic in settings.topics), pattern)


@dataclass(frozen=True, slots=True)
class Target:
    """Where a replay sends to.

    Attributes:
        topic: the topic for all letters; None for each letter's own, where it failed first.
        sources: the topics that a letter's own may be; None if the consumer is not known: then the name of the
            dead-letter topic must be made from it.
    """

    topic: str | None = None
    sources: SourceTopics | None = None


class Targets:
    """Where letters may go, looked up once for each topic. Each letter is looked at by itself: one that may not be
    replayed holds no other up.

    Args:
        to: None where they are handled in this process.
    """

    def __init__(self, connection: ConnectionSettings, topic: str, to: Target | None, *, force: bool) -> None:
        self._connection = connection
        self._topic = topic
        self._to = to
        self._force = force
        self._settings: dict[str, Mapping[str, str]] = {}

    async def check(self) -> None:
        """
        Raises:
            ConfigError: the topic that is named for all letters cannot take any.
        """
        if self._to is not None and self._to.topic is not None and (why := await self._fault_of(self._to.topic)):
            raise ConfigError(why)

    async def fault(self, letter: DeadLetterRecord) -> str | None:
        """Why a letter cannot be replayed; None if nothing is known against it."""
        if isinstance(letter.record, UnreadRecord):
            return f"the letter itself, {letter.record}"
        if letter.unreadable:
            return NOTHING_IN_IT
        if self._to is None:
            return await self._fault_of(letter.topic) if letter.topic and self._is_own(letter.topic, letter) else None
        topic = self.of(letter)
        if topic is None:
            return "it does not tell where it came from: name the topic, --to-topic TOPIC"
        if self._to.topic is None and not self._is_own(topic, letter):
            return f"it says that it came from {topic!r}, and {self._whose()}"
        return await self._fault_of(topic) or self._fault_in(topic, letter)

    def of(self, letter: DeadLetterRecord) -> str | None:
        return (self._to.topic if self._to is not None else None) or letter.topic

    def _is_own(self, topic: str, letter: DeadLetterRecord) -> bool:
        if self._to is not None and self._to.sources is not None:
            return self._to.sources.has(topic)
        return is_named_after(self._topic, topic, letter.group)

    def _whose(self) -> str:
        if self._to is not None and self._to.sources is not None:
            return (
                "the consumer of these dead letters does not read that topic; if it is right, name it: --to-topic TOPIC"
            )
        return (
            "it cannot be told whether these are dead letters of that topic; say whose they are, --app MODULE:APP or"
            " --config FILE, or name the topic: --to-topic TOPIC"
        )

    async def _fault_of(self, topic: str) -> str | None:
        if topic in (self._topic, state_topic(self._topic)):
            return f"{topic!r} is what is being replayed: name another topic"
        if topic not in self._settings:
            self._settings[topic] = await topic_settings(self._connection, topic)
        settings = self._settings[topic]
        if not settings:
            servers = ",".join(self._connection.bootstrap_servers)
            return f"there is no topic {topic!r} at {servers}" if self._to is not None else None
        if "compact" in settings.get("cleanup.policy", "") and not self._force:
            return (
                f"{topic!r} is compacted: a replayed record may take the place of a newer one of its key;"
                " --force does it all the same"
            )
        return None

    def _fault_in(self, topic: str, letter: DeadLetterRecord) -> str | None:
        """What the broker would refuse: with the record, the whole transaction would fail."""
        record, settings = letter.record, self._settings[topic]
        if record.key is None and "compact" in settings.get("cleanup.policy", ""):
            return f"it has no key, and {topic!r} is compacted: brokers take no record without a key there"
        size = len(record.key or b"") + len(record.value or b"") + RECORD_BYTES
        size += sum(len(name.encode()) + len(value or b"") + 8 for name, value in replayed_headers(letter))
        most = int(settings.get("max.message.bytes", size))
        return f"its {size} bytes do not fit into {topic!r}, whose max.message.bytes is {most}" if size > most else None


def is_named_after(dead_letter_topic: str, topic: str, group: str | None) -> bool:
    """True if a dead-letter topic's name is made from this topic, as EVKafka and Spring name it by default.

    Args:
        group: the consumer's; None while it is not known, then it may be any.
    """
    if group is None:
        ours = dead_letter_topic.startswith(f"{topic}.") and dead_letter_topic.endswith(".dlq")
    else:
        ours = dead_letter_topic == f"{topic}.{group}.dlq"
    return ours or dead_letter_topic in (f"{topic}.DLT", f"{topic}-dlt")
