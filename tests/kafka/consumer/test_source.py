"""Reading, seeking and polling with a source, on a real Kafka."""

from __future__ import annotations

import asyncio
from collections.abc import Collection

import pytest
from aiokafka import errors as kafka_errors
from aiokafka.consumer.group_coordinator import GroupCoordinator

from evkafka.broker import KafkaBroker
from evkafka.exceptions import BrokerError, BrokerUnavailable, CommitRefused, ConfigError
from evkafka.kafka.consumer import classic_coordinator
from evkafka.kafka.consumer.source import KafkaSource
from evkafka.records import TopicPartition
from tests.support.kafka_reader import Listener, Read, consumer_settings
from tests.support.kafka_topics import MakeTopic, committed, produce
from tests.support.waiting import eventually


class TestReading:
    async def test_hands_out_every_record_once_and_in_order(
        self, kafka_broker: KafkaBroker, topic: MakeTopic, name: str, read: Read
    ) -> None:
        orders = await topic()
        await produce(kafka_broker.bootstrap_servers, orders, 100)

        reader = await read(kafka_broker.bootstrap_servers, orders, name)

        await eventually(lambda: len(reader.records) == 100)
        assert reader.offsets() == list(range(100))
        assert reader.source.position(TopicPartition(orders, 0)) == 100
        assert reader.source.end_offset(TopicPartition(orders, 0)) == 100
        assert reader.source.state() == "steady"

    async def test_continues_at_the_committed_offset(
        self, kafka_broker: KafkaBroker, topic: MakeTopic, name: str, read: Read
    ) -> None:
        orders = await topic()
        await produce(kafka_broker.bootstrap_servers, orders)
        first = await read(kafka_broker.bootstrap_servers, orders, name)
        await eventually(lambda: len(first.records) == 10)
        await first.source.commit({TopicPartition(orders, 0): 4}, timeout_s=5)
        await first.stop()

        second = await read(kafka_broker.bootstrap_servers, orders, name)

        await eventually(lambda: len(second.records) == 6)
        assert second.offsets() == [4, 5, 6, 7, 8, 9]
        assert second.listener.resets == []

    async def test_a_seek_drops_fetched_records(
        self, kafka_broker: KafkaBroker, topic: MakeTopic, name: str, read: Read
    ) -> None:
        orders = await topic()
        await produce(kafka_broker.bootstrap_servers, orders)
        reader = await read(kafka_broker.bootstrap_servers, orders, name)
        await eventually(lambda: len(reader.records) == 10)

        reader.source.seek(TopicPartition(orders, 0), 7)

        await eventually(lambda: len(reader.records) == 13)
        assert reader.offsets()[10:] == [7, 8, 9]

    async def test_takes_at_most_max_records_and_lets_every_partition_have_its_turn(
        self, kafka_broker: KafkaBroker, topic: MakeTopic, name: str
    ) -> None:
        orders = await topic(partitions=2)
        for partition in (0, 1):
            await produce(kafka_broker.bootstrap_servers, orders, 50, partition=partition)
        reader = await _unpolled(kafka_broker.bootstrap_servers, orders, name)
        try:
            turns = []
            while len(turns) < 20:
                batches = await reader.poll(None, timeout_s=1, max_records=5)
                assert sum(map(len, batches.values())) <= 5
                turns += [partition for _, partition in batches]
        finally:
            await reader.stop(timeout_s=2)

        both_fetched = turns.index(1 if turns[0] == 0 else 0)
        later = turns[both_fetched : both_fetched + 8]
        assert later == [later[0], later[1]] * 4
        assert later[0] != later[1]

    async def test_a_poll_of_no_partitions_reads_nothing_and_keeps_the_membership(
        self, kafka_broker: KafkaBroker, topic: MakeTopic, name: str, read: Read
    ) -> None:
        orders = await topic()
        reader = await read(kafka_broker.bootstrap_servers, orders, name, session_timeout_s=0.6)
        await eventually(lambda: reader.listener.assigned)
        await reader.want(())
        await produce(kafka_broker.bootstrap_servers, orders)
        polls = reader.polls

        await eventually(lambda: reader.polls > polls + 30)  # more than two sessions without reading
        assert reader.records == []
        assert len(reader.listener.assigned) == 1
        reader.wanted = None
        await eventually(lambda: len(reader.records) == 10)

    async def test_reads_only_the_partitions_asked_for(
        self, kafka_broker: KafkaBroker, topic: MakeTopic, name: str, read: Read
    ) -> None:
        orders = await topic(partitions=2)
        reader = await read(kafka_broker.bootstrap_servers, orders, name)
        await eventually(lambda: reader.listener.assigned)
        await reader.want([TopicPartition(orders, 1)])
        for partition in (0, 1):
            await produce(kafka_broker.bootstrap_servers, orders, 10, partition=partition)

        await eventually(lambda: reader.offsets(1) == list(range(10)))
        assert reader.offsets(0) == []
        reader.wanted = None
        await eventually(lambda: reader.offsets(0) == list(range(10)))

    async def test_a_cancelled_poll_leaves_the_source_usable(
        self, kafka_broker: KafkaBroker, topic: MakeTopic, name: str
    ) -> None:
        orders = await topic()
        source = await _unpolled(kafka_broker.bootstrap_servers, orders, name)
        try:
            poll = asyncio.ensure_future(source.poll(None, timeout_s=60, max_records=5))
            await eventually(lambda: source.state() == "steady")
            poll.cancel()
            await asyncio.wait({poll})
            await produce(kafka_broker.bootstrap_servers, orders, 3)

            batches = await source.poll(None, timeout_s=10, max_records=5)
        finally:
            await source.stop(timeout_s=2)
        assert [record.offset for record in batches[TopicPartition(orders, 0)]] == [0, 1, 2]

    async def test_raises_before_the_start_and_after_the_stop(
        self, kafka_broker: KafkaBroker, topic: MakeTopic, name: str
    ) -> None:
        source = await _unpolled(kafka_broker.bootstrap_servers, await topic(), name)
        await source.stop(timeout_s=2)

        with pytest.raises(BrokerError, match="stopped"):
            await source.poll(None, timeout_s=0, max_records=1)
        with pytest.raises(CommitRefused, match="stopped"):
            await source.commit({TopicPartition("t", 0): 1}, timeout_s=1)


class TestWithoutAGroup:
    async def test_reads_every_partition_and_commits_nothing(
        self, kafka_broker: KafkaBroker, topic: MakeTopic, read: Read
    ) -> None:
        orders = await topic(partitions=2)
        for partition in (0, 1):
            await produce(kafka_broker.bootstrap_servers, orders, partition=partition)

        reader = await read(kafka_broker.bootstrap_servers, orders, None)

        await eventually(lambda: len(reader.records) == 20)
        assert reader.listener.assigned == [{TopicPartition(orders, 0), TopicPartition(orders, 1)}]
        with pytest.raises(CommitRefused, match="group_id"):
            await reader.source.commit({TopicPartition(orders, 0): 1}, timeout_s=1)


class TestAiokafkasAutoCommit:
    async def test_commits_handed_out_records_on_its_interval_in_pre_commit_mode(
        self, kafka_broker: KafkaBroker, topic: MakeTopic, name: str, read: Read
    ) -> None:
        orders, servers = await topic(), kafka_broker.bootstrap_servers
        await produce(servers, orders)
        reader = await read(servers, orders, name, auto_commit_mode="pre-commit", auto_commit_interval_s=0.2)

        await eventually(lambda: len(reader.records) == 10)

        async def commits() -> bool:
            return await committed(servers, name, orders) == 10

        await eventually(commits)
        at = TopicPartition(orders, 0)
        await eventually(lambda: any(one.offsets.get(at) == 10 for one in reader.listener.positions_commits))
        assert all(one.error is None for one in reader.listener.positions_commits)

    async def test_that_fails_is_reported_to_the_listener_but_not_each_time_that_it_is_repeated(
        self,
        kafka_broker: KafkaBroker,
        topic: MakeTopic,
        name: str,
        read: Read,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        orders, servers = await topic(), kafka_broker.bootstrap_servers
        await produce(servers, orders)

        failures = 0

        async def fail(self: object, assignment: object, offsets: object) -> None:
            nonlocal failures
            failures += 1
            raise kafka_errors.RequestTimedOutError

        monkeypatch.setattr(GroupCoordinator, "_do_commit_offsets", fail)
        monkeypatch.setattr(classic_coordinator, "FAILED_COMMITS_REPORTED_EVERY_S", 3600.0)
        reader = await read(servers, orders, name, auto_commit_mode="pre-commit", auto_commit_interval_s=0.2)
        await eventually(lambda: failures > 3)
        [commit] = reader.listener.positions_commits
        assert isinstance(commit.error, BrokerUnavailable)
        monkeypatch.undo()

    async def test_is_off_otherwise(self, kafka_broker: KafkaBroker, topic: MakeTopic, name: str, read: Read) -> None:
        orders, servers = await topic(), kafka_broker.bootstrap_servers
        await produce(servers, orders)
        reader = await read(servers, orders, name, auto_commit_mode="pre-commit", auto_commit_interval_s=0)
        await eventually(lambda: len(reader.records) == 10)
        await reader.stop()

        assert await committed(servers, name, orders) == 0  # the reset, before any record is handed out


class TestAtMostOnceWithoutException:
    async def test_a_reset_is_committed_before_any_record_is_handed_out(
        self, kafka_broker: KafkaBroker, topic: MakeTopic, name: str, read: Read
    ) -> None:
        orders, servers = await topic(partitions=2), kafka_broker.bootstrap_servers
        for partition in (0, 1):
            await produce(servers, orders, partition=partition)
        settings = {"auto_commit_mode": "pre-commit", "auto_commit_interval_s": 0, "auto_offset_reset": "latest"}
        first = await read(servers, orders, name, **settings)
        await eventually(lambda: len(first.listener.resets) == 2)
        await first.stop()

        second = await read(servers, orders, name, **settings)
        await eventually(lambda: second.source.position(TopicPartition(orders, 1)) == 10)
        await second.want(None)  # polls that would report a reset
        assert second.listener.resets == []
        assert second.records == []


class TestInsideTheAssignment:
    async def test_a_seek_takes_effect_and_its_reset_is_not_reported(
        self, kafka_broker: KafkaBroker, topic: MakeTopic, name: str, read: Read
    ) -> None:
        orders = await topic()
        await produce(kafka_broker.bootstrap_servers, orders)
        reader = await read(kafka_broker.bootstrap_servers, orders, name)

        async def seek(partitions: Collection[TopicPartition]) -> None:
            assert set(reader.source.assignment()) == set(partitions)
            for partition in partitions:
                reader.source.seek(partition, 8)

        reader.listener.assigning = seek

        await eventually(lambda: reader.offsets() == [8, 9])
        assert reader.listener.resets == []


class TestSettingsThatAiokafkaRefuses:
    async def test_are_a_config_error(self) -> None:
        source = KafkaSource(consumer_settings("localhost:1", "t", "g", options={"no_such_option": 1}))

        with pytest.raises(ConfigError, match="no_such_option"):
            await source.start(Listener())
        await source.stop(timeout_s=1)


async def _unpolled(servers: str, topic: str, group: str) -> KafkaSource:
    source = KafkaSource(consumer_settings(servers, topic, group))
    await source.start(Listener())
    return source
