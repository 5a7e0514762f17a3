"""`KafkaBroker` against the real thing."""

from __future__ import annotations

import asyncio

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient

from evkafka.broker import KafkaBroker


async def topics_of(broker: KafkaBroker) -> list[str]:
    admin = AIOKafkaAdminClient(bootstrap_servers=broker.bootstrap_servers)
    await admin.start()
    try:
        return list(await admin.list_topics())
    finally:
        await admin.close()


class TestSharedBroker:
    async def test_takes_and_gives_back_a_record(self, kafka_broker, topic):
        name = await topic(partitions=2)
        async with AIOKafkaProducer(bootstrap_servers=kafka_broker.bootstrap_servers) as producer:
            await producer.send_and_wait(name, b"hello", partition=1)
        reader = AIOKafkaConsumer(name, bootstrap_servers=kafka_broker.bootstrap_servers, auto_offset_reset="earliest")
        async with reader:
            record = await asyncio.wait_for(reader.getone(), 10)
        assert (record.value, record.partition) == (b"hello", 1)
