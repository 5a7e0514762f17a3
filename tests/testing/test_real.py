"""RealKafka creates topics on a real broker that no other test uses."""

from __future__ import annotations

import pytest

from evkafka import BrokerError, EVKafkaProducer
from evkafka.broker import KafkaBroker
from evkafka.config import producer_settings
from evkafka.kafka.admin.topics import create_topic
from evkafka.testing import RealKafka


class TestTopics:
    async def test_each_call_makes_another_one_with_its_partitions(self, kafka_broker: KafkaBroker) -> None:
        kafka = RealKafka(kafka_broker.bootstrap_servers)
        one, two = await kafka.topic(partitions=3), kafka.topic(prefix="two")
        async with EVKafkaProducer({"bootstrap_servers": kafka.bootstrap_servers}) as producer:
            there = await producer.send_event({}, "X", one, partition=2)
        assert (there.topic, there.partition) == (one, 2)
        assert two.startswith("two-")

    async def test_a_refusal_of_the_broker_is_raised(self, kafka_broker: KafkaBroker) -> None:
        kafka = RealKafka(kafka_broker.bootstrap_servers)
        with pytest.raises(BrokerError, match="creating topic 'a b-"):
            kafka.topic(prefix="a b")

    async def test_a_topic_that_is_there_is_refused(self, kafka_broker: KafkaBroker) -> None:
        name = RealKafka(kafka_broker.bootstrap_servers).topic()
        connection = producer_settings({"bootstrap_servers": kafka_broker.bootstrap_servers}).connection
        with pytest.raises(BrokerError, match=name):
            await create_topic(connection, name)

    async def test_a_broker_that_is_not_there_is_named(self) -> None:
        connection = producer_settings({"bootstrap_servers": "127.0.0.1:1"}).connection
        with pytest.raises(BrokerError, match=r"127\.0\.0\.1|Unable|refused"):
            await create_topic(connection, "t", timeout_s=5)
