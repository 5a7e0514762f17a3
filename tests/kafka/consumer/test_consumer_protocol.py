"""A member of a group of the consumer protocol (KIP-848): partitions come and go, and what stays is not touched."""

from __future__ import annotations

import asyncio
import re
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiokafka.admin import NewPartitions
from aiokafka.structs import TopicPartition as ClientPartition

from evkafka.broker import KafkaBroker
from evkafka.config.settings import ConnectionSettings
from evkafka.exceptions import BrokerRefused, CommitRefused
from evkafka.kafka.admin.groups import describe_group
from evkafka.kafka.client.group_protocol import LEAVE
from evkafka.kafka.client.node_connections import NodeConnections
from evkafka.records import Record, TopicPartition
from tests.support.fake_kafka import FakeKafka
from tests.support.group_member import GroupMember
from tests.support.kafka_reader import Read, Reader
from tests.support.kafka_topics import MakeTopic, admin_of, committed, produce
from tests.support.proxy import COMMIT, CONSUMER_GROUP_HEARTBEAT, FETCH, LIST_OFFSETS, OFFSET_FETCH, Proxy
from tests.support.waiting import SLACK_S, eventually

Join = Callable[..., Awaitable[Reader]]


@pytest.fixture
def join(read: Read) -> Join:
    """Starts readers of the consumer protocol: `reader = await join(servers, topic, group)`."""

    async def start(servers: str, topic: str, group: str, **overrides: Any) -> Reader:
        return await read(servers, topic, group, **{"group_protocol": "consumer", **overrides})

    return start


def has(reader: Reader, count: int) -> Callable[[], bool]:
    """Whether it is settled with so many partitions."""
    return lambda: len(reader.source.assignment()) == count and reader.source.state() == "steady"


def partitions_of(reader: Reader) -> set[int]:
    return {tp.partition for tp in reader.source.assignment()}


class TestWhatStays:
    async def test_keeps_its_position_and_the_records_that_were_fetched(
        self, kafka_broker: KafkaBroker, topic: MakeTopic, name: str, join: Join
    ) -> None:
        servers, orders = kafka_broker.bootstrap_servers, await topic(partitions=4)
        for partition in range(4):
            await produce(servers, orders, 20, partition=partition)
        first = await join(servers, orders, name)
        first.wanted = ()  # nothing is handed out: all that is fetched stays in the buffer
        await eventually(has(first, 4))
        consumer = first.source._started_consumer()
        buffers = consumer.fetcher._records
        await eventually(lambda: len(buffers) == 4)
        before = {tp: (buffers[tp], consumer.partition_state(tp)) for tp in tuple(buffers)}

        second = await join(servers, orders, name)

        await eventually(has(second, 2))
        assert set(first.source.assignment()) == set(before) - set(second.source.assignment())
        assert {tp: (buffers[tp], consumer.partition_state(tp)) for tp in first.source.assignment()} == {
            tp: before[ClientPartition(*tp)] for tp in first.source.assignment()
        }
        first.wanted = None
        await eventually(lambda: len(first.records) + len(second.records) == 80)
        for reader in (first, second):
            assert all(reader.offsets(partition) == list(range(20)) for partition in partitions_of(reader))

    async def test_is_read_and_committed_while_others_are_drained(
        self, kafka_broker: KafkaBroker, topic: MakeTopic, name: str, join: Join
    ) -> None:
        servers, orders = kafka_broker.bootstrap_servers, await topic(partitions=2)
        first = await join(servers, orders, name)
        await eventually(has(first, 2))
        revoking: asyncio.Future[set[TopicPartition]] = asyncio.get_running_loop().create_future()
        drained = asyncio.Event()

        async def drain(revoked: Collection[TopicPartition]) -> None:
            revoking.set_result(set(revoked))
            await drained.wait()

        first.listener.revoking = drain
        second = await join(servers, orders, name)
        [moved] = await revoking
        [stays] = first.source.assignment()

        await produce(servers, orders, 5, partition=stays.partition)
        await produce(servers, orders, 5, partition=moved.partition)
        await eventually(lambda: first.offsets(stays.partition) == [0, 1, 2, 3, 4])
        await first.source.commit({stays: 5}, timeout_s=5)
        await first.source.commit({moved: 0}, timeout_s=5)  # it is still this member's
        assert first.source.state() == "steady"
        assert first.offsets(moved.partition) == []
        assert second.source.assignment() == ()
        drained.set()

        await eventually(lambda: second.offsets(moved.partition) == [0, 1, 2, 3, 4])
        with pytest.raises(CommitRefused, match="not assigned to this member"):
            await first.source.commit({moved: 5}, timeout_s=5)
        assert first.listener.revoked == [{moved}]
        assert first.listener.lost == []

    async def test_comes_with_a_fetch_that_asked_for_more_than_that(
        self, kafka_broker: KafkaBroker, topic: MakeTopic, proxy: Proxy, name: str, join: Join
    ) -> None:
        servers, orders = kafka_broker.bootstrap_servers, await topic(partitions=2)
        first = await join(proxy.bootstrap_servers, orders, name)
        for partition in (0, 1):
            await produce(servers, orders, 1, partition=partition)
        await eventually(lambda: len(first.records) == 2)
        fetch = proxy.on(FETCH, hold=True)
        await fetch.seen.wait()
        fetches = proxy.requests.count(FETCH)

        second = await join(servers, orders, name)
        await eventually(has(second, 1))
        [moved], [stays] = second.source.assignment(), first.source.assignment()
        for partition in (0, 1):
            await produce(servers, orders, 3, partition=partition)
        assert proxy.requests.count(FETCH) == fetches
        fetch.release.set()

        await eventually(lambda: first.errors or first.offsets(stays.partition) == [0, 1, 2, 3])
        assert first.errors == []
        assert first.offsets(moved.partition) == [0]
        await eventually(lambda: second.offsets(moved.partition)[-3:] == [1, 2, 3])
        assert (first.errors, second.errors) == ([], [])

    async def test_finds_its_position_with_an_answer_that_has_others_too(
        self, kafka_broker: KafkaBroker, topic: MakeTopic, proxy: Proxy, name: str, join: Join
    ) -> None:
        servers, orders = kafka_broker.bootstrap_servers, await topic(partitions=2)
        lookup = proxy.on(LIST_OFFSETS, hold=True)
        first = await join(proxy.bootstrap_servers, orders, name)
        await lookup.seen.wait()

        second = await join(servers, orders, name)
        await eventually(has(second, 1))
        [moved], [stays] = second.source.assignment(), first.source.assignment()
        lookup.release.set()

        await eventually(lambda: first.source.position(stays) == 0)
        await eventually(lambda: first.listener.resets)
        assert [reset.partition for reset in first.listener.resets] == [stays]
        assert first.source.position(moved) is None
        assert first.errors == []

    async def test_gets_what_a_member_leaves_without_a_revocation(
        self, kafka_broker: KafkaBroker, topic: MakeTopic, name: str, join: Join
    ) -> None:
        servers, orders = kafka_broker.bootstrap_servers, await topic(partitions=4)
        first, second = await join(servers, orders, name), await join(servers, orders, name)
        await eventually(has(first, 2))
        await eventually(has(second, 2))
        revoked, stays = len(first.listener.revoked), set(first.source.assignment())
        moves = set(second.source.assignment())

        await second.stop()

        await eventually(has(first, 4))
        assert first.listener.assigned[-1] == moves
        assert len(first.listener.revoked) == revoked
        assert stays < set(first.source.assignment())

    async def test_is_not_held_up_by_positions_that_cannot_be_looked_up(
        self, fake: FakeKafka, name: str, join: Join
    ) -> None:
        await fake.create(name, 2)
        await on_one_node(fake, name)
        first, second = [await join(fake.bootstrap_servers, name, name) for _ in range(2)]
        await eventually(has(first, 1))
        await eventually(has(second, 1))
        [stays], [moves] = first.source.assignment(), second.source.assignment()
        await produce(fake.bootstrap_servers, name, 1, partition=stays.partition)
        await eventually(lambda: first.offsets(stays.partition) == [0])
        unstable = await fake.fault(OFFSET_FETCH, 88, group=name, topic=name, count=-1)

        await second.stop()
        await eventually(unstable.hits)
        await produce(fake.bootstrap_servers, name, 4, partition=moves.partition)
        # A fetch that is under way may return the first one. The others need fetches of their own.
        for count in (2, 3, 4):
            await produce(fake.bootstrap_servers, name, 1, partition=stays.partition)
            await eventually(lambda count=count: first.offsets(stays.partition) == list(range(count)))

        assert first.offsets(moves.partition) == []
        await unstable.heal()
        await eventually(lambda: first.offsets(moves.partition) == [0, 1, 2, 3])
        assert first.errors == []


class TestErrorsOfHeartbeats:
    @pytest.mark.parametrize("code", [14, 15, 16, -1])
    async def test_that_pass_cost_nothing(self, fake: FakeKafka, name: str, join: Join, code: int) -> None:
        await fake.create(name)
        reader = await join(fake.bootstrap_servers, name, name)
        await eventually(has(reader, 1))
        fault = await fake.fault(CONSUMER_GROUP_HEARTBEAT, code, group=name, count=2)

        async def both() -> bool:
            return await fault.hits() == 2

        await eventually(both)
        await produce(fake.bootstrap_servers, name, 3)
        await eventually(lambda: reader.offsets() == [0, 1, 2])
        await reader.source.commit({TopicPartition(name, 0): 3}, timeout_s=5)
        assert (len(reader.listener.assigned), reader.listener.revoked, reader.listener.lost) == (1, [], [])

    @pytest.mark.parametrize("code", [25, 110])
    async def test_that_fence_the_member_cost_its_partitions_and_it_joins_again(
        self, fake: FakeKafka, name: str, join: Join, code: int
    ) -> None:
        await fake.create(name)
        reader = await join(fake.bootstrap_servers, name, name)
        await eventually(has(reader, 1))
        await fake.fault(CONSUMER_GROUP_HEARTBEAT, code, group=name)

        await eventually(lambda: reader.listener.lost == [{TopicPartition(name, 0)}])
        await eventually(has(reader, 1))
        await produce(fake.bootstrap_servers, name, 3)
        await eventually(lambda: reader.offsets() == [0, 1, 2])
        await reader.source.commit({TopicPartition(name, 0): 3}, timeout_s=5)
        assert (reader.listener.revoked, reader.errors) == ([], [])

    @pytest.mark.parametrize(
        ("code", "words"),
        [
            (23, "group.consumer.migration.policy"),
            (30, "not authorized for group"),
            (35, "group_protocol"),
            (42, "group_protocol"),
            (69, "group.consumer.migration.policy"),
            (81, "group.consumer.max.size"),
            (112, "group_remote_assignor"),
        ],
    )
    async def test_that_are_final_are_reported_with_the_remedy(
        self, fake: FakeKafka, name: str, join: Join, code: int, words: str
    ) -> None:
        await fake.create(name)
        reader = await join(fake.bootstrap_servers, name, name)
        await eventually(has(reader, 1))
        await fake.fault(CONSUMER_GROUP_HEARTBEAT, code, group=name, count=-1)
        rejoin = await fake.fault(CONSUMER_GROUP_HEARTBEAT, code, group=name, count=-1)
        # A running member never gets some of these.
        reader.source._started_consumer().coordinator._membership.rejoin_without_partitions()

        await eventually(lambda: reader.errors)
        await rejoin.heal()
        assert isinstance(reader.errors[0], BrokerRefused)
        assert words in str(reader.errors[0])
        assert reader.source.state() == "lost"


class TestCoordinators:
    async def test_that_move_find_the_member_as_it_was(self, fake: FakeKafka, name: str, join: Join) -> None:
        await fake.create(name)
        reader = await join(fake.bootstrap_servers, name, name)
        await eventually(has(reader, 1))
        coordinator = reader.source._started_consumer().coordinator
        before = coordinator.coordinator_id

        await fake.move_coordinator(name)

        await eventually(lambda: coordinator.coordinator_id not in (None, before))
        await produce(fake.bootstrap_servers, name, 3)
        await eventually(lambda: reader.offsets() == [0, 1, 2])
        await reader.source.commit({TopicPartition(name, 0): 3}, timeout_s=5)
        assert (len(reader.listener.assigned), reader.listener.lost, reader.errors) == (1, [], [])

    async def test_that_answer_late_interrupt_nothing(
        self, kafka_broker: KafkaBroker, topic: MakeTopic, proxy: Proxy, name: str, join: Join
    ) -> None:
        orders = await topic()
        reader = await join(proxy.bootstrap_servers, orders, name)
        await produce(kafka_broker.bootstrap_servers, orders, 1)
        await eventually(lambda: reader.offsets() == [0])
        held = proxy.on(CONSUMER_GROUP_HEARTBEAT, hold=True)
        await held.seen.wait()

        await produce(kafka_broker.bootstrap_servers, orders, 2)
        await eventually(lambda: reader.offsets() == [0, 1, 2])
        held.release.set()
        beats = proxy.requests.count(CONSUMER_GROUP_HEARTBEAT)
        await eventually(lambda: proxy.requests.count(CONSUMER_GROUP_HEARTBEAT) > beats + 2)
        assert (len(reader.listener.assigned), reader.listener.lost, reader.errors) == (1, [], [])

    async def test_whose_answer_is_cut_off_are_told_everything_again(
        self, kafka_broker: KafkaBroker, topic: MakeTopic, proxy: Proxy, name: str, join: Join
    ) -> None:
        orders = await topic(partitions=2)
        first = await join(proxy.bootstrap_servers, orders, name)
        await eventually(has(first, 2))
        cut = proxy.on(CONSUMER_GROUP_HEARTBEAT, cut="after", count=3)

        second = await join(kafka_broker.bootstrap_servers, orders, name)

        await eventually(has(second, 1))
        await eventually(lambda: cut.hits == 3 and has(first, 1)())
        assert (first.listener.lost, first.errors) == ([], [])

    async def test_that_never_answer_cost_the_partitions_after_a_session(
        self, kafka_broker: KafkaBroker, topic: MakeTopic, proxy: Proxy, name: str, join: Join
    ) -> None:
        orders = await topic()
        reader = await join(proxy.bootstrap_servers, orders, name)
        await eventually(has(reader, 1))
        assert reader.source._started_consumer().coordinator.session_s == 10.0  # the broker's own setting
        reader.source._started_consumer().coordinator._membership.session_s = 1.0

        await proxy.set("blackhole")
        await eventually(lambda: reader.listener.lost == [{TopicPartition(orders, 0)}])
        assert reader.source.assignment() == ()
        with pytest.raises(CommitRefused):
            await reader.source.commit({TopicPartition(orders, 0): 0}, timeout_s=5)
        await proxy.set("pass")

        await produce(kafka_broker.bootstrap_servers, orders, 3)
        await eventually(lambda: reader.offsets() == [0, 1, 2])
        assert (reader.listener.revoked, reader.errors) == ([], [])

    async def test_that_expel_a_member_during_a_drain_end_the_drain(
        self, fake: FakeKafka, name: str, join: Join
    ) -> None:
        await fake.create(name, 2)
        first = await join(fake.bootstrap_servers, name, name)
        await eventually(has(first, 2))
        revoking, ended = asyncio.Event(), asyncio.Event()

        async def drain(_: Collection[TopicPartition]) -> None:
            revoking.set()
            await ended.wait()

        first.listener.revoking = drain
        second = await join(fake.bootstrap_servers, name, name)
        await revoking.wait()

        fault = await fake.fault(CONSUMER_GROUP_HEARTBEAT, 110, group=name, count=-1)

        await eventually(lambda: first.listener.lost == [{TopicPartition(name, 0), TopicPartition(name, 1)}])
        await fault.heal()
        ended.set()
        await eventually(has(first, 1))
        await eventually(has(second, 1))
        assert (first.errors, second.errors) == ([], [])


class TestCommits:
    async def test_with_a_stale_epoch_are_sent_again_with_the_new_one(
        self, fake: FakeKafka, name: str, join: Join
    ) -> None:
        await fake.create(name)
        reader = await join(fake.bootstrap_servers, name, name)
        await eventually(has(reader, 1))
        stale = await fake.fault(COMMIT, 113, group=name)

        await reader.source.commit({TopicPartition(name, 0): 7}, timeout_s=10)

        assert await stale.hits() == 1
        assert await committed(fake.bootstrap_servers, name, name) == 7

    @pytest.mark.parametrize("code", [25, 110])
    async def test_of_a_fenced_member_are_refused(self, fake: FakeKafka, name: str, join: Join, code: int) -> None:
        await fake.create(name)
        reader = await join(fake.bootstrap_servers, name, name)
        await eventually(has(reader, 1))
        await fake.fault(COMMIT, code, group=name)

        with pytest.raises(CommitRefused, match="another member"):
            await reader.source.commit({TopicPartition(name, 0): 7}, timeout_s=10)
        assert await committed(fake.bootstrap_servers, name, name) is None

    async def test_under_a_real_broker_follow_the_epoch_through_changes_of_the_group(
        self, kafka_broker: KafkaBroker, topic: MakeTopic, name: str, join: Join
    ) -> None:
        servers, orders = kafka_broker.bootstrap_servers, await topic(partitions=4)
        first = await join(servers, orders, name)
        await eventually(has(first, 4))
        going = asyncio.Event()
        done = 0

        async def commit_all_the_time() -> None:
            nonlocal done
            while not going.is_set():
                for tp in first.source.assignment():
                    await first.source.commit({tp: done}, timeout_s=10)
                done += 1

        committing = asyncio.ensure_future(commit_all_the_time())
        for _ in range(2):
            second = await join(servers, orders, name)
            await eventually(has(second, 2))
            await second.stop()
            await eventually(has(first, 4))
        going.set()
        await asyncio.wait({committing})

        # A partition that is taken away in the middle of a round may be refused, and nothing else.
        refusal = committing.exception()
        assert refusal is None or "not assigned to this member" in str(refusal)

    async def test_of_positions_are_sent_before_a_partition_is_given_back_and_at_the_stop(
        self, kafka_broker: KafkaBroker, topic: MakeTopic, name: str, join: Join
    ) -> None:
        servers, orders = kafka_broker.bootstrap_servers, await topic(partitions=2)
        at_most_once: Any = {"auto_commit_mode": "pre-commit", "auto_commit_interval_s": 3600.0}
        first = await join(servers, orders, name, **at_most_once)
        for partition in (0, 1):
            await produce(servers, orders, 5, partition=partition)
        await eventually(lambda: len(first.records) == 10)

        second = await join(servers, orders, name, **at_most_once)
        await eventually(has(second, 1))
        [moved], [stays] = second.source.assignment(), first.source.assignment()
        assert await committed(servers, name, orders, moved.partition) == 5
        await first.stop()

        assert await committed(servers, name, orders, stays.partition) == 5
        assert [dict(one.offsets) for one in first.listener.positions_commits] == [{moved: 5}, {stays: 5}]
        await eventually(has(second, 2))
        assert second.records == []


class TestStaticMembers:
    async def test_a_restart_gets_its_partitions_back_and_nobody_else_hears_of_it(
        self, kafka_broker: KafkaBroker, topic: MakeTopic, name: str, join: Join
    ) -> None:
        servers, orders = kafka_broker.bootstrap_servers, await topic(partitions=4)
        stays = await join(servers, orders, name, group_instance_id="stays")
        goes = await join(servers, orders, name, group_instance_id="goes")
        await eventually(has(stays, 2))
        await eventually(has(goes, 2))
        before, changes = set(goes.source.assignment()), list(stays.listener.assigned)
        await goes.stop()

        comes_back = await join(servers, orders, name, group_instance_id="goes")

        await eventually(lambda: set(comes_back.source.assignment()) == before)
        assert (stays.listener.assigned, partitions_of(stays) | {tp.partition for tp in before}) == (
            changes,
            {0, 1, 2, 3},
        )

    async def test_a_second_process_with_the_same_instance_id_waits_for_the_first(
        self, kafka_broker: KafkaBroker, topic: MakeTopic, name: str, join: Join, caplog: pytest.LogCaptureFixture
    ) -> None:
        servers, orders = kafka_broker.bootstrap_servers, await topic()
        first = await join(servers, orders, name, group_instance_id="one")
        await eventually(has(first, 1))

        second = await join(servers, orders, name, group_instance_id="one")
        await eventually(lambda: "waits for the end of an earlier process" in caplog.text)
        assert (second.source.state(), first.errors) == ("joining", [])
        await first.stop()

        await eventually(has(second, 1))
        assert second.errors == []

    async def test_one_whose_instance_id_was_taken_ends(self, fake: FakeKafka, name: str, join: Join) -> None:
        await fake.create(name)
        reader = await join(fake.bootstrap_servers, name, name, group_instance_id="one")
        await eventually(has(reader, 1))
        await fake.fault(CONSUMER_GROUP_HEARTBEAT, 82, group=name)

        await eventually(lambda: reader.errors)
        assert isinstance(reader.errors[0], BrokerRefused)
        assert "group_instance_id 'one'" in str(reader.errors[0])


class TestStopping:
    async def test_during_a_drain_that_does_not_end_is_in_time_and_leaves_the_group(
        self, kafka_broker: KafkaBroker, topic: MakeTopic, name: str, join: Join
    ) -> None:
        servers, orders = kafka_broker.bootstrap_servers, await topic(partitions=2)
        first = await join(servers, orders, name)
        await eventually(has(first, 2))
        revoking = asyncio.Event()

        async def drain(_: Collection[TopicPartition]) -> None:
            revoking.set()
            await asyncio.Event().wait()

        first.listener.revoking = drain
        second = await join(servers, orders, name)
        await revoking.wait()

        async with asyncio.timeout(1.0 + SLACK_S):
            await first.stop(timeout_s=1.0)

        await eventually(has(second, 2))

    async def test_without_brokers_is_in_time(self, topic: MakeTopic, proxy: Proxy, name: str, join: Join) -> None:
        reader = await join(proxy.bootstrap_servers, await topic(), name)
        await eventually(has(reader, 1))
        await proxy.set("blackhole")

        async with asyncio.timeout(1.0 + SLACK_S):
            await reader.stop(timeout_s=1.0)

        assert reader.source.state() == "lost"


class TestTopics:
    async def test_one_that_is_created_later_is_read_from_its_beginning(
        self, kafka_broker: KafkaBroker, topic: MakeTopic, name: str, join: Join
    ) -> None:
        servers = kafka_broker.bootstrap_servers
        reader = await join(servers, name, name, auto_offset_reset="latest")
        await eventually(lambda: reader.listener.assigned == [set()])
        assert reader.source.state() == "connecting"

        await topic(name=name)
        await produce(servers, name, 3)

        await eventually(lambda: reader.offsets() == [0, 1, 2])
        assert reader.source.state() == "steady"

    async def test_one_that_grows_is_read_from_the_beginning_of_its_new_partitions(
        self, kafka_broker: KafkaBroker, topic: MakeTopic, name: str, join: Join
    ) -> None:
        servers, orders = kafka_broker.bootstrap_servers, await topic()
        reader = await join(servers, orders, name, auto_offset_reset="latest")
        await eventually(has(reader, 1))

        await grow(servers, orders, 3)
        await produce(servers, orders, 5, partition=2)

        await eventually(lambda: reader.offsets(2) == [0, 1, 2, 3, 4])
        assert reader.listener.revoked == []

    async def test_one_that_is_created_again_is_read_from_its_beginning_and_nothing_old_is_committed(
        self, kafka_broker: KafkaBroker, topic: MakeTopic, name: str, join: Join
    ) -> None:
        servers, orders = kafka_broker.bootstrap_servers, await topic()
        await produce(servers, orders, 5)
        reader = await join(servers, orders, name)
        await eventually(lambda: reader.offsets() == [0, 1, 2, 3, 4])
        refusals: list[BaseException] = []

        async def commit(revoked: Collection[TopicPartition]) -> None:
            try:
                await reader.source.commit(dict.fromkeys(revoked, 5), timeout_s=5)
            except CommitRefused as refusal:
                refusals.append(refusal)

        reader.listener.revoking = commit
        await delete(servers, orders)
        await topic(name=orders)
        await produce(servers, orders, 3)

        await eventually(lambda: len(reader.listener.assigned) > 1 and reader.offsets()[-3:] == [0, 1, 2])
        assert len(refusals) == 1
        assert reader.errors == []

    async def test_a_pattern_finds_new_topics_and_no_dead_letters(
        self, kafka_broker: KafkaBroker, topic: MakeTopic, name: str, join: Join
    ) -> None:
        servers = kafka_broker.bootstrap_servers
        reader = await join(
            servers,
            "",
            name,
            topics=(),
            topic_pattern=re.compile(rf"{name}\..*"),
            connection={"metadata_max_age_s": 0.2},
        )
        for suffix in ("orders", "orders.billing.dlq", "refunds"):
            await topic(name=f"{name}.{suffix}")

        await eventually(has(reader, 2))
        assert {tp.topic for tp in reader.source.assignment()} == {f"{name}.orders", f"{name}.refunds"}


class TestTheChoiceOfTheProtocol:
    async def test_a_group_moves_from_classic_to_consumer_and_back_member_by_member(
        self, kafka_broker: KafkaBroker, topic: MakeTopic, name: str, join: Join
    ) -> None:
        """What the other member has read is committed before it leaves, as the runtime does it."""
        servers, orders = kafka_broker.bootstrap_servers, await topic(partitions=4)
        members = [await join(servers, orders, name, group_protocol="classic") for _ in range(2)]
        readers = list(members)
        await eventually(lambda: all(has(member, 2)() for member in members))
        sent = 0
        for protocol in ("consumer", "consumer", "classic", "classic"):
            for partition in range(4):
                await produce(servers, orders, 5, partition=partition)
            sent += 20
            await eventually(
                lambda sent=sent: len({at(record) for reader in readers for record in reader.records}) == sent
            )
            leaver = members.pop(0)
            offsets = {tp: leaver.source.position(tp) for tp in leaver.source.assignment()}
            await leaver.source.commit(offsets, timeout_s=10)
            await leaver.stop()
            members.append(await join(servers, orders, name, group_protocol=protocol))
            readers.append(members[-1])
            await eventually(lambda: all(has(member, 2)() for member in members))

        records = [at(record) for reader in readers for record in reader.records]
        assert len(set(records)) == 80
        assert [reader.errors for reader in readers] == [[]] * 6

    @pytest.mark.long
    async def test_a_classic_member_that_a_conversion_has_overtaken_may_not_commit_and_reads_again(
        self, kafka_broker: KafkaBroker, topic: MakeTopic, name: str, join: Join
    ) -> None:
        """The last member of the consumer protocol leaves before the classic one has heard that it has joined."""
        servers, orders = kafka_broker.bootstrap_servers, await topic()
        reader = await join(servers, orders, name, group_protocol="classic", heartbeat_interval_s=2.0)
        await produce(servers, orders, 3)
        await eventually(lambda: reader.offsets() == [0, 1, 2])
        async with connections(servers) as client:
            member = GroupMember(client, name, orders)
            await member.beat()
            await member.beat(LEAVE)

        with pytest.raises(CommitRefused):
            await reader.source.commit({TopicPartition(orders, 0): 3}, timeout_s=5)
        await eventually(lambda: reader.offsets() == [0, 1, 2, 0, 1, 2])
        await reader.source.commit({TopicPartition(orders, 0): 3}, timeout_s=5)
        assert reader.errors == []

    @pytest.mark.parametrize(("wanted", "used"), [("auto", True), ("consumer", True), ("classic", False)])
    async def test_where_the_brokers_have_both(
        self, kafka_broker: KafkaBroker, topic: MakeTopic, proxy: Proxy, name: str, join: Join, wanted: str, used: bool
    ) -> None:
        reader = await join(proxy.bootstrap_servers, await topic(), name, group_protocol=wanted)
        await eventually(has(reader, 1))
        assert (CONSUMER_GROUP_HEARTBEAT in proxy.requests) is used

    async def test_the_wanted_assignor_is_used(
        self, kafka_broker: KafkaBroker, topic: MakeTopic, name: str, join: Join
    ) -> None:
        servers = kafka_broker.bootstrap_servers
        reader = await join(servers, await topic(), name, group_remote_assignor="range")
        await eventually(has(reader, 1))
        group = await describe_group(ConnectionSettings(bootstrap_servers=(servers,)), name)
        assert (group.protocol, group.assignor) == ("consumer", "range")

    async def test_auto_is_classic_where_the_protocol_is_switched_off(
        self, fake: FakeKafka, name: str, join: Join, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level("INFO", "evkafka.runtime.kafka")
        await fake.create(name)
        await fake.fault(CONSUMER_GROUP_HEARTBEAT, 35, group=name, count=-1, top_level=True)
        reader = await join(fake.bootstrap_servers, name, name, group_protocol="auto")

        await eventually(has(reader, 1))
        assert f"group {name!r} uses the classic protocol" in caplog.text

    @pytest.mark.parametrize("wanted", ["auto", "consumer"])
    async def test_old_brokers(
        self, kafka_broker: KafkaBroker, topic: MakeTopic, proxy: Proxy, name: str, join: Join, wanted: str
    ) -> None:
        """The proxy hides the protocol's request from the answer to ApiVersions."""
        proxy.rewrite(API_VERSIONS, lambda answer: answer.replace(OFFERED, HIDDEN))
        orders = await topic()
        if wanted == "auto":
            await eventually(has(await join(proxy.bootstrap_servers, orders, name, group_protocol=wanted), 1))
            return
        with pytest.raises(BrokerRefused, match=r"needs Kafka 4\.0 or newer"):
            await join(proxy.bootstrap_servers, orders, name)


API_VERSIONS = 18
OFFERED = struct.pack(">hhh", CONSUMER_GROUP_HEARTBEAT, 0, 1)
HIDDEN = struct.pack(">hhh", 1068, 0, 1)


async def on_one_node(fake: FakeKafka, topic: str) -> None:
    """Let one node lead both partitions."""
    async with admin_of(fake.bootstrap_servers) as admin:
        for _ in range(3):
            [described] = await admin.describe_topics([topic])
            if len({partition["leader"] for partition in described["partitions"]}) == 1:
                return
            await fake.move_leader(topic, 1)
    raise AssertionError("the leader does not move")


def at(record: Record) -> tuple[int, int]:
    return record.partition, record.offset


async def grow(servers: str, topic: str, partitions: int) -> None:
    async with admin_of(servers) as admin:
        await admin.create_partitions({topic: NewPartitions(partitions)})


async def delete(servers: str, topic: str) -> None:
    async with admin_of(servers) as admin:
        await admin.delete_topics([topic])

        async def is_gone() -> bool:
            return topic not in await admin.list_topics()

        await eventually(is_gone)


@asynccontextmanager
async def connections(servers: str) -> AsyncIterator[NodeConnections]:
    client = NodeConnections(bootstrap_servers=servers)
    await client.bootstrap()
    try:
        yield client
    finally:
        await client.close()
