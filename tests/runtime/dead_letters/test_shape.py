"""Dead-letter, retry and state topics are created like their source, or with the broker's defaults without one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from evkafka.broker import KafkaBroker
from evkafka.config import producer_settings
from evkafka.config.settings import ConnectionSettings
from evkafka.dlq import DeadLetterFilter, DeadLetterTopic, drop_dead_letters
from evkafka.exceptions import BrokerError
from evkafka.kafka.admin.topics import all_topic_shapes, create_compacted_topic_if_absent, create_topic, ensure_topics
from evkafka.testing import InMemoryKafka
from tests.support.apps import app_of
from tests.support.backends import RealBackend
from tests.support.dead_letters import TO_DLQ, failing
from tests.support.waiting import eventually


@pytest.fixture(scope="module")
def broker() -> Iterator[KafkaBroker]:
    """One broker cannot create two replicas: its error shows that the default was requested."""
    properties = {"auto.create.topics.enable": False, "num.partitions": 3, "default.replication.factor": 2}
    with KafkaBroker(properties=properties) as broker:
        yield broker


def at(broker: KafkaBroker) -> ConnectionSettings:
    return producer_settings({"bootstrap_servers": broker.bootstrap_servers}).connection


async def known(broker: KafkaBroker, topic: str) -> bool:
    """A broker learns of a topic some time after it was created."""
    return topic in await all_topic_shapes(at(broker))


@pytest.mark.kafka
class TestATopicWithoutASource:
    async def test_has_the_brokers_replication_factor(self, broker: KafkaBroker) -> None:
        with pytest.raises(BrokerError, match="replicat"):
            await ensure_topics(at(broker), {"a.g.dlq": "a"}, timeout_s=10)
        with pytest.raises(BrokerError, match="replicat"):
            await create_compacted_topic_if_absent(at(broker), "a.g.dlq.state", like="a.g.dlq", timeout_s=10)

    async def test_has_the_brokers_number_of_partitions(self, broker: KafkaBroker) -> None:
        await create_topic(at(broker), "by-default", replicas=1)
        await eventually(lambda: known(broker, "by-default"))
        assert (await all_topic_shapes(at(broker)))["by-default"].partitions == 3


@pytest.mark.kafka
class TestATopicWithASource:
    async def test_has_its_partitions_and_replicas(self, broker: KafkaBroker) -> None:
        await create_topic(at(broker), "orders", partitions=5, replicas=1)
        await eventually(lambda: known(broker, "orders"))
        assert await ensure_topics(at(broker), {"orders.g.dlq": "orders"}, timeout_s=10) == {"orders.g.dlq": 5}
        shape = (await all_topic_shapes(at(broker)))["orders.g.dlq"]
        assert (shape.partitions, shape.replicas) == (5, 1)

    async def test_and_its_state_topic_have_the_same_replicas(self, broker: KafkaBroker) -> None:
        await create_topic(at(broker), "returns.g.dlq", partitions=2, replicas=1)
        await eventually(lambda: known(broker, "returns.g.dlq"))
        await drop_dead_letters(DeadLetterTopic(at(broker), "returns.g.dlq"), DeadLetterFilter())
        shape = (await all_topic_shapes(at(broker)))["returns.g.dlq.state"]
        assert (shape.partitions, shape.replicas) == (1, 1)


class TestAnApp:
    async def test_creates_default_topics_if_its_source_is_created_later(self, kafka: RealBackend) -> None:
        config = kafka.config("not-yet-there", on_error={**TO_DLQ, "retry_topics": [500]})
        async with kafka.running(app_of(failing(), config)):
            shapes = await all_topic_shapes(producer_settings({"bootstrap_servers": kafka.servers}).connection)
        assert {name for name in shapes if config["group_id"] in name} == {
            f"not-yet-there.{config['group_id']}.dlq",
            f"not-yet-there.{config['group_id']}.retry.500",
        }

    async def test_uses_the_default_of_the_in_memory_kafka_too(self) -> None:
        config = {"topics": ["orders"], "group_id": "g", "on_error": TO_DLQ}
        kafka = InMemoryKafka(partitions=4, auto_create_topics=False)
        async with kafka, kafka.running(app_of(failing(), config)):
            assert len(kafka.topics.partitions("orders.g.dlq")) == 4
