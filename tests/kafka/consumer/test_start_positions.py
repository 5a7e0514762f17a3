"""Where reading begins: at the group's commit or by the reset rule; a failed lookup is no answer."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions

from evkafka.broker import KafkaBroker
from evkafka.exceptions import BrokerRefused
from evkafka.records import OffsetReset, TopicPartition
from evkafka.runtime.commit_metadata import CommitMetadata, group_and_partition_text_for_checksum
from evkafka.runtime.completed_offsets import OffsetRange
from tests.support.fake_kafka import FakeKafka
from tests.support.kafka_reader import Read
from tests.support.kafka_topics import MakeTopic, produce
from tests.support.proxy import OFFSET_FETCH, Proxy
from tests.support.waiting import eventually


async def _leave_commit(
    read: Read, servers: str, topic: str, group: str, offset: int, finished: Sequence[OffsetRange] = ()
) -> None:
    reader = await read(servers, topic, group)
    await eventually(lambda: reader.source.assignment())
    texts = {
        tp: CommitMetadata(offset, reader.source.topic_id(topic), finished=finished).as_text(
            500, group_and_partition_text_for_checksum(group, tp)
        )
        for tp in reader.source.assignment()
    }
    await reader.source.commit(dict.fromkeys(texts, offset), timeout_s=5, metadata=texts)
    await reader.stop()


async def _add_partitions(servers: str, topic: str, total: int) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=servers)
    await admin.start()
    try:
        await admin.create_partitions({topic: NewPartitions(total)})
    finally:
        await admin.close()


class TestFailedLookups:
    @pytest.mark.parametrize("code", [16, 14, 15])
    @pytest.mark.parametrize("reset", ["latest", "earliest"])
    async def test_an_error_of_the_lookup_does_not_count_as_no_commit(
        self, fake: FakeKafka, name: str, read: Read, code: int, reset: str
    ) -> None:
        await fake.create(name)
        await produce(fake.bootstrap_servers, name)
        await _leave_commit(read, fake.bootstrap_servers, name, name, 5)
        fault = await fake.fault(OFFSET_FETCH, code, group=name, count=3)

        reader = await read(fake.bootstrap_servers, name, name, auto_offset_reset=reset)

        await eventually(lambda: len(reader.records) == 5)
        assert reader.offsets() == [5, 6, 7, 8, 9]
        assert reader.listener.resets == []
        assert await fault.hits() == 3

    async def test_a_missing_right_for_the_lookup_is_reported(self, fake: FakeKafka, name: str, read: Read) -> None:
        await fake.create(name)
        await fake.fault(OFFSET_FETCH, 30, group=name, count=-1)

        reader = await read(fake.bootstrap_servers, name, name)

        await eventually(lambda: reader.errors)
        assert isinstance(reader.errors[0], BrokerRefused)
        assert f"not authorized for group {name}" in str(reader.errors[0])


class TestResetRule:
    async def test_earliest_begins_at_the_beginning_and_reports_it_before_any_record(
        self, kafka_broker: KafkaBroker, topic: MakeTopic, name: str, read: Read
    ) -> None:
        orders = await topic()
        await produce(kafka_broker.bootstrap_servers, orders)
        reader = await read(kafka_broker.bootstrap_servers, orders, name, auto_offset_reset="earliest")

        await eventually(lambda: len(reader.records) == 10)
        assert reader.listener.resets == [OffsetReset(TopicPartition(orders, 0), None, 0, "no_commit")]

    async def test_latest_begins_at_the_end(
        self, kafka_broker: KafkaBroker, topic: MakeTopic, name: str, read: Read
    ) -> None:
        orders = await topic()
        await produce(kafka_broker.bootstrap_servers, orders)
        reader = await read(kafka_broker.bootstrap_servers, orders, name, auto_offset_reset="latest")

        await eventually(lambda: reader.listener.resets)
        assert reader.listener.resets == [OffsetReset(TopicPartition(orders, 0), None, 10, "no_commit")]
        await produce(kafka_broker.bootstrap_servers, orders, 2)
        await eventually(lambda: reader.offsets() == [10, 11])

    async def test_none_refuses_and_names_the_partition_and_the_fix(
        self, kafka_broker: KafkaBroker, topic: MakeTopic, name: str, read: Read
    ) -> None:
        orders = await topic()
        reader = await read(kafka_broker.bootstrap_servers, orders, name, auto_offset_reset="none")

        await eventually(lambda: reader.errors)
        assert isinstance(reader.errors[0], BrokerRefused)
        assert f"{orders}[0] has no committed offset" in str(reader.errors[0])
        assert "earliest" in str(reader.errors[0])

    async def test_a_partition_that_appeared_since_is_read_from_its_beginning_even_with_latest(
        self, kafka_broker: KafkaBroker, topic: MakeTopic, name: str, read: Read
    ) -> None:
        servers, orders = kafka_broker.bootstrap_servers, await topic()
        await produce(servers, orders)
        await _leave_commit(read, servers, orders, name, 10)
        await _add_partitions(servers, orders, 2)
        await produce(servers, orders, 3, partition=1)

        reader = await read(servers, orders, name, auto_offset_reset="latest")

        await eventually(lambda: len(reader.records) == 3)
        assert reader.listener.resets == [OffsetReset(TopicPartition(orders, 1), None, 0, "new_partition")]
        assert reader.offsets(1) == [0, 1, 2]

    async def test_members_that_start_together_ignore_each_others_first_commits(
        self, kafka_broker: KafkaBroker, topic: MakeTopic, proxy: Proxy, name: str, read: Read
    ) -> None:
        servers, orders = kafka_broker.bootstrap_servers, await topic(partitions=2)
        for partition in (0, 1):
            await produce(servers, orders, partition=partition)
        first = await read(servers, orders, name, auto_offset_reset="latest")
        await eventually(lambda: first.source.assignment())
        proxy.on(OFFSET_FETCH)  # the lookup before the join passes
        blocked = proxy.on(OFFSET_FETCH, hold=True)  # the lookup for its own partition is slow

        second = await read(proxy.bootstrap_servers, orders, name, auto_offset_reset="latest")
        await blocked.seen.wait()
        await eventually(lambda: len(first.source.assignment()) == 1)
        await first.source.commit(dict.fromkeys(first.source.assignment(), 10), timeout_s=5)
        blocked.release.set()

        await eventually(lambda: second.listener.resets)
        assert second.listener.resets[0].reason == "no_commit"
        assert second.listener.resets[0].to_offset == 10

    @pytest.mark.parametrize(("reset", "position"), [("earliest", 6), ("latest", 10)])
    async def test_a_committed_offset_that_retention_has_deleted_is_out_of_range(
        self, fake: FakeKafka, name: str, read: Read, reset: str, position: int
    ) -> None:
        await fake.create(name)
        await produce(fake.bootstrap_servers, name)
        await _leave_commit(read, fake.bootstrap_servers, name, name, 2)
        await fake.truncate(name, 0, 6)

        reader = await read(fake.bootstrap_servers, name, name, auto_offset_reset=reset)

        await eventually(lambda: reader.listener.resets)
        assert reader.listener.resets == [OffsetReset(TopicPartition(name, 0), 2, position, "out_of_range")]
        await eventually(lambda: reader.offsets() == list(range(position, 10)))

    @pytest.mark.parametrize("reset", ["earliest", "latest"])
    async def test_behind_finished_records_reading_goes_on_with_the_first_one_that_is_left(
        self, fake: FakeKafka, name: str, read: Read, reset: str
    ) -> None:
        await fake.create(name)
        await produce(fake.bootstrap_servers, name)
        await _leave_commit(read, fake.bootstrap_servers, name, name, 2, finished=[OffsetRange(3, 8)])
        await fake.truncate(name, 0, 6)

        reader = await read(fake.bootstrap_servers, name, name, auto_offset_reset=reset)

        await eventually(lambda: len(reader.records) == 4)
        assert reader.listener.resets == [OffsetReset(TopicPartition(name, 0), 2, 6, "retention")]
        assert reader.offsets() == [6, 7, 8, 9]

    async def test_out_of_range_with_none_refuses(self, fake: FakeKafka, name: str, read: Read) -> None:
        await fake.create(name)
        await produce(fake.bootstrap_servers, name)
        await _leave_commit(read, fake.bootstrap_servers, name, name, 2)
        await fake.truncate(name, 0, 6)

        reader = await read(fake.bootstrap_servers, name, name, auto_offset_reset="none")

        await eventually(lambda: reader.errors)
        assert f"{name}[0] no longer has offset 2" in str(reader.errors[0])

    async def test_a_reset_is_reported_after_its_assignment(
        self, kafka_broker: KafkaBroker, topic: MakeTopic, name: str, read: Read
    ) -> None:
        orders = await topic()
        await produce(kafka_broker.bootstrap_servers, orders)
        reader = await read(kafka_broker.bootstrap_servers, orders, name)
        resets_known_when_assigned: list[int] = []
        records_known_when_assigned: list[int] = []

        async def look(_: Collection[TopicPartition]) -> None:
            # aiokafka fetches and hands out records while this call still runs.
            fetching = reader.source._started_consumer().fetcher
            await eventually(lambda: fetching._records)
            polls = reader.polls
            await eventually(lambda: reader.polls > polls + 2)
            resets_known_when_assigned.append(len(reader.listener.resets))
            records_known_when_assigned.append(len(reader.records))

        reader.listener.assigning = look

        await eventually(lambda: len(reader.records) == 10)
        assert resets_known_when_assigned == [0]
        assert records_known_when_assigned == [0]


class TestWithoutAGroup:
    async def test_a_new_partition_is_read_from_its_beginning_and_the_others_keep_their_positions(
        self, kafka_broker: KafkaBroker, topic: MakeTopic, read: Read
    ) -> None:
        servers, orders = kafka_broker.bootstrap_servers, await topic()
        await produce(servers, orders)
        reader = await read(servers, orders, None, auto_offset_reset="latest", connection={"metadata_max_age_s": 0.2})
        await eventually(lambda: reader.listener.resets)
        await produce(servers, orders, 2)
        await eventually(lambda: reader.offsets() == [10, 11])

        await _add_partitions(servers, orders, 2)
        await produce(servers, orders, 3, partition=1)

        await eventually(lambda: reader.offsets(1) == [0, 1, 2])
        await produce(servers, orders, 2)
        await eventually(lambda: reader.offsets() == [10, 11, 12, 13])
        assert reader.listener.revoked == [{TopicPartition(orders, 0)}]
        assert reader.listener.assigned[-1] == {TopicPartition(orders, 0), TopicPartition(orders, 1)}


class TestNewPartitions:
    async def test_a_topic_that_is_created_later_is_read_from_its_beginning_even_with_latest(
        self, kafka_broker: KafkaBroker, topic: MakeTopic, name: str, read: Read
    ) -> None:
        servers = kafka_broker.bootstrap_servers
        reader = await read(
            servers,
            "",
            name,
            topics=(),
            topic_pattern=re.compile(name + ".*"),
            auto_offset_reset="latest",
            connection={"metadata_max_age_s": 0.2},
        )
        await eventually(lambda: reader.listener.assigned)
        orders = await topic(prefix=name)
        await produce(servers, orders, 3)

        await eventually(lambda: reader.offsets() == [0, 1, 2])
        assert reader.listener.resets == [OffsetReset(TopicPartition(orders, 0), None, 0, "new_partition")]

    async def test_a_running_group_finds_them_within_metadata_max_age(
        self, kafka_broker: KafkaBroker, topic: MakeTopic, name: str, read: Read
    ) -> None:
        servers, orders = kafka_broker.bootstrap_servers, await topic()
        reader = await read(servers, orders, name, auto_offset_reset="latest", connection={"metadata_max_age_s": 0.2})
        await eventually(lambda: reader.source.position(TopicPartition(orders, 0)) == 0)
        await reader.source.commit({TopicPartition(orders, 0): 0}, timeout_s=5)

        await _add_partitions(servers, orders, 2)
        await produce(servers, orders, 3, partition=1)

        await eventually(lambda: reader.offsets(1) == [0, 1, 2])
        assert reader.listener.resets[-1].reason == "new_partition"
