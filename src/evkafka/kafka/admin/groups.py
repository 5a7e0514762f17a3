"""Consumer groups from outside: who is in one, how far it is, and where it shall go on."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import CommitFailedError, GroupAuthorizationFailedError, for_code
from aiokafka.structs import TopicPartition as ClientPartition

from evkafka.config.settings import ConnectionSettings
from evkafka.exceptions import CommitRefused
from evkafka.kafka.admin.log_reader import _all, _reader, _told, written_ends
from evkafka.kafka.admin.topics import administering
from evkafka.kafka.options import connection_options
from evkafka.records import TopicPartition


@dataclass(frozen=True, slots=True)
class Member:
    client_id: str
    host: str


@dataclass(frozen=True, slots=True)
class Group:
    """A group as its coordinator sees it.

    Attributes:
        state: `Stable`, `Empty`, `PreparingRebalance`, `CompletingRebalance`, or `Dead` where there is no such group.
    """

    state: str
    members: tuple[Member, ...]

    @property
    def active(self) -> bool:
        return bool(self.members) or self.state not in ("Empty", "Dead")


async def describe_group(connection: ConnectionSettings, group_id: str, *, timeout_s: float = 30.0) -> Group:
    """
    Raises:
        BrokerUnavailable, BrokerRefused, BrokerError: the cluster did not say.
    """
    async with administering(connection, f"looking at group {group_id!r}", timeout_s) as admin:
        [answer] = await admin.describe_consumer_groups([group_id])
        [described] = answer.groups
        code, _, state, _, _, members = described[:6]
        if code == GroupAuthorizationFailedError.errno:
            raise GroupAuthorizationFailedError(group_id)
        if code:
            # Newer brokers answer for a group that they do not know with an error of its own.
            if state in ("", "Dead"):
                return Group("Dead", ())
            raise for_code(code)(group_id)
    return Group(state, tuple(Member(member[1], member[2].lstrip("/")) for member in members))


async def group_offsets(
    connection: ConnectionSettings, group_id: str, *, timeout_s: float = 30.0
) -> Mapping[TopicPartition, int]:
    """All offsets that a group has committed.

    Raises:
        BrokerUnavailable, BrokerRefused, BrokerError: the cluster did not say.
    """
    async with administering(connection, f"reading the offsets of group {group_id!r}", timeout_s) as admin:
        found = await admin.list_consumer_group_offsets(group_id)
    return {TopicPartition(at.topic, at.partition): meta.offset for at, meta in found.items() if meta.offset >= 0}


@dataclass(frozen=True, slots=True)
class Bounds:
    """Which offsets of a partition can be read.

    Attributes:
        first: the first that is still there.
        end: the one behind the last record that a reader of what is committed sees.
        high_watermark: the one behind all that is written. Between the two lie a transaction that is not decided, and
            what came after it.
    """

    first: int
    end: int
    high_watermark: int


async def bounds_of(
    connection: ConnectionSettings, topics: Collection[str], *, timeout_s: float = 30.0
) -> Mapping[TopicPartition, Bounds]:
    """
    Raises:
        BrokerUnavailable, BrokerRefused, BrokerError: the cluster did not say.
    """
    doing = f"reading where {', '.join(map(repr, sorted(topics)))} begin and end"
    async with _reader(connection, doing, timeout_s) as reader:
        partitions = [at for topic in sorted(topics) for at in await _all(reader, topic)]
        if not partitions:
            return {}
        first, end = await reader.beginning_offsets(partitions), await reader.end_offsets(partitions)
        written = await written_ends(reader, partitions)
    return {TopicPartition(*at): Bounds(first[at], end[at], max(written[at], end[at])) for at in partitions}


async def offsets_for_time(
    connection: ConnectionSettings,
    partitions: Collection[TopicPartition],
    timestamp_ms: int,
    *,
    timeout_s: float = 30.0,
) -> Mapping[TopicPartition, int]:
    """The first offset of that time or later; a partition that has none is left out.

    Raises:
        BrokerUnavailable, BrokerRefused, BrokerError: the cluster did not say.
    """
    if not partitions:
        return {}
    async with _reader(connection, "looking offsets up by time", timeout_s) as reader:
        for topic in {at.topic for at in partitions}:
            await _all(reader, topic)
        asked = {ClientPartition(at.topic, at.partition): timestamp_ms for at in partitions}
        found = await reader.offsets_for_times(asked)
    return {TopicPartition(at.topic, at.partition): one.offset for at, one in found.items() if one is not None}


async def commit_offsets(
    connection: ConnectionSettings, group_id: str, offsets: Mapping[TopicPartition, int], *, timeout_s: float = 30.0
) -> None:
    """Say where a group shall go on. The brokers take it from no outsider while the group has members.

    Raises:
        CommitRefused: it has members.
        BrokerUnavailable, BrokerRefused, BrokerError: the offsets may or may not have been written.
    """
    async with _told(f"writing the offsets of group {group_id!r}", timeout_s):
        consumer: Any = AIOKafkaConsumer(**connection_options(connection), group_id=group_id, enable_auto_commit=False)
        try:
            await consumer.start()
            for topic in {at.topic for at in offsets}:
                await _all(consumer, topic)
            named = {ClientPartition(at.topic, at.partition): offset for at, offset in offsets.items()}
            consumer.assign(list(named))
            await consumer.commit(named)
        except CommitFailedError as error:
            raise CommitRefused(f"group {group_id!r} has members, and only they may commit: stop them first") from error
        finally:
            await consumer.stop()
