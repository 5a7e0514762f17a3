"""The baseline: a loop on aiokafka's `getmany`, as a careful author writes it. Option: `pydantic` or `msgspec`.

The validator is bound once, a poll returns up to 2,000 records, and offsets are committed every five seconds.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition

from bench.arguments import arguments, options
from bench.event import PROFILE
from bench.meter import Meter
from bench.models import decoder

COMMIT_EVERY_S = 5.0


async def main() -> None:
    args, (library,) = arguments(), options()
    done = asyncio.Event()
    meter, decode = Meter(args.events, done.set), decoder(library)
    only_type = len(PROFILE.types) == 1
    handlers = {name.encode(): decode for name in PROFILE.handled}

    async def handle(event: object) -> None:
        meter.tick()

    async def handle_all(records: list[Any]) -> None:
        for record in records:
            await handle(decode(record.value))

    async def handle_some(records: list[Any]) -> None:
        for record in records:
            for name, value in record.headers:
                if name == "Event-Type":
                    if (decode := handlers.get(value)) is not None:
                        await handle(decode(record.value))
                    break

    handle_records = handle_all if only_type else handle_some
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
        while not done.is_set():
            for partition, records in (await consumer.getmany(timeout_ms=200, max_records=2000)).items():
                await handle_records(records)
                positions[partition] = records[-1].offset + 1
            if time.monotonic() - committed_at >= COMMIT_EVERY_S:
                await consumer.commit(positions)
                committed_at = time.monotonic()
        await consumer.commit(positions)


asyncio.run(main())
