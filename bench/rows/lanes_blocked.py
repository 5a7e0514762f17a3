"""EVKafka's memory with a long lag and a handler that never returns: resident MiB, each second. Linux only."""

from __future__ import annotations

import asyncio
import json

from bench.app import make_app
from bench.arguments import arguments
from bench.event import EVENT_TYPE, OrderPlaced
from bench.memory import resident_mib

WATCH_S = 15


async def main() -> None:
    blocked = asyncio.Event()
    app = make_app(arguments(), concurrency=16, max_endpoint_exec_time_ms=3_600_000, drain_timeout_ms=100)

    @app.event(EVENT_TYPE)
    async def handle(event: OrderPlaced) -> None:
        blocked.set()
        await asyncio.Event().wait()

    samples_mib = [resident_mib()]
    async with app.running():
        await blocked.wait()
        for _ in range(WATCH_S):
            await asyncio.sleep(1)
            samples_mib.append(resident_mib())
        [consumer] = app.status().consumers
        pending = sum(partition.pending for partition in consumer.partitions)
    print(json.dumps({"resident_mib": samples_mib, "pending": pending}))


if __name__ == "__main__":
    asyncio.run(main())
