"""Consume, handle, send, by hand on aiokafka: a poll's records are handled side by side, and then committed.

Runs until it is terminated; see `bench.rows.latency`, which measures it.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from bench.arguments import arguments
from bench.event import HEADERS, OrderPlaced
from bench.rows.latency import out_of

COMMIT_EVERY_S = 5.0


async def main() -> None:
    given = arguments()
    consumer = AIOKafkaConsumer(
        given.topic,
        bootstrap_servers=given.bootstrap_servers,
        group_id=given.group_id,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
    )
    producer = AIOKafkaProducer(bootstrap_servers=given.bootstrap_servers, acks="all", enable_idempotence=True)

    async def handle(record: Any) -> None:
        order = OrderPlaced.model_validate_json(record.value)
        value = order.model_dump_json().encode()
        await producer.send_and_wait(out_of(given.topic), value, key=record.key, headers=HEADERS)

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
