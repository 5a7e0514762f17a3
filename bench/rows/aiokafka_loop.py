"""The baseline: a loop on aiokafka's `getmany`, as a careful author writes it. It commits every five seconds."""

from __future__ import annotations

import asyncio
import time

from aiokafka import AIOKafkaConsumer, TopicPartition

from bench.arguments import arguments
from bench.event import OrderPlaced
from bench.meter import Meter

COMMIT_EVERY_S = 5.0


async def main() -> None:
    args = arguments()
    done = False

    def finish() -> None:
        nonlocal done
        done = True

    meter = Meter(args.events, finish)

    async def handle(event: OrderPlaced) -> None:
        meter.tick()

    consumer = AIOKafkaConsumer(
        args.topic,
        bootstrap_servers=args.bootstrap_servers,
        group_id=args.group_id,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
    )
    async with consumer:
        positions: dict[TopicPartition, int] = {}
        committed_at = time.monotonic()
        while not done:
            for partition, records in (await consumer.getmany(timeout_ms=200, max_records=500)).items():
                for record in records:
                    await handle(OrderPlaced.model_validate_json(record.value))
                positions[partition] = records[-1].offset + 1
            if time.monotonic() - committed_at >= COMMIT_EVERY_S:
                await consumer.commit(positions)
                committed_at = time.monotonic()
        await consumer.commit(positions)


asyncio.run(main())
