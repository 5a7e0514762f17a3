"""What dead-letter, retry and state topics are made of: as their source; the broker's defaults while there is none."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from evkafka.broker import KafkaBroker
from evkafka.config import producer_settings
from evkafka.config.settings import ConnectionSettings
from evkafka.dlq import DeadLetterFilter, DeadLetterTopic, drop_dead_letters
from evkafka.exceptions import BrokerError
from evkafka.kafka.admin.topics import create_topic, ensure_compacted, ensure_topics, topic_shapes
from evkafka.testing import InMemoryKafka
from tests.support.apps import app_of
from tests.support.backends import RealBackend
from tests.support.dead_letters import BURY, failing
from tests.support.waiting import eventually


@pytest.fixture(scope="module")
def broker() -> Iterator[KafkaBroker]:
    """Two replicas are more than one broker can make: its refusal shows that the default was asked for."""
    properties = {"auto.create.topics.enable": False, "num.partitions": 3, "default.replication.factor": 2}
    with KafkaBroker(properties=properties) as broker:
        yield broker


def at(broker: KafkaBroker) -> ConnectionSettings:
    return producer_settings({"bootstrap_servers": broker.bootstrap_servers}).connection


async def known(broker: KafkaBroker, topic: str) -> bool:
    """A broker learns of a topic after it was made."""
    return topic in await topic_shapes(at(broker))


@pytest.mark.kafka
class TestWithoutASource:
    async def test_the_brokers_replication_factor_is_taken(self, broker: KafkaBroker) -> None:
        with pytest.raises(BrokerError, match="replicat"):
            await ensure_topics(at(broker), {"a.g.dlq": "a"}, timeout_s=10)
        with pytest.raises(BrokerError, match="replicat"):
            await ensure_compacted(at(broker), "a.g.dlq.state", like="a.g.dlq", timeout_s=10)

    async def test_the_brokers_number_of_partitions_is_taken(self, broker: KafkaBroker) -> None:
        await create_topic(at(broker), "by-default", replicas=1)
        await eventually(lambda: known(broker, "by-default"))
        assert (await topic_shapes(at(broker)))["by-default"].partitions == 3


@pytest.mark.kafka
class TestWithASource:
    async def test_both_are_the_sources(self, broker: KafkaBroker) -> None:
        await create_topic(at(broker), "orders", partitions=5, replicas=1)
        await eventually(lambda: known(broker, "orders"))
        assert await ensure_topics(at(broker), {"orders.g.dlq": "orders"}, timeout_s=10) == {"orders.g.dlq": 5}
        shape = (await topic_shapes(at(broker)))["orders.g.dlq"]
        assert (shape.partitions, shape.replicas) == (5, 1)

    async def test_the_state_topic_has_its_dead_letter_topics_replicas(self, broker: KafkaBroker) -> None:
        await create_topic(at(broker), "returns.g.dlq", partitions=2, replicas=1)
        await eventually(lambda: known(broker, "returns.g.dlq"))
        await drop_dead_letters(DeadLetterTopic(at(broker), "returns.g.dlq"), DeadLetterFilter())
        shape = (await topic_shapes(at(broker)))["returns.g.dlq.state"]
        assert (shape.partitions, shape.replicas) == (1, 1)


class TestAnApp:
    async def test_makes_them_by_default_where_its_source_comes_later(self, kafka: RealBackend) -> None:
        config = kafka.config("not-yet-there", on_error={**BURY, "retry_topics": [500]})
        async with kafka.running(app_of(failing(), config)):
            shapes = await topic_shapes(producer_settings({"bootstrap_servers": kafka.servers}).connection)
        assert {name for name in shapes if config["group_id"] in name} == {
            f"not-yet-there.{config['group_id']}.dlq",
            f"not-yet-there.{config['group_id']}.retry.500",
        }

    async def test_takes_the_in_memory_kafkas_default_too(self) -> None:
        config = {"topics": ["orders"], "group_id": "g", "on_error": BURY}
        kafka = InMemoryKafka(partitions=4, auto_create_topics=False)
        async with kafka, kafka.running(app_of(failing(), config)):
            assert len(kafka.topics.partitions("orders.g.dlq")) == 4
