"""Subscriptions by pattern."""

from __future__ import annotations

import re

import pytest

from evkafka.broker import KafkaBroker
from evkafka.runtime.subscription import OthersTopics
from tests.conftest import MakeTopic
from tests.kafka.conftest import Read, produce
from tests.support.waiting import eventually

DEFAULT = "{topic}.{group_id}.dlq"


class TestWhatAPatternMatches:
    @pytest.mark.parametrize("topic", ["orders", "orders.eu", "orders.dlq.archive", "retry.orders", "orders.retry"])
    def test_other_peoples_topics(self, topic: str) -> None:
        assert OthersTopics(re.compile(".*"), [DEFAULT]).match(topic)

    @pytest.mark.parametrize(
        "topic", ["orders.billing.dlq", "orders.billing.dlq.state", "orders.billing.retry.1", "orders.retry.10s"]
    )
    def test_never_our_own(self, topic: str) -> None:
        assert not OthersTopics(re.compile(".*"), [DEFAULT]).match(topic)

    def test_never_a_dead_letter_topic_under_a_name_of_ones_own(self) -> None:
        pattern = OthersTopics(re.compile("orders.*"), ["{topic}-dead-{group_id}"])

        assert not pattern.match("orders-dead-billing")
        assert pattern.match("orders-alive")

    def test_not_what_the_pattern_does_not_match(self) -> None:
        assert not OthersTopics(re.compile("orders"), [DEFAULT]).match("payments")


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
