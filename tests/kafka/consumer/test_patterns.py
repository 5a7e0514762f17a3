"""Subscriptions by pattern."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Collection

import pytest
from aiokafka.admin import AIOKafkaAdminClient

from evkafka.broker import KafkaBroker
from evkafka.exceptions import CommitRefused
from evkafka.records import TopicPartition
from evkafka.runtime.topic_pattern import TopicPattern
from tests.support.kafka_reader import Read, Reader
from tests.support.kafka_topics import MakeTopic, committed, produce
from tests.support.waiting import eventually

DEFAULT = "{topic}.{group_id}.dlq"


async def delete_topic(servers: str, topic: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=servers)
    await admin.start()
    try:
        await admin.delete_topics([topic])
    finally:
        await admin.close()


class TestMatching:
    @pytest.mark.parametrize("topic", ["orders", "orders.eu", "orders.dlq.archive", "retry.orders", "orders.retry"])
    def test_other_peoples_topics(self, topic: str) -> None:
        assert TopicPattern(re.compile(".*"), [DEFAULT]).match(topic)

    @pytest.mark.parametrize(
        "topic", ["orders.billing.dlq", "orders.billing.dlq.state", "orders.billing.retry.1", "orders.retry.10s"]
    )
    def test_never_our_own(self, topic: str) -> None:
        assert not TopicPattern(re.compile(".*"), [DEFAULT]).match(topic)

    def test_never_a_dead_letter_topic_under_a_name_of_ones_own(self) -> None:
        pattern = TopicPattern(re.compile("orders.*"), ["{topic}-dead-{group_id}"])

        assert not pattern.match("orders-dead-billing")
        assert pattern.match("orders-alive")

    def test_only_matching_topics(self) -> None:
        assert not TopicPattern(re.compile("orders"), [DEFAULT]).match("payments")


class TestReading:
    @pytest.mark.parametrize("grouped", [True, False], ids=["group", "no group"])
    async def test_reads_matching_topics_also_those_that_come_later(
        self, kafka_broker: KafkaBroker, topic: MakeTopic, name: str, read: Read, grouped: bool
    ) -> None:
        servers = kafka_broker.bootstrap_servers
        first = await topic(prefix=name)
        await produce(servers, first, 3)
        reader = await read(
            servers,
            "",
            name if grouped else None,
            topics=(),
            topic_pattern=re.compile(name + ".*"),
            connection={"metadata_max_age_s": 0.2},
        )
        await eventually(lambda: len(reader.records) == 3)

        second = await topic(prefix=name)
        await produce(servers, second, 3)

        await eventually(lambda: {record.topic for record in reader.records} == {first, second})
        await eventually(lambda: [record.offset for record in reader.records if record.topic == second] == [0, 1, 2])

    async def test_reads_as_soon_as_the_first_topic_appears(
        self, kafka_broker: KafkaBroker, topic: MakeTopic, name: str, read: Read
    ) -> None:
        servers = kafka_broker.bootstrap_servers
        reader = await read(
            servers,
            "",
            name,
            topics=(),
            topic_pattern=re.compile(name + ".*"),
            connection={"metadata_max_age_s": 0.2},
        )
        await eventually(lambda: reader.polls > 3)
        await produce(servers, await topic(prefix=name), 3)

        await eventually(lambda: len(reader.records) == 3)
        assert reader.errors == []


class TestWhenTheTopicsChange:
    """Records handled before are committed at the revocation, and are not read again."""

    async def reading(self, servers: str, read: Read, name: str, *topics: str) -> Reader:
        """A reader by pattern that has read three records of each topic, and commits its positions when revoked."""
        reader = await read(
            servers,
            "",
            name,
            topics=(),
            topic_pattern=re.compile(name + ".*"),
            connection={"metadata_max_age_s": 0.2},
        )

        async def commit_all(partitions: Collection[TopicPartition]) -> None:
            positions = {tp: offset for tp in partitions if (offset := reader.source.position(tp)) is not None}
            with contextlib.suppress(CommitRefused):  # of a deleted topic; the others are written
                await reader.source.commit(positions, timeout_s=5)

        reader.listener.revoking = commit_all
        await eventually(lambda: len(reader.records) == 3 * len(topics))
        return reader

    async def test_a_new_topic_repeats_nothing(
        self, kafka_broker: KafkaBroker, topic: MakeTopic, name: str, read: Read
    ) -> None:
        servers = kafka_broker.bootstrap_servers
        first = await topic(prefix=name)
        await produce(servers, first, 3)
        reader = await self.reading(servers, read, name, first)

        second = await topic(prefix=name)
        await produce(servers, second, 3)

        await eventually(lambda: len([record for record in reader.records if record.topic == second]) == 3)
        assert [record.offset for record in reader.records if record.topic == first] == [0, 1, 2]
        assert await committed(servers, name, first) == 3

    async def test_a_deleted_topic_repeats_nothing_of_the_others(
        self, kafka_broker: KafkaBroker, topic: MakeTopic, name: str, read: Read
    ) -> None:
        servers = kafka_broker.bootstrap_servers
        first, second = await topic(prefix=name), await topic(prefix=name)
        await produce(servers, first, 3)
        await produce(servers, second, 3)
        reader = await self.reading(servers, read, name, first, second)

        await delete_topic(servers, second)

        await eventually(lambda: reader.listener.assigned[-1] == {TopicPartition(first, 0)})
        assert await committed(servers, name, first) == 3
        await produce(servers, first, 1)
        await eventually(lambda: len(reader.records) == 7)
        assert [record.offset for record in reader.records if record.topic == first] == [0, 1, 2, 3]

    async def test_two_changes_within_one_revoke_are_one_rebalance(
        self, kafka_broker: KafkaBroker, topic: MakeTopic, name: str, read: Read
    ) -> None:
        servers = kafka_broker.bootstrap_servers
        first = await topic(prefix=name)
        await produce(servers, first, 3)
        reader = await self.reading(servers, read, name, first)
        commit_all = reader.listener.revoking
        assert commit_all is not None

        async def during(partitions: Collection[TopicPartition]) -> None:
            third = await topic(prefix=name)
            await eventually(lambda: third in reader.source._started_consumer().client.cluster.topics())
            await commit_all(partitions)

        reader.listener.revoking = during
        await topic(prefix=name)

        await eventually(lambda: len(reader.listener.assigned) == 2)
        assert len({tp.topic for tp in reader.listener.assigned[-1]}) == 3
        assert await committed(servers, name, first) == 3
