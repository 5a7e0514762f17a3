"""End offsets of partitions that are not fetched are looked up, so that a growing lag shows."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer

from evkafka.broker import KafkaBroker
from evkafka.kafka.consumer import end_offsets as ends
from evkafka.records import TopicPartition
from tests.support.fake_kafka import FakeKafka
from tests.support.kafka_reader import Read
from tests.support.kafka_topics import MakeTopic, produce
from tests.support.waiting import eventually

LIST_OFFSETS = 2


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ends, "EVERY_S", 0.1)


@asynccontextmanager
async def open_transaction(servers: str, topic: str, records: int) -> AsyncIterator[Any]:
    """An open transaction inside of the context."""
    producer = AIOKafkaProducer(bootstrap_servers=servers, transactional_id=f"{topic}-tx")
    await producer.start()
    try:
        await producer.begin_transaction()
        for _ in range(records):
            await producer.send_and_wait(topic, b"undecided", partition=0)
        yield producer
    finally:
        await producer.stop()


class TestAPartitionThatIsNotPolled:
    async def test_shows_its_new_end_and_the_time_of_its_next_record(
        self, kafka_broker: KafkaBroker, topic: MakeTopic, name: str, read: Read
    ) -> None:
        servers, orders = kafka_broker.bootstrap_servers, await topic()
        at = TopicPartition(orders, 0)
        await produce(servers, orders)
        reader = await read(servers, orders, name)
        await eventually(lambda: len(reader.records) == 10)
        await reader.want([])
        await produce(servers, orders)
        await eventually(lambda: reader.source.next_fetched_timestamp_ms(at) is not None)  # fetched, but not handed out
        await produce(servers, orders, 30)

        await eventually(lambda: reader.source.end_offset(at) == 50)
        waiting_since_ms = reader.source.next_fetched_timestamp_ms(at)
        assert reader.source.high_watermark(at) == 50
        assert reader.source.position(at) == 10
        await reader.want(None)
        await eventually(lambda: len(reader.records) == 50)
        assert waiting_since_ms == reader.records[10].timestamp

    async def test_is_looked_up_again_without_an_answer(self, fake: FakeKafka, name: str, read: Read) -> None:
        at = TopicPartition(name, 0)
        await fake.create(name)
        await produce(fake.bootstrap_servers, name)
        reader = await read(fake.bootstrap_servers, name, name)
        await eventually(lambda: len(reader.records) == 10)
        await reader.want([])
        fault = await fake.fault(LIST_OFFSETS, 6, topic=name, count=-1)
        await produce(fake.bootstrap_servers, name)
        await eventually(lambda: reader.source.next_fetched_timestamp_ms(at) is not None)
        await produce(fake.bootstrap_servers, name)

        async def asked() -> bool:
            return await fault.hits() >= 2

        await eventually(asked)
        await fault.heal()
        await eventually(lambda: reader.source.end_offset(at) == 30)
        assert reader.errors == []


class TestAnOpenTransaction:
    @pytest.mark.parametrize("polled", [True, False])
    async def test_shows_last_stable_offset_and_high_watermark(
        self, kafka_broker: KafkaBroker, topic: MakeTopic, name: str, read: Read, polled: bool
    ) -> None:
        servers, orders = kafka_broker.bootstrap_servers, await topic()
        at = TopicPartition(orders, 0)
        await produce(servers, orders)
        reader = await read(servers, orders, name)
        await eventually(lambda: len(reader.records) == 10)
        if not polled:
            await reader.want([])
        async with open_transaction(servers, orders, 4) as producer:
            await eventually(lambda: reader.source.high_watermark(at) == 14)
            assert reader.source.end_offset(at) == 10
            await producer.commit_transaction()
            await eventually(lambda: reader.source.end_offset(at) == 15)
