"""Creates and fills topics: `python -m bench.topics BOOTSTRAP TOPIC EVENTS`."""

from __future__ import annotations

import asyncio
import time
from itertools import cycle, islice

from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from bench.arguments import arguments
from bench.event import KEY, PROFILE

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
    """Write so many records of the profile that this many are handled, evenly over the topic's partitions."""
    records, headers = PROFILE.records(events), cycle(PROFILE.headers)
    async with AIOKafkaProducer(
        bootstrap_servers=bootstrap_servers,
        max_batch_size=1_000_000,
        compression_type=compression or PROFILE.compression,
    ) as producer:
        for number, start in enumerate(range(0, records, RECORDS_PER_BATCH)):
            batch = producer.create_batch()
            now_ms = int(time.time() * 1000)
            for record_headers in islice(headers, min(RECORDS_PER_BATCH, records - start)):
                batch.append(key=KEY, value=PROFILE.value, timestamp=now_ms, headers=record_headers)
            batch.close()
            await producer.send_batch(batch, topic, partition=number % PARTITIONS)
        await producer.flush()


if __name__ == "__main__":
    args = arguments()
    asyncio.run(fill(args.bootstrap_servers, args.topic, args.events, compression="lz4"))
