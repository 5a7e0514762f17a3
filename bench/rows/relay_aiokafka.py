"""Consume, handle, send, on aiokafka: the records of a poll are handled concurrently, and then committed.

Runs until it is terminated; `bench.rows.latency_probe` measures it.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from bench.arguments import arguments
from bench.event import HEADERS, OrderPlaced
from bench.rows.latency_probe import output_topic

COMMIT_EVERY_S = 5.0


async def main() -> None:
    args = arguments()
    consumer = AIOKafkaConsumer(
        args.topic,
        bootstrap_servers=args.bootstrap_servers,
        group_id=args.group_id,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
    )
    producer = AIOKafkaProducer(bootstrap_servers=args.bootstrap_servers, acks="all", enable_idempotence=True)

    async def handle(record: Any) -> None:
        order = OrderPlaced.model_validate_json(record.value)
        value = order.model_dump_json().encode()
        await producer.send_and_wait(output_topic(args.topic), value, key=record.key, headers=HEADERS)

    async with consumer, producer:
        positions: dict[TopicPartition, int] = {}
        committed_at = time.monotonic()
        while True:
            batches = await consumer.getmany(timeout_ms=200, max_records=500)
            await asyncio.gather(*(handle(record) for records in batches.values() for record in records))
            positions.update({partition: records[-1].offset + 1 for partition, records in batches.items()})
            if positions and time.monotonic() - committed_at >= COMMIT_EVERY_S:
                await consumer.commit(positions)
                committed_at = time.monotonic()


asyncio.run(main())
