"""Topics and their logs: creation, choice of a partition, appends, transactions."""

from __future__ import annotations

import difflib
import itertools
import re
from collections.abc import Callable, Sequence
from random import Random

from evkafka.config.arguments import str_subclass_to_str
from evkafka.exceptions import EVKafkaError
from evkafka.records import TopicPartition
from evkafka.runtime.partitioner import murmur2
from evkafka.testing.memory.partition_log import Isolation, MemoryRecord, PartitionLog

LEGAL = re.compile(r"[a-zA-Z0-9._-]{1,249}")

MAX_MESSAGE_BYTES = 1_048_588
"""Kafka's default `message.max.bytes`."""


class UnknownTopic(EVKafkaError, AssertionError):
    """There is no such topic or partition in this in-memory Kafka; the message lists those that exist."""


class TooLarge(EVKafkaError):
    """The record is larger than brokers accept.

    Attributes:
        largest_bytes: what they accept.
    """

    def __init__(self, size: int, largest_bytes: int) -> None:
        super().__init__(f"a record of {size} bytes; the brokers accept {largest_bytes} (message.max.bytes)")
        self.largest_bytes = largest_bytes


def record_size(key: bytes | None, value: bytes | None, headers: Sequence[tuple[str, bytes | None]]) -> int:
    """The bytes of a record, without those of its batch."""
    return len(key or b"") + len(value or b"") + sum(len(name) + len(text or b"") for name, text in headers)


class Topics:
    """All logs, by topic.

    Args:
        partitions: number of partitions of an automatically created topic.
        auto_create: create a topic when something is written to it or subscribes to it.
    """

    def __init__(self, *, partitions: int, auto_create: bool, random: Random) -> None:
        self.auto_create = auto_create
        self._partitions = partitions
        self._random = random
        self._logs: dict[str, list[PartitionLog]] = {}
        self._ids: dict[str, str] = {}
        self._created = itertools.count()
        self._transactions = itertools.count()
        self.on_new_topic: Callable[[str], None] = lambda _: None

    # ------------------------------------------------------------------ topics

    def create(self, name: str, partitions: int | None = None) -> None:
        """Create a topic; None: with the default number of partitions.

        Raises:
            ValueError: the topic exists, its name is illegal, or the number of partitions is below 1.
        """
        partitions = self._partitions if partitions is None else partitions
        if name in self._logs:
            raise ValueError(f"topic {name!r} already exists with {len(self._logs[name])} partitions")
        if not LEGAL.fullmatch(name) or name in (".", ".."):
            raise ValueError(f"topic {name!r}: a name has 1 to 249 letters, digits, dots, underscores and hyphens")
        name = str_subclass_to_str(name)
        if partitions < 1:
            raise ValueError(f"topic {name!r}: a topic has at least 1 partition, not {partitions}")
        self._ids[name] = f"topic-{next(self._created)}"
        self._logs[name] = [PartitionLog(TopicPartition(name, number)) for number in range(partitions)]
        self.on_new_topic(name)

    def ensure_exists(self, name: str) -> bool:
        """Create an absent topic if that is allowed; returns whether it exists now."""
        if name not in self._logs and self.auto_create:
            self.create(name)
        return name in self._logs

    def add_partitions(self, name: str, count: int) -> None:
        logs = self.logs(name)
        logs += [PartitionLog(TopicPartition(name, number)) for number in range(len(logs), len(logs) + count)]

    def delete(self, name: str) -> None:
        """Delete a topic with its records.

        Raises:
            UnknownTopic: there is no such topic.
        """
        self.logs(name)
        del self._logs[name], self._ids[name]

    def topic_id(self, name: str) -> str:
        """The topic id, as brokers assign it; empty if there is no such topic."""
        return self._ids.get(name, "")

    def names(self) -> Sequence[str]:
        return sorted(self._logs)

    def __contains__(self, name: object) -> bool:
        return name in self._logs

    def partitions(self, name: str) -> Sequence[TopicPartition]:
        return [log.tp for log in self._logs.get(name, ())]

    def logs(self, name: str) -> list[PartitionLog]:
        """The logs of a topic, by partition.

        Raises:
            UnknownTopic: there is no such topic.
        """
        if name not in self._logs:
            raise UnknownTopic(self._unknown_topic_text(name))
        return self._logs[name]

    def log(self, tp: TopicPartition) -> PartitionLog:
        """The log of a partition.

        Raises:
            UnknownTopic: there is no such topic or partition.
        """
        logs = self.logs(tp.topic)
        if not 0 <= tp.partition < len(logs):
            has = f"it has {len(logs)} (0 to {len(logs) - 1})" if len(logs) > 1 else "it has only partition 0"
            raise UnknownTopic(f"topic {tp.topic!r} has no partition {tp.partition}: {has}")
        return logs[tp.partition]

    def _unknown_topic_text(self, name: str) -> str:
        if not self._logs:
            return f"topic {name!r} does not exist; there are no topics yet"
        near = difflib.get_close_matches(name, self._logs, 1)
        meant = f"; did you mean {near[0]!r}?" if near else ""
        return f"topic {name!r} does not exist; the topics are {', '.join(map(repr, self.names()))}{meant}"

    # ------------------------------------------------------------------ writing

    def choose_partition(self, topic: str, key: bytes | None, partition: int | None) -> TopicPartition:
        """The partition of a record: the given one, by the hash of its key as in the Java client, or a random one.

        Raises:
            UnknownTopic: there is no such topic or partition.
        """
        self.ensure_exists(topic)
        count = len(self.logs(topic))
        if partition is None:
            partition = (murmur2(key) & 0x7FFFFFFF) % count if key is not None else self._random.randrange(count)
        tp = TopicPartition(str_subclass_to_str(topic), partition)
        self.log(tp)
        return tp

    def append_record(
        self,
        tp: TopicPartition,
        *,
        key: bytes | None,
        value: bytes | None,
        headers: tuple[tuple[str, bytes | None], ...],
        timestamp_ms: int,
        transaction: int | None = None,
    ) -> MemoryRecord:
        """Write a record.

        Raises:
            TooLarge: a broker with default settings would refuse it.
        """
        if (size := record_size(key, value, headers)) > MAX_MESSAGE_BYTES:
            raise TooLarge(size, MAX_MESSAGE_BYTES)
        return self.log(tp).append_record(
            key=key, value=value, headers=headers, timestamp_ms=timestamp_ms, transaction=transaction
        )

    def begin_transaction(self) -> int:
        return next(self._transactions)

    def end_transaction(self, transaction: int, *, commit: bool) -> None:
        for logs in self._logs.values():
            for log in logs:
                log.end_transaction(transaction, commit=commit)

    def records(self, name: str, isolation: Isolation) -> list[MemoryRecord]:
        """All records that a reader with this isolation level sees, by partition and offset."""
        if name not in self._logs and not self.auto_create:
            raise UnknownTopic(self._unknown_topic_text(name))
        return [record for log in self._logs.get(name, ()) for record in log.visible_records(isolation)]
