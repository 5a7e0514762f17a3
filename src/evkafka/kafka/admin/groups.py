"""Describes consumer groups from outside, and reads and writes their offsets."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, NamedTuple

from aiokafka import AIOKafkaConsumer
from aiokafka.coordinator.protocol import ConsumerProtocol
from aiokafka.errors import (
    CommitFailedError,
    GroupAuthorizationFailedError,
    IncompatibleBrokerVersion,
    TopicAuthorizationFailedError,
    for_code,
)
from aiokafka.structs import TopicPartition as ClientPartition

from evkafka.config.settings import ConnectionSettings
from evkafka.exceptions import CommitRefused
from evkafka.kafka.admin.reader import partitions_of_topic
from evkafka.kafka.admin.session import admin_session, limit_operation, reader_session, retry_until_coordinator_known
from evkafka.kafka.client.consumer_protocol_offer import ConsumerProtocolOffer, request_consumer_protocol_offer
from evkafka.kafka.client.group_protocol import LEAVE_AND_RETURN, ConsumerGroupDescribeRequest, DescribedMember
from evkafka.kafka.client.protocol import OffsetFetchWithEpochsRequest
from evkafka.kafka.consumer.offset_fetch import read_committed_offsets
from evkafka.kafka.errors import ErrorCode
from evkafka.kafka.options import connection_options
from evkafka.records import TopicPartition

Protocol = Literal["classic", "consumer"]


@dataclass(frozen=True, slots=True)
class Member:
    """One member of a group.

    Attributes:
        protocol: the one that it has joined with: a group of the consumer protocol may have members of both.
        epoch: its member epoch; None in a group of the classic protocol, and while a static member is away.
        is_moving: whether it has to give up partitions, or waits for some.
        is_away: whether it is a static member that has stopped; its partitions wait for it, for a session.
    """

    client_id: str
    host: str
    protocol: Protocol = "classic"
    epoch: int | None = None
    is_moving: bool = False
    is_away: bool = False


@dataclass(frozen=True, slots=True)
class Group:
    """A group, as its coordinator describes it.

    Attributes:
        state: `Stable`, `Empty`, or `Dead` if the group does not exist; during a rebalance of the classic protocol
            `PreparingRebalance` and `CompletingRebalance`, of the consumer protocol `Assigning` and `Reconciling`.
        epoch: its group epoch; None for the classic protocol.
        assignor: the name of its assignor; empty while it has none.
        assignor_adds_data: whether the present assignment has data of the assignor's own. The brokers do not convert
            such a group while it has members. Always False in a group of the consumer protocol.
    """

    state: str
    members: tuple[Member, ...]
    protocol: Protocol = "classic"
    epoch: int | None = None
    assignor: str = ""
    assignor_adds_data: bool = False

    @property
    def active(self) -> bool:
        return bool(self.members) or self.state not in ("Empty", "Dead")


async def describe_group(connection: ConnectionSettings, group_id: str) -> Group:
    """State and members of a group of either protocol.

    Raises:
        BrokerUnavailable, BrokerRefused, BrokerError: the cluster did not answer.
    """
    async with admin_session(connection, f"describing group {group_id!r}") as admin:
        return await retry_until_coordinator_known(partial(_describe_any_group, admin, group_id))


async def _describe_any_group(admin: Any, group_id: str) -> Group:
    # The request of the classic protocol calls a group of the consumer protocol "Dead", so it comes second.
    return await _describe_consumer_group(admin, group_id) or await _describe_classic_group(admin, group_id)


async def _describe_consumer_group(admin: Any, group_id: str) -> Group | None:
    """None if it is no group of the consumer protocol."""
    node = await admin.find_coordinator(group_id)
    try:
        answer = await admin.client.send(node, ConsumerGroupDescribeRequest([group_id]))
    except IncompatibleBrokerVersion:
        return None
    [group] = answer.described
    match group.error_code:
        case 0:
            members = tuple(map(_member_of, group.members))
            return Group(group.state, members, "consumer", group.epoch, group.assignor)
        case ErrorCode.GROUP_ID_NOT_FOUND | ErrorCode.UNSUPPORTED_VERSION:
            return None
        case ErrorCode.TOPIC_AUTHORIZATION_FAILED:
            raise TopicAuthorizationFailedError(f"read by group {group_id!r}")
        case code:
            raise for_code(code)(group_id)


def _member_of(member: DescribedMember) -> Member:
    is_away = member.epoch == LEAVE_AND_RETURN
    return Member(
        client_id=member.client_id,
        host=member.host.lstrip("/"),
        protocol="classic" if member.is_classic else "consumer",
        epoch=None if is_away else member.epoch,
        is_moving=member.assigned != member.target and not is_away,
        is_away=is_away,
    )


async def _describe_classic_group(admin: Any, group_id: str) -> Group:
    [answer] = await admin.describe_consumer_groups([group_id])
    [described] = answer.groups
    code, _, state, kind, assignor, members = described[:6]
    if code == ErrorCode.GROUP_AUTHORIZATION_FAILED:
        raise GroupAuthorizationFailedError(group_id)
    if code == ErrorCode.GROUP_ID_NOT_FOUND:  # newer brokers; older ones answer with the state "Dead"
        return Group("Dead", ())
    if code:
        raise for_code(code)(group_id)
    return Group(
        state,
        tuple(Member(member[1], member[2].lstrip("/")) for member in members),
        assignor=assignor,
        assignor_adds_data=kind == ConsumerProtocol.PROTOCOL_TYPE
        and any(_has_user_data_in_assignment(member[4]) for member in members),
    )


def _has_user_data_in_assignment(assignment: bytes) -> bool:
    """Whether a member's assignment has more than partitions. It is empty during a rebalance."""
    if not assignment:
        return False
    try:
        return bool(ConsumerProtocol.ASSIGNMENT.decode(assignment).user_data)
    except ValueError:  # the brokers cannot read it either
        return True


async def look_up_consumer_protocol_offer(connection: ConnectionSettings, group_id: str) -> ConsumerProtocolOffer:
    """Whether the brokers offer the consumer protocol to this group.

    Raises:
        BrokerUnavailable, BrokerRefused, BrokerError: the cluster did not answer.
    """
    async with admin_session(connection, f"looking up the protocols of group {group_id!r}") as admin:
        return await retry_until_coordinator_known(partial(request_consumer_protocol_offer, admin.client, group_id))


class GroupCommit(NamedTuple):
    """What a group has committed for one partition."""

    offset: int
    metadata: str


async def group_offsets(
    connection: ConnectionSettings, group_id: str, *, timeout_s: float = 30.0
) -> Mapping[TopicPartition, int]:
    """All committed offsets of a group.

    Raises:
        BrokerUnavailable, BrokerRefused, BrokerError: the cluster did not answer.
    """
    return {at: one.offset for at, one in (await group_commits(connection, group_id, timeout_s=timeout_s)).items()}


async def group_commits(
    connection: ConnectionSettings, group_id: str, *, timeout_s: float = 30.0
) -> Mapping[TopicPartition, GroupCommit]:
    """All committed offsets of a group, with their metadata.

    Raises:
        BrokerUnavailable, BrokerRefused, BrokerError: the cluster did not answer.
    """
    async with admin_session(connection, f"reading the committed offsets of group {group_id!r}", timeout_s) as admin:
        return await retry_until_coordinator_known(partial(_fetch_commits, admin, group_id))


async def _fetch_commits(admin: Any, group_id: str) -> Mapping[TopicPartition, GroupCommit]:
    """aiokafka's admin client ignores the error of the whole answer: it would look like a group without commits
    (aiokafka-defects.md#failed-lookup)."""
    node = await admin.find_coordinator(group_id)
    answer = await admin.client.send(node, OffsetFetchWithEpochsRequest(group_id, None))
    code = getattr(answer, "error_code", 0)
    if code == ErrorCode.GROUP_ID_NOT_FOUND:
        return {}
    if code:
        raise for_code(code)(group_id)
    found: dict[ClientPartition, tuple[int, str]] = {}
    read_committed_offsets(answer.topics, None, found)
    return {TopicPartition(*at): GroupCommit(*one) for at, one in found.items()}


@dataclass(frozen=True, slots=True)
class Bounds:
    """The range of a partition's offsets.

    Attributes:
        first: the first offset that still exists.
        end: the offset after the last record that a reader of committed records sees.
        high_watermark: the offset after everything written. Between the two are an undecided transaction and the
            records after it.
    """

    first: int
    end: int
    high_watermark: int


async def offset_bounds_of_topics(
    connection: ConnectionSettings, topics: Collection[str]
) -> Mapping[TopicPartition, Bounds]:
    """The bounds of all partitions of these topics.

    Raises:
        BrokerUnavailable, BrokerRefused, BrokerError: the cluster did not answer.
    """
    doing = f"reading the first and last offsets of {', '.join(map(repr, sorted(topics)))}"
    async with reader_session(connection, doing) as reader:
        partitions = [at for topic in sorted(topics) for at in await reader.partitions_of_topic(topic)]
        if not partitions:
            return {}
        first, end = await reader.beginning_offsets(partitions), await reader.end_offsets(partitions)
        written = await reader.written_ends(partitions)
    return {TopicPartition(*at): Bounds(first[at], end[at], max(written[at], end[at])) for at in partitions}


async def offsets_for_time(
    connection: ConnectionSettings, partitions: Collection[TopicPartition], timestamp_ms: int
) -> Mapping[TopicPartition, int]:
    """The first offset of that time or later; a partition without one is left out.

    Raises:
        BrokerUnavailable, BrokerRefused, BrokerError: the cluster did not answer.
    """
    if not partitions:
        return {}
    async with reader_session(connection, "looking up offsets by timestamp") as reader:
        for topic in {at.topic for at in partitions}:
            await reader.partitions_of_topic(topic)
        asked = {ClientPartition(at.topic, at.partition): timestamp_ms for at in partitions}
        found = await reader.offsets_for_times(asked)
    return {TopicPartition(at.topic, at.partition): one.offset for at, one in found.items() if one is not None}


async def commit_offsets(
    connection: ConnectionSettings, group_id: str, offsets: Mapping[TopicPartition, int], *, timeout_s: float = 30.0
) -> None:
    """Commit offsets for a group from outside. Brokers accept it only while the group has no members.

    Raises:
        CommitRefused: it has members.
        BrokerUnavailable, BrokerRefused, BrokerError: the offsets may or may not have been written.
    """
    async with limit_operation(f"committing offsets of group {group_id!r}", timeout_s):
        consumer: Any = AIOKafkaConsumer(**connection_options(connection), group_id=group_id, enable_auto_commit=False)
        try:
            await consumer.start()
            for topic in {at.topic for at in offsets}:
                await partitions_of_topic(consumer, topic)
            named = {ClientPartition(at.topic, at.partition): offset for at, offset in offsets.items()}
            consumer.assign(list(named))
            await consumer.commit(named)
        except CommitFailedError as error:
            raise CommitRefused(
                f"group {group_id!r} has active members, and only they may commit: stop them first"
            ) from error
        finally:
            await consumer.stop()
