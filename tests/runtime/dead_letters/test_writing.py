"""Topic, partition and producer of dead letters, and dead letters that cannot be written."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from evkafka import DeadLetter, Handler
from evkafka.broker import KafkaBroker
from evkafka.exceptions import StopApp
from tests.support.apps import app_of
from tests.support.backends import Backend, RealBackend, committed_is
from tests.support.dead_letters import TO_DLQ, failing
from tests.support.kafka_topics import MakeTopic, read
from tests.support.waiting import eventually


class TestTheTopic:
    async def test_is_created_at_the_start_with_as_many_partitions_and_keeps_the_records_partition(
        self, kafka: RealBackend
    ) -> None:
        topic = await kafka.topic(partitions=3)
        config = kafka.config(topic, on_error=TO_DLQ)
        dead = f"{topic}.{config['group_id']}.dlq"
        async with kafka.running(app_of(failing(), config)):
            assert await partitions_of(kafka.servers, dead) == 3
            await kafka.send(topic, b"poison", partition=2, key=b"k", headers=[("x", b"\xff"), ("x", None)])
            await committed_is(kafka, config, topic, 1, partition=2)
        [letter] = await read(kafka.servers, dead, 2)
        assert (letter.partition, letter.key, letter.value) == (2, b"k", b"poison")
        assert [pair for pair in letter.headers if pair[0] in ("Event-Type", "x")] == [
            ("Event-Type", b"E"),
            ("x", b"\xff"),
            ("x", None),
        ]

    async def test_with_fewer_partitions_gets_the_record_by_its_key(self, kafka: RealBackend, topic: MakeTopic) -> None:
        source, dead = await kafka.topic(partitions=3), await topic(partitions=2)
        config = kafka.config(source, on_error={**TO_DLQ, "dead_letter_topic": dead})
        async with kafka.running(app_of(failing(), config)):
            await kafka.send(source, b"poison", partition=2, key=b"21")
            await committed_is(kafka, config, source, 1, partition=2)
        assert [letter.key for number in range(2) for letter in await read(kafka.servers, dead, number)] == [b"21"]

    async def test_may_differ_for_each_event_type(self, backend: Backend) -> None:
        topic = await backend.topic()
        config = backend.config(topic, on_error={**TO_DLQ, "dead_letter_topic": "{topic}.{event_type}.dead"})
        await backend.send(topic, b"1", "A")
        await backend.send(topic, b"2", "B")
        async with backend.running(app_of(failing("A", "B"), config)):
            await committed_is(backend, config, topic, 2)
        for event_type, value in (("A", b"1"), ("B", b"2")):
            [(found, _)] = await backend.values(f"{topic}.{event_type}.dead")
            assert found == value

    async def test_that_is_not_created_at_the_start_is_created_for_the_first_dead_letter(
        self, backend: Backend
    ) -> None:
        topic, handler = await backend.topic(), Handler()

        @handler.event("E")
        async def on_event(value: bytes) -> DeadLetter:
            return DeadLetter("the endpoint says so")

        config = backend.config(topic)  # no policy says `dead_letter`
        await backend.send(topic, b"x")
        async with backend.running(app_of(handler, config)):
            await committed_is(backend, config, topic, 1)
        [(value, headers)] = await backend.values(f"{topic}.{config['group_id']}.dlq")
        assert (value, headers["evkafka-dlq-error-message"]) == (b"x", b"the endpoint says so")


class TestARecordThatIsTooLarge:
    async def test_has_its_failure_headers_shortened_first(self, kafka: RealBackend, topic: MakeTopic) -> None:
        source, dead = await kafka.topic(), await topic(config={"max.message.bytes": 5_000})
        handler, config = Handler(), kafka.config(source, on_error={**TO_DLQ, "dead_letter_topic": dead})

        @handler.event("E")
        async def on_event(value: bytes) -> None:
            raise ValueError("long " * 2_000)

        await kafka.send(source, bytes(3_500))
        async with kafka.running(app_of(handler, config)):
            await committed_is(kafka, config, source, 1)
        [letter] = await read(kafka.servers, dead, 0)
        assert letter.value == bytes(3_500)
        assert len(dict(letter.headers)["evkafka-dlq-error-message"]) <= 1024

    async def test_even_then_stops_the_app_uncommitted(self, kafka: RealBackend, topic: MakeTopic) -> None:
        source, dead = await kafka.topic(), await topic(config={"max.message.bytes": 1_000})
        config = kafka.config(source, on_error={**TO_DLQ, "dead_letter_topic": dead})
        await kafka.send(source, bytes(3_500))
        app = app_of(failing(), config)
        with pytest.raises(StopApp, match=rf"{source}\[0\]@0 does not fit into {dead}.*max.message.bytes"):
            async with kafka.running(app):
                await eventually(lambda: app.service is not None and app.service.failure)
        assert await kafka.committed(config, source) in (None, 0)


class TestTwoServicesOnOneTopic:
    async def test_do_not_share_a_dead_letter_topic(self, backend: Backend) -> None:
        topic = await backend.topic()
        configs = [backend.config(topic, on_error=TO_DLQ) for _ in range(2)]
        await backend.send(topic, b"poison")
        for config in configs:
            async with backend.running(app_of(failing(), config)):
                await committed_is(backend, config, topic, 1)
        for config in configs:
            [(value, headers)] = await backend.values(f"{topic}.{config['group_id']}.dlq")
            assert (value, headers["evkafka-dlq-group"]) == (b"poison", config["group_id"].encode())
            assert headers["evkafka-dlq-id"].startswith(f"{config['group_id']}/".encode())


@pytest.fixture(scope="module")
def other() -> Iterator[KafkaBroker]:
    """Another cluster."""
    with KafkaBroker() as other:
        yield other


class TestAProducerOfItsOwn:
    async def test_writes_to_another_cluster(self, kafka: RealBackend, other: KafkaBroker) -> None:
        topic = await kafka.topic()
        elsewhere = {"bootstrap_servers": other.bootstrap_servers}
        policy = {**TO_DLQ, "dead_letter_topic": "dead", "dead_letter_producer": elsewhere}
        config = kafka.config(topic, on_error=policy)
        await kafka.send(topic, b"poison")
        async with kafka.running(app_of(failing(), config)):
            await committed_is(kafka, config, topic, 1)
        [letter] = await read(other.bootstrap_servers, "dead", 0)
        assert letter.value == b"poison"

    @pytest.mark.parametrize("own", [True, False])
    async def test_is_part_of_a_transaction_if_it_writes_to_the_consumers_cluster_under_whatever_name(
        self, kafka: RealBackend, other: KafkaBroker, own: bool
    ) -> None:
        """A transaction ends with a marker, which has an offset."""
        servers = kafka.servers.replace("127.0.0.1", "localhost") if own else other.bootstrap_servers
        topic = await kafka.topic()
        dead = f"{topic}-dead"
        policy = {**TO_DLQ, "dead_letter_topic": dead, "dead_letter_producer": {"bootstrap_servers": servers}}
        config = kafka.config(topic, on_error=policy, auto_commit_mode="exactly-once")
        del config["auto_commit_interval_ms"]
        await kafka.send(topic, b"poison")
        async with kafka.running(app_of(failing(), config)):
            await committed_is(kafka, config, topic, 1)
        [letter] = await read(servers, dead, 0)
        place = TopicPartition(dead, 0)
        async with AIOKafkaConsumer(bootstrap_servers=servers) as reader:
            ends = await reader.end_offsets([place])
        assert letter.value == b"poison"
        assert ends[place] == (2 if own else 1)


class TestWhileItCannotBeWritten:
    async def test_the_record_waits_uncommitted_and_is_written_later(self) -> None:
        from evkafka.testing import InMemoryKafka

        async with InMemoryKafka(seed=1) as kafka:
            kafka.create_topic("orders")
            config = {"topics": ["orders"], "group_id": "g", "auto_offset_reset": "earliest", "on_error": TO_DLQ}
            async with kafka.running(app_of(failing(), config)):
                async with kafka.outage():
                    pass
                kafka.fail_sends("refused", "refused", "refused", topic="orders.g.dlq")
                await kafka.send("orders", b"poison", event_type="E")
                await kafka.advance(ms=1_000)
                assert kafka.records("orders.g.dlq") == []
                kafka.assert_committed(group="g", topic="orders", partition=0, offset=0)
                await kafka.settle()
            assert [letter.value for letter in kafka.records("orders.g.dlq")] == [b"poison"]
            kafka.assert_committed(group="g", topic="orders", partition=0, offset=1)


async def partitions_of(servers: str, topic: str) -> int:
    admin = AIOKafkaAdminClient(bootstrap_servers=servers)
    await admin.start()
    try:
        [described] = [found for found in await admin.describe_topics(None) if found["topic"] == topic]
        return len(described["partitions"])
    finally:
        await admin.close()
