"""The requests of the consumer group protocol on a real Kafka: what a member sends, and what it is refused."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from evkafka.broker import KafkaBroker
from evkafka.kafka.client.consumer_protocol_offer import request_consumer_protocol_offer
from evkafka.kafka.client.group_protocol import (
    LEAVE,
    ConsumerGroupDescribeRequest,
)
from evkafka.kafka.client.node_connections import NodeConnections
from evkafka.kafka.client.offset_protocol import MemberOffsetFetchRequest
from evkafka.kafka.client.protocol import TopicIdsByNameRequest
from evkafka.kafka.errors import ErrorCode
from tests.support.group_member import GroupMember
from tests.support.kafka_topics import MakeTopic
from tests.support.waiting import eventually


@pytest.fixture
async def client(kafka_broker: KafkaBroker) -> AsyncIterator[NodeConnections]:
    client = NodeConnections(bootstrap_servers=kafka_broker.bootstrap_servers)
    await client.bootstrap()
    yield client
    await client.close()


@pytest.fixture
async def member(client: NodeConnections, topic: MakeTopic, name: str) -> GroupMember:
    return GroupMember(client, name, await topic(partitions=2))


class TestAMember:
    async def test_joins_commits_is_described_and_leaves(self, client: NodeConnections, member: GroupMember) -> None:
        [(_, _, topic_id, *_)] = (await client.send_to_any_node(TopicIdsByNameRequest([member.topic]))).topics
        await member.join()
        assert member.partitions == {topic_id: {0, 1}}

        assert await member.commit(5, member.epoch, {member.topic: topic_id}) == 0
        assert await member.commit(6, member.epoch, {}) == 0
        partitions = [(member.topic, [0])]
        found = await member.ask(
            MemberOffsetFetchRequest(member.group, partitions, member_id=member.id, member_epoch=member.epoch)
        )
        assert (found.error_code, found.topics) == (0, [(member.topic, [(0, 6, -1, "text", 0)])])
        assert (await member.ask(MemberOffsetFetchRequest(member.group, None))).topics == found.topics

        [described] = (await member.ask(ConsumerGroupDescribeRequest([member.group]))).described
        [one] = described.members
        assert (described.state, described.assignor, described.epoch) == ("Stable", "uniform", member.epoch)
        assert (one.member_id, one.epoch, one.is_classic) == (member.id, member.epoch, False)
        assert one.assigned == one.target == {member.topic: {0, 1}}

        assert (await member.beat(LEAVE)).error_code == 0
        [described] = (await member.ask(ConsumerGroupDescribeRequest([member.group]))).described
        assert (described.state, described.members) == ("Empty", ())

    async def test_of_an_earlier_epoch_may_not_commit_nor_look_up_offsets(self, member: GroupMember) -> None:
        await member.join()
        old = member.epoch
        other = GroupMember(member.client, member.group, member.topic)

        async def moved() -> bool:
            await member.beat(owned=member.partitions)
            await other.beat(owned=other.partitions)
            return bool(other.partitions)

        await eventually(moved)

        assert await member.commit(1, old - 1, {}) == ErrorCode.STALE_MEMBER_EPOCH
        found = await member.ask(
            MemberOffsetFetchRequest(member.group, None, member_id=member.id, member_epoch=old - 1)
        )
        assert found.error_code == ErrorCode.STALE_MEMBER_EPOCH
        assert (await member.beat(member.epoch + 5)).error_code == ErrorCode.FENCED_MEMBER_EPOCH
        stranger = GroupMember(member.client, member.group, member.topic)
        assert await stranger.commit(1, 1, {}) == ErrorCode.UNKNOWN_MEMBER_ID
        assert (await stranger.beat(1)).error_code == ErrorCode.UNKNOWN_MEMBER_ID

    @pytest.mark.parametrize(
        ("changes", "code"),
        [
            ({"assignor": "fastest"}, ErrorCode.UNSUPPORTED_ASSIGNOR),
            ({"topics": None, "topic_regex": "("}, ErrorCode.INVALID_REGULAR_EXPRESSION),
            ({"rebalance_timeout_ms": None}, ErrorCode.INVALID_REQUEST),
        ],
    )
    async def test_is_refused_with_the_code_of_what_is_wrong(
        self, member: GroupMember, changes: dict[str, Any], code: int
    ) -> None:
        assert (await member.beat(**changes)).error_code == code

    async def test_with_the_instance_id_of_another_is_refused(self, member: GroupMember) -> None:
        assert (await member.beat(instance_id="pod-0")).error_code == 0

        other = GroupMember(member.client, member.group, member.topic)

        assert (await other.beat(instance_id="pod-0")).error_code == ErrorCode.UNRELEASED_INSTANCE_ID


class TestTheOffer:
    async def test_of_kafka_4_is_the_protocol(self, client: NodeConnections, name: str) -> None:
        offer = await request_consumer_protocol_offer(client, name)

        assert offer == (1, 1, None)
