"""Batches, pauses and seeks on a real broker, because they depend on the client's buffers and positions."""

from __future__ import annotations

import uuid
from typing import Any

from aiokafka import AIOKafkaProducer

from evkafka import EVKafkaApp, Handler
from evkafka.broker import KafkaBroker
from evkafka.records import TopicPartition
from tests.support.kafka_topics import MakeTopic
from tests.support.waiting import eventually


async def send(broker: KafkaBroker, topic: str, *values: bytes, partition: int = 0) -> None:
    async with AIOKafkaProducer(bootstrap_servers=broker.bootstrap_servers) as producer:
        for value in values:
            await producer.send(topic, value, partition=partition, headers=[("Event-Type", b"E")])
        await producer.flush()


def make_app(broker: KafkaBroker, topic: str, handler: Handler, **keys: Any) -> EVKafkaApp:
    app = EVKafkaApp()
    config: dict[str, Any] = {
        "topics": [topic],
        "bootstrap_servers": broker.bootstrap_servers,
        "group_id": f"g-{uuid.uuid4().hex[:8]}",
        "auto_offset_reset": "earliest",
        "auto_commit_interval_ms": 50,
        **keys,
    }
    app.add_consumer(config, handler, "it")  # type: ignore[arg-type]
    return app


def numbers(start: int, end: int) -> list[bytes]:
    return [b"%d" % number for number in range(start, end)]


class TestControl:
    async def test_a_paused_partition_is_read_from_its_position(
        self, kafka_broker: KafkaBroker, topic: MakeTopic
    ) -> None:
        name, handler, seen = await topic(2), Handler(), []

        @handler.event("E")
        async def on_event(value: bytes) -> None:
            seen.append(value)
            if value == b"3":
                app.consumer("it").pause(name, 0)

        app = make_app(kafka_broker, name, handler)
        await send(kafka_broker, name, *numbers(0, 100))
        async with app.running():
            await eventually(lambda: len(seen) == 4)
            await send(kafka_broker, name, b"other", partition=1)
            await eventually(lambda: b"other" in seen)
            assert seen == [*numbers(0, 4), b"other"]
            app.consumer("it").resume(name, 0)
            await eventually(lambda: len(seen) == 101)
        assert seen == [*numbers(0, 4), b"other", *numbers(4, 100)]

    async def test_seek_moves_backwards_and_forwards_with_fetched_records_in_the_buffers(
        self, kafka_broker: KafkaBroker, topic: MakeTopic
    ) -> None:
        name, handler, seen = await topic(1), Handler(), []
        sought = {b"50": 10, b"55": 990}

        @handler.event("E")
        async def on_event(value: bytes) -> None:
            seen.append(int(value))
            if (offset := sought.pop(value, None)) is not None:
                app.consumer("it").seek(name, 0, offset)

        app = make_app(kafka_broker, name, handler, max_poll_records=20)
        await send(kafka_broker, name, *numbers(0, 1000))
        async with app.running():
            await eventually(lambda: seen and seen[-1] == 999)
        assert seen == [*range(51), *range(10, 56), *range(990, 1000)]

    async def test_a_seek_survives_a_restart(self, kafka_broker: KafkaBroker, topic: MakeTopic) -> None:
        name, handler, seen = await topic(1), Handler(), []

        @handler.event("E")
        async def on_event(value: bytes) -> None:
            seen.append(value)

        app = make_app(kafka_broker, name, handler)
        await send(kafka_broker, name, *numbers(0, 5))
        async with app.running():
            await eventually(lambda: len(seen) == 5)
            app.consumer("it").pause(name, 0)
            app.consumer("it").seek(name, 0, 2)
        app.consumer("it").resume(name, 0)
        async with app.running():
            await eventually(lambda: len(seen) == 8)
        assert seen == [*numbers(0, 5), *numbers(2, 5)]

    async def test_the_assigned_partitions_are_listed(self, kafka_broker: KafkaBroker, topic: MakeTopic) -> None:
        name, handler = await topic(2), Handler()
        app = make_app(kafka_broker, name, handler)
        assert app.consumer("it").assigned == frozenset()
        async with app.running():
            await eventually(lambda: app.consumer("it").assigned == {TopicPartition(name, 0), TopicPartition(name, 1)})


class TestBatches:
    async def test_all_records_come_in_batches_in_order(self, kafka_broker: KafkaBroker, topic: MakeTopic) -> None:
        name, handler, seen = await topic(2), Handler(), []

        @handler.event("E", batch=True, max_records=100)
        async def on_batch(values: list[bytes]) -> None:
            seen.append(values)

        app = make_app(kafka_broker, name, handler)
        await send(kafka_broker, name, *numbers(0, 1000))
        await send(kafka_broker, name, *numbers(2000, 2500), partition=1)
        async with app.running():
            await eventually(lambda: sum(map(len, seen)) == 1500)
        flat = [int(value) for batch in seen for value in batch]
        assert [number for number in flat if number < 1000] == list(range(1000))
        assert [number for number in flat if number >= 2000] == list(range(2000, 2500))
        assert max(map(len, seen)) == 100
        assert len(seen) < 40
