"""Creates and fills topics: `python -m bench.topics BOOTSTRAP TOPIC EVENTS`."""

from __future__ import annotations

import asyncio
import time

from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from bench.arguments import arguments
from bench.event import HEADERS, KEY, VALUE

PARTITIONS = 4
RECORDS_PER_BATCH = 400


async def create_topic(bootstrap_servers: str, topic: str, partitions: int = PARTITIONS) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap_servers)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(topic, partitions, 1)])
    finally:
        await admin.close()


async def fill(bootstrap_servers: str, topic: str, events: int, *, compression: str | None = None) -> None:
    """Write the events, evenly over the topic's partitions."""
    async with AIOKafkaProducer(
        bootstrap_servers=bootstrap_servers, max_batch_size=1_000_000, compression_type=compression
    ) as producer:
        for number, start in enumerate(range(0, events, RECORDS_PER_BATCH)):
            batch = producer.create_batch()
            now_ms = int(time.time() * 1000)
            for _ in range(min(RECORDS_PER_BATCH, events - start)):
                batch.append(key=KEY, value=VALUE, timestamp=now_ms, headers=HEADERS)
            batch.close()
            await producer.send_batch(batch, topic, partition=number % PARTITIONS)
        await producer.flush()


if __name__ == "__main__":
    args = arguments()
    asyncio.run(fill(args.bootstrap_servers, args.topic, args.events, compression="lz4"))
