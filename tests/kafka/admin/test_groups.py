"""Groups of both protocols, described from outside."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment

from evkafka.broker import KafkaBroker
from evkafka.config.settings import ConnectionSettings
from evkafka.exceptions import BrokerError, CommitRefused
from evkafka.kafka.admin.groups import (
    Group,
    Member,
    commit_offsets,
    describe_group,
    group_offsets,
    look_up_consumer_protocol_offer,
)
from evkafka.kafka.client.group_protocol import LEAVE, LEAVE_AND_RETURN
from evkafka.kafka.client.node_connections import NodeConnections
from evkafka.records import TopicPartition
from tests.support.fake_kafka import FakeKafka
from tests.support.group_member import GroupMember
from tests.support.kafka_reader import Read
from tests.support.kafka_topics import MakeTopic
from tests.support.proxy import OFFSET_FETCH
from tests.support.waiting import eventually

DESCRIBE_GROUPS = 15


class AssignorWithData(RoundRobinPartitionAssignor):
    name = "by-customer"

    @classmethod
    def assign(cls, *args: Any) -> dict[str, ConsumerProtocolMemberAssignment]:
        return {
            member: ConsumerProtocolMemberAssignment(0, assigned.assignment, b"data")
            for member, assigned in super().assign(*args).items()
        }


@pytest.fixture
def connection(kafka_broker: KafkaBroker) -> ConnectionSettings:
    return ConnectionSettings(bootstrap_servers=(kafka_broker.bootstrap_servers,))


@pytest.fixture
async def member(kafka_broker: KafkaBroker, topic: MakeTopic, name: str) -> AsyncIterator[GroupMember]:
    client = NodeConnections(bootstrap_servers=kafka_broker.bootstrap_servers, client_id="shop")
    await client.bootstrap()
    yield GroupMember(client, name, await topic(partitions=2))
    await client.close()


class TestAGroupOfTheConsumerProtocol:
    async def test_has_epochs_and_may_be_committed_from_outside_when_its_members_have_left(
        self, connection: ConnectionSettings, member: GroupMember, name: str
    ) -> None:
        await member.join()
        offsets = {TopicPartition(member.topic, 0): 7}

        assert await describe_group(connection, name) == Group(
            "Stable", (Member("shop", "127.0.0.1", "consumer", member.epoch),), "consumer", member.epoch, "uniform"
        )
        with pytest.raises(CommitRefused, match="has active members"):
            await commit_offsets(connection, name, offsets)

        await member.beat(LEAVE)
        assert not (await describe_group(connection, name)).active
        await commit_offsets(connection, name, offsets)
        assert await group_offsets(connection, name) == offsets
        assert (await look_up_consumer_protocol_offer(connection, name)).obstacle is None

    async def test_has_the_epoch_that_its_source_knows(
        self, kafka_broker: KafkaBroker, connection: ConnectionSettings, topic: MakeTopic, name: str, read: Read
    ) -> None:
        reader = await read(kafka_broker.bootstrap_servers, await topic(), name, group_protocol="consumer")
        await eventually(lambda: reader.source.state() == "steady")

        [member] = (await describe_group(connection, name)).members

        assert reader.source.group_epoch() == ("consumer", member.epoch)

    async def test_shows_the_members_whose_partitions_are_changing(
        self, connection: ConnectionSettings, member: GroupMember, name: str
    ) -> None:
        await member.join()
        other = GroupMember(member.client, name, member.topic)
        await other.beat()

        group = await describe_group(connection, name)

        assert group.state == "Reconciling"
        assert [one.is_moving for one in group.members] == [True, True]

    async def test_shows_a_static_member_that_has_stopped_as_away(
        self, connection: ConnectionSettings, member: GroupMember, name: str
    ) -> None:
        await member.beat(instance_id="pod-0")
        await member.beat(LEAVE_AND_RETURN, instance_id="pod-0")

        [away] = (await describe_group(connection, name)).members

        assert away == Member("shop", "127.0.0.1", "consumer", is_away=True)


class TestAGroupOfTheClassicProtocol:
    async def test_has_an_assignor_and_no_epoch(
        self, kafka_broker: KafkaBroker, connection: ConnectionSettings, topic: MakeTopic, name: str, read: Read
    ) -> None:
        reader = await read(kafka_broker.bootstrap_servers, await topic(), name)
        await eventually(lambda: reader.source.state() == "steady")

        group = await describe_group(connection, name)

        assert (group.state, group.protocol, group.epoch, group.assignor) == ("Stable", "classic", None, "roundrobin")
        assert [(one.protocol, one.epoch) for one in group.members] == [("classic", None)]
        assert reader.source.group_epoch() == ("classic", 1)
        assert not group.assignor_adds_data

    async def test_whose_assignor_adds_data_takes_no_member_of_the_consumer_protocol(
        self, kafka_broker: KafkaBroker, connection: ConnectionSettings, topic: MakeTopic, name: str, read: Read
    ) -> None:
        servers, orders = kafka_broker.bootstrap_servers, await topic()
        options = {"partition_assignment_strategy": AssignorWithData}
        reader = await read(servers, orders, name, options=options)
        await eventually(lambda: reader.source.state() == "steady")

        group = await describe_group(connection, name)
        refused = await read(servers, orders, name, group_protocol="consumer")

        assert (group.assignor, group.assignor_adds_data) == ("by-customer", True)
        await eventually(lambda: refused.errors)
        assert "stop them first" in str(refused.errors[0])


class TestACoordinatorThatIsAway:
    """On the fake cluster, whose coordinator answers with an error at first."""

    @pytest.fixture
    def connection(self, fake: FakeKafka) -> ConnectionSettings:
        return fake.connection

    @pytest.mark.parametrize("code", [14, 15, 16])
    @pytest.mark.parametrize("top_level", [False, True])
    async def test_is_asked_for_the_commits_again(
        self, fake: FakeKafka, connection: ConnectionSettings, name: str, code: int, top_level: bool
    ) -> None:
        await fake.create(name)
        at = TopicPartition(name, 0)
        await commit_offsets(connection, name, {at: 7})
        fault = await fake.fault(OFFSET_FETCH, code, group=name, count=2, top_level=top_level)

        assert await group_offsets(connection, name) == {at: 7}
        assert await fault.hits() == 2

    @pytest.mark.parametrize("code", [14, 15, 16])
    async def test_is_asked_for_the_members_again(
        self, fake: FakeKafka, connection: ConnectionSettings, name: str, code: int
    ) -> None:
        fault = await fake.fault(DESCRIBE_GROUPS, code, group=name, count=2)

        assert (await describe_group(connection, name)).state == "Dead"
        assert await fault.hits() == 2

    async def test_is_an_error_after_the_time_limit(
        self, fake: FakeKafka, connection: ConnectionSettings, name: str
    ) -> None:
        await fake.fault(OFFSET_FETCH, 14, group=name, count=-1, top_level=True)

        with pytest.raises(BrokerError, match="no answer within"):
            await group_offsets(connection, name, timeout_s=0.5)
