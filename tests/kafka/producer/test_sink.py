"""Sends to a healthy broker: confirmed, in order, to the right partition."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer

from evkafka import EVKafkaProducer
from evkafka.broker import KafkaBroker
from evkafka.exceptions import DeliveryError
from evkafka.kafka.producer import sink as sink_module
from tests.kafka.producer.topics import contents, values
from tests.support.kafka_topics import MakeTopic


class TestOneEvent:
    async def test_is_confirmed_with_its_offset(self, kafka_broker: KafkaBroker, topic: MakeTopic) -> None:
        name, servers = await topic(partitions=3), kafka_broker.bootstrap_servers
        before_ms = int(time.time() * 1000)
        async with EVKafkaProducer({"bootstrap_servers": servers, "topic": name}) as producer:
            sent = await producer.send_event({"n": 1}, "X", key="", partition=0, headers=[("a", b"1"), ("b", None)])
            stamped = await producer.send_event({"n": 2}, "X", partition=2, timestamp_ms=1_700_000_000_000)
            await producer.send_event(None, "X", key="gone", partition=2)
        found = await contents(servers, name, 3)
        [first], [second, third] = found[0], found[2]
        assert (sent.topic, sent.partition, sent.offset) == (name, 0, 0)
        assert sent.timestamp == first.timestamp >= before_ms
        assert (first.key, first.value) == (b"", b'{"n": 1}')
        assert first.headers == (("Event-Type", b"X"), ("a", b"1"), ("b", None))
        assert (stamped.partition, stamped.offset, stamped.timestamp) == (2, 0, 1_700_000_000_000)
        assert second.timestamp == 1_700_000_000_000
        assert (third.key, third.value, third.headers) == (b"gone", None, (("Event-Type", b"X"),))

    async def test_with_a_key_goes_to_the_same_partition_as_from_other_clients(
        self, kafka_broker: KafkaBroker, topic: MakeTopic
    ) -> None:
        name, servers = await topic(partitions=12), kafka_broker.bootstrap_servers
        keys = [f"key-{number}" for number in range(40)]
        async with (
            EVKafkaProducer({"bootstrap_servers": servers, "topic": name}) as ours,
            AIOKafkaProducer(bootstrap_servers=servers) as theirs,
        ):
            for key in keys:
                sent = await ours.send_event({}, "X", key=key)
                assert sent.partition == (await theirs.send_and_wait(name, b"", key=key.encode())).partition

    @pytest.mark.parametrize("acks", ["all", 1, 0])
    async def test_is_sent_with_the_configured_acks(
        self, kafka_broker: KafkaBroker, topic: MakeTopic, acks: Any
    ) -> None:
        name, servers = await topic(), kafka_broker.bootstrap_servers
        config: Any = {"acks": acks, "enable_idempotence": acks == "all"}
        async with EVKafkaProducer({"bootstrap_servers": servers, "topic": name, **config}) as producer:
            offsets = [(await producer.send_event({"n": n}, "X")).offset for n in range(3)]
        assert offsets == ([-1, -1, -1] if acks == 0 else [0, 1, 2])
        assert await values(servers, name) == [b'{"n": 0}', b'{"n": 1}', b'{"n": 2}']


class TestManyEvents:
    async def test_queued_events_keep_their_order(self, kafka_broker: KafkaBroker, topic: MakeTopic) -> None:
        name, servers = await topic(partitions=2), kafka_broker.bootstrap_servers
        config: Any = {"bootstrap_servers": servers, "topic": name, "max_batch_size": 2000}
        async with EVKafkaProducer(config) as producer:
            queued = [await producer.enqueue_event(str(n), "X", partition=n % 2) for n in range(3000)]
            await producer.flush()
            assert all(one.done() for one in queued)
            places = await asyncio.gather(*queued)
        found = await contents(servers, name, 2)
        for partition in (0, 1):
            assert [int(record.value) for record in found[partition]] == list(range(partition, 3000, 2))
            assert [place.offset for place in places[partition::2]] == list(range(1500))

    async def test_a_thousand_tasks_that_send_one_by_one(self, kafka_broker: KafkaBroker, topic: MakeTopic) -> None:
        name, servers = await topic(partitions=4), kafka_broker.bootstrap_servers

        async def send(task: int) -> None:
            for number in range(5):
                await producer.send_event(f"{task}/{number}", "X", key=task)

        async with EVKafkaProducer({"bootstrap_servers": servers, "topic": name}) as producer:
            await asyncio.gather(*(send(task) for task in range(1000)))
        found = await contents(servers, name, 4)
        of_task: dict[str, list[str]] = {}
        for records in found.values():
            for record in records:
                task, number = record.value.decode().split("/")
                of_task.setdefault(task, []).append(number)
        assert len(of_task) == 1000
        assert all(numbers == ["0", "1", "2", "3", "4"] for numbers in of_task.values())

    async def test_a_batch_is_confirmed_together_and_in_order(
        self, kafka_broker: KafkaBroker, topic: MakeTopic
    ) -> None:
        name, servers = await topic(), kafka_broker.bootstrap_servers
        async with EVKafkaProducer({"bootstrap_servers": servers, "topic": name}) as producer:
            places = await producer.send_events(({"n": n} for n in range(500)), "X")
        assert [place.offset for place in places] == list(range(500))
        assert len(await values(servers, name)) == 500

    async def test_the_stop_sends_what_was_queued(self, kafka_broker: KafkaBroker, topic: MakeTopic) -> None:
        name, servers = await topic(), kafka_broker.bootstrap_servers
        config: Any = {"bootstrap_servers": servers, "topic": name, "linger_ms": 60_000}
        began_s = time.monotonic()
        async with EVKafkaProducer(config) as producer:
            queued = [await producer.enqueue_event(str(n), "X") for n in range(10)]
        assert time.monotonic() - began_s < 30  # it does not linger any longer
        assert [(await one).offset for one in queued] == list(range(10))
        assert len(await values(servers, name)) == 10


class TestRefusedBeforehand:
    async def test_an_event_larger_than_a_request_is_an_error_with_its_name(
        self, kafka_broker: KafkaBroker, topic: MakeTopic
    ) -> None:
        name = await topic()
        config: Any = {"bootstrap_servers": kafka_broker.bootstrap_servers, "max_request_size": 1000}
        async with EVKafkaProducer({"topic": name, **config}) as producer:
            with pytest.raises(DeliveryError, match=r"event 'Big' to topic .*larger than max_request_size, 1000") as e:
                await producer.send_event("x" * 1000, "Big")
            assert (await producer.send_event("small", "Small")).offset == 0
        assert (e.value.topic, e.value.event_type, e.value.may_have_been_written) == (name, "Big", False)

    async def test_a_topic_that_does_not_exist(
        self, kafka_broker: KafkaBroker, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sink_module, "TOPIC_WAIT_S", 0.3)
        async with EVKafkaProducer({"bootstrap_servers": kafka_broker.bootstrap_servers}) as producer:
            with pytest.raises(DeliveryError, match=r"event 'X' to topic 'ordes' .*the topic does not exist") as e:
                await producer.send_event({}, "X", "ordes")
        assert e.value.may_have_been_written is False

    async def test_a_topic_that_is_created_a_moment_later_is_waited_for(
        self, kafka_broker: KafkaBroker, topic: MakeTopic
    ) -> None:
        servers = kafka_broker.bootstrap_servers
        async with EVKafkaProducer({"bootstrap_servers": servers}) as producer:
            name = "late-" + (await topic())
            sending = asyncio.ensure_future(producer.send_event({}, "X", name))
            await asyncio.wait({sending}, timeout=0.3)
            assert not sending.done()
            await topic(name=name)
            assert (await sending).offset == 0

    async def test_a_partition_that_does_not_exist(self, kafka_broker: KafkaBroker, topic: MakeTopic) -> None:
        name = await topic(partitions=2)
        config: Any = {"bootstrap_servers": kafka_broker.bootstrap_servers, "topic": name}
        async with EVKafkaProducer(config) as producer:
            with pytest.raises(DeliveryError, match=r"partition 2 does not exist: the topic has 2, counted from 0"):
                await producer.send_event({}, "X", partition=2)

    async def test_a_name_that_cannot_be_a_topic(self, kafka_broker: KafkaBroker) -> None:
        async with EVKafkaProducer({"bootstrap_servers": kafka_broker.bootstrap_servers}) as producer:
            with pytest.raises(DeliveryError, match="the name is invalid"):
                await producer.send_event({}, "X", "a b")
