"""Membership: answers to joins and heartbeats, static members, rebalances."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import Any

import pytest

from evkafka.broker import KafkaBroker
from evkafka.exceptions import BrokerError, BrokerRefused
from evkafka.records import TopicPartition
from tests.support.fake_kafka import FakeKafka
from tests.support.kafka_reader import Read
from tests.support.kafka_topics import MakeTopic, produce
from tests.support.proxy import FIND_COORDINATOR, HEARTBEAT, JOIN_GROUP, Proxy
from tests.support.waiting import SLACK_S, eventually

REQUEST_S = 0.7


class TestHeartbeats:
    @pytest.mark.parametrize(
        ("code", "joins"), [(14, 1), (15, 1), (16, 1), (22, 2), (25, 2), (27, 2), (81, 2), (82, 2), (-1, 2)]
    )
    async def test_survive_an_answer_that_is_not_final(
        self, fake: FakeKafka, name: str, read: Read, code: int, joins: int
    ) -> None:
        await fake.create(name)
        reader = await read(fake.bootstrap_servers, name, name, session_timeout_s=1.0)
        await eventually(lambda: reader.source.state() == "steady")
        fault = await fake.fault(HEARTBEAT, code, group=name)

        await eventually(fault.hits)
        await eventually(lambda: len(reader.listener.assigned) >= joins and reader.source.state() == "steady")
        await produce(fake.bootstrap_servers, name, 3)
        await eventually(lambda: reader.offsets() == [0, 1, 2])
        assert reader.errors == []
        await reader.source.commit({TopicPartition(name, 0): 3}, timeout_s=5)

    async def test_that_are_not_confirmed_for_a_session_are_a_lost_membership(
        self, fake: FakeKafka, name: str, read: Read
    ) -> None:
        """No record begins meanwhile, and the readiness probe says so. A coordinator that loads its groups answers like
        that."""
        await fake.create(name)
        reader = await read(fake.bootstrap_servers, name, name, session_timeout_s=1.0)
        await eventually(lambda: reader.source.state() == "steady")

        fault = await fake.fault(HEARTBEAT, 14, group=name, count=-1)
        await eventually(lambda: reader.source.state() == "lost")
        assert not reader.source.is_session_alive()
        await fault.heal()

        await eventually(lambda: reader.source.state() == "steady")
        assert reader.source.is_session_alive()

    async def test_losing_the_right_to_the_group_ends_the_source(self, fake: FakeKafka, name: str, read: Read) -> None:
        await fake.create(name)
        reader = await read(fake.bootstrap_servers, name, name)
        await eventually(lambda: reader.source.state() == "steady")
        await fake.fault(HEARTBEAT, 30, group=name)

        await eventually(lambda: reader.errors)
        assert isinstance(reader.errors[0], BrokerRefused)
        assert f"not authorized for group {name}" in str(reader.errors[0])
        assert reader.source.state() == "lost"

    async def test_a_coordinator_that_no_longer_answers_is_noticed_within_a_session(
        self, kafka_broker: KafkaBroker, topic: MakeTopic, proxy: Proxy, name: str, read: Read
    ) -> None:
        orders = await topic()
        reader = await read(proxy.bootstrap_servers, orders, name, session_timeout_s=1.0)
        await eventually(lambda: reader.source.state() == "steady")

        await proxy.set("blackhole")
        await eventually(lambda: reader.source.state() == "lost", 1.0 + SLACK_S)
        await proxy.set("pass")

        await eventually(lambda: reader.source.state() == "steady")
        await produce(kafka_broker.bootstrap_servers, orders, 3)
        await eventually(lambda: reader.offsets()[-3:] == [0, 1, 2])
        assert reader.errors == []


class TestStates:
    async def test_is_connecting_until_there_is_a_coordinator_however_long_that_takes(
        self, fake: FakeKafka, name: str, read: Read
    ) -> None:
        await fake.create(name)
        fault = await fake.fault(FIND_COORDINATOR, 15, group=name, count=-1)
        reader = await read(fake.bootstrap_servers, name, name)

        async def asked() -> bool:
            return await fault.hits() > 3

        await eventually(asked)
        assert reader.source.state() == "connecting"
        await fault.heal()
        await eventually(lambda: reader.source.state() == "steady")
        assert reader.errors == []


class TestJoins:
    @pytest.mark.parametrize("code", [14, 15, 16, 25, 27])
    async def test_transient_errors_are_retried(self, fake: FakeKafka, name: str, read: Read, code: int) -> None:
        await fake.create(name)
        await fake.fault(JOIN_GROUP, code, group=name, count=2)
        reader = await read(fake.bootstrap_servers, name, name)

        await eventually(lambda: reader.source.state() == "steady" or reader.errors)
        assert [type(error) for error in reader.errors] in ([], [BrokerError])

    @pytest.mark.parametrize(
        ("code", "words"),
        [
            (26, "session_timeout_ms"),
            (23, "partition_assignment_strategy"),
            (30, "not authorized for group"),
        ],
    )
    async def test_final_errors_are_reported_with_their_cause(
        self, fake: FakeKafka, name: str, read: Read, code: int, words: str
    ) -> None:
        await fake.create(name)
        await fake.fault(JOIN_GROUP, code, group=name, count=-1)
        reader = await read(fake.bootstrap_servers, name, name)

        await eventually(lambda: reader.errors)
        assert isinstance(reader.errors[0], BrokerRefused)
        assert words in str(reader.errors[0])

    async def test_an_error_code_that_aiokafka_does_not_know_has_its_name(
        self, fake: FakeKafka, name: str, read: Read
    ) -> None:
        await fake.create(name)
        await fake.fault(JOIN_GROUP, 81, group=name, count=-1)
        reader = await read(fake.bootstrap_servers, name, name)

        await eventually(lambda: reader.errors)
        assert isinstance(reader.errors[0], BrokerError)
        assert "GROUP_MAX_SIZE_REACHED (81)" in str(reader.errors[0])

    async def test_joins_once_with_one_assignor(
        self, kafka_broker: KafkaBroker, topic: MakeTopic, proxy: Proxy, name: str, read: Read
    ) -> None:
        reader = await read(proxy.bootstrap_servers, await topic(), name)
        await eventually(lambda: reader.source.state() == "steady")

        assert proxy.requests.count(JOIN_GROUP) == 2  # the first is answered with the member id


class TestRebalances:
    async def test_between_revocation_and_assignment_nothing_is_handed_out(
        self, kafka_broker: KafkaBroker, topic: MakeTopic, name: str, read: Read
    ) -> None:
        servers, orders = kafka_broker.bootstrap_servers, await topic(partitions=2)
        first = await read(servers, orders, name)
        await eventually(lambda: first.listener.assigned)
        revoking, go_on = asyncio.Event(), asyncio.Event()

        async def slowly(_: Collection[TopicPartition]) -> None:
            revoking.set()
            await go_on.wait()

        first.listener.revoking = slowly
        second = await read(servers, orders, name)
        await revoking.wait()
        assert first.source.state() == "joining"
        for partition in (0, 1):
            await produce(servers, orders, partition=partition)
        polls = first.polls
        await eventually(lambda: first.polls > polls + 5)  # polls return in time meanwhile
        assert first.records == []
        go_on.set()

        await eventually(lambda: len(first.records) + len(second.records) == 20)
        assert len(first.records) == len(second.records) == 10

    async def test_that_take_longer_than_a_request_timeout_do_not_break_the_joining_member(
        self, kafka_broker: KafkaBroker, topic: MakeTopic, proxy: Proxy, name: str, read: Read
    ) -> None:
        orders = await topic(partitions=2)
        short: dict[str, Any] = {"connection": {"request_timeout_s": REQUEST_S}}
        first = await read(kafka_broker.bootstrap_servers, orders, name, **short)
        await eventually(lambda: first.listener.assigned)
        drained = asyncio.Event()

        async def drain(_: Collection[TopicPartition]) -> None:
            asyncio.get_running_loop().call_later(REQUEST_S * 3, drained.set)
            await drained.wait()

        first.listener.revoking = drain
        second = await read(proxy.bootstrap_servers, orders, name, **short)
        await eventually(lambda: second.listener.assigned and len(first.listener.assigned) == 2)

        assert drained.is_set()
        assert proxy.requests.count(JOIN_GROUP) == 2  # the first is answered with the member id
        assert [len(one.source.assignment()) for one in (first, second)] == [1, 1]
        assert first.errors == second.errors == []

    async def test_an_error_of_the_listener_ends_the_source(
        self, kafka_broker: KafkaBroker, topic: MakeTopic, name: str, read: Read
    ) -> None:
        reader = await read(kafka_broker.bootstrap_servers, await topic(), name)

        async def fail(_: Collection[TopicPartition]) -> None:
            raise ZeroDivisionError("in the listener")

        reader.listener.assigning = fail

        await eventually(lambda: reader.errors)
        assert isinstance(reader.errors[0], BrokerError)
        assert "ZeroDivisionError" in str(reader.errors[0])

    async def test_an_idle_member_without_partitions_takes_over_when_another_leaves(
        self, kafka_broker: KafkaBroker, topic: MakeTopic, name: str, read: Read
    ) -> None:
        servers, orders = kafka_broker.bootstrap_servers, await topic()
        members = [await read(servers, orders, name), await read(servers, orders, name)]
        await eventually(lambda: sorted(len(member.source.assignment()) for member in members) == [0, 1])
        idle, busy = sorted(members, key=lambda member: len(member.source.assignment()))
        await idle.want(())

        await busy.stop()

        await eventually(lambda: len(idle.source.assignment()) == 1)


class TestStaticMembers:
    async def test_a_second_process_with_the_same_instance_id_fences_the_first(
        self, kafka_broker: KafkaBroker, topic: MakeTopic, name: str, read: Read
    ) -> None:
        servers, orders = kafka_broker.bootstrap_servers, await topic()
        first = await read(servers, orders, name, group_instance_id="one")
        await eventually(lambda: first.source.state() == "steady")

        second = await read(servers, orders, name, group_instance_id="one")

        await eventually(lambda: first.errors)
        assert isinstance(first.errors[0], BrokerRefused)
        assert "group_instance_id 'one'" in str(first.errors[0])
        await eventually(lambda: second.source.state() == "steady" and len(second.source.assignment()) == 1)
        assert second.errors == []

    async def test_members_that_expel_each_other_repeatedly_end_with_an_error(
        self, fake: FakeKafka, name: str, read: Read
    ) -> None:
        await fake.create(name)
        reader = await read(fake.bootstrap_servers, name, name, group_instance_id="one", session_timeout_s=1.0)
        await eventually(lambda: reader.source.state() == "steady")
        await fake.fault(HEARTBEAT, 25, group=name, count=-1)

        await eventually(lambda: reader.errors)
        assert isinstance(reader.errors[0], BrokerRefused)
        assert "removed this member 5 times" in str(reader.errors[0])

    async def test_a_restart_within_the_session_gets_its_partitions_back_without_a_rebalance(
        self, kafka_broker: KafkaBroker, topic: MakeTopic, name: str, read: Read
    ) -> None:
        servers, orders = kafka_broker.bootstrap_servers, await topic(partitions=2)
        stays = await read(servers, orders, name, group_instance_id="stays")
        goes = await read(servers, orders, name, group_instance_id="goes")
        await eventually(lambda: len(stays.source.assignment()) == len(goes.source.assignment()) == 1)
        await eventually(lambda: stays.listener.assigned[-1:] == [set(stays.source.assignment())])
        before, assigned = set(goes.source.assignment()), len(stays.listener.assigned)
        await goes.stop()

        comes_back = await read(servers, orders, name, group_instance_id="goes")

        await eventually(lambda: set(comes_back.source.assignment()) == before)
        assert len(stays.listener.assigned) == assigned


class TestEndedTasks:
    @pytest.mark.parametrize("owner", ["fetching", "coordinator"])
    async def test_a_background_task_that_has_ended_is_an_error_of_the_poll(
        self, kafka_broker: KafkaBroker, topic: MakeTopic, name: str, read: Read, owner: str
    ) -> None:
        reader = await read(kafka_broker.bootstrap_servers, await topic(), name)
        await eventually(lambda: reader.source.state() == "steady")
        consumer = reader.source._started_consumer()
        if owner == "fetching":
            consumer.fetcher._get_actions_per_node = None  # the next round of the fetch task fails
        else:
            consumer.coordinator._maybe_do_autocommit = None
            consumer.coordinator.request_rejoin()

        await eventually(lambda: reader.errors)
        assert isinstance(reader.errors[0], BrokerError)
        assert reader.source.state() == "lost"
