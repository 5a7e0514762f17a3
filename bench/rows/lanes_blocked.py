"""EVKafka's memory with a long lag and a handler that never returns: resident size, in MiB, each second. Linux only."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path

from bench.arguments import arguments
from bench.event import EVENT_TYPE, OrderPlaced
from evkafka import EVKafkaApp

WATCH_S = 15


def resident_mib() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


async def main() -> None:
    given, blocked = arguments(), asyncio.Event()
    app = EVKafkaApp(
        {
            "topics": [given.topic],
            "bootstrap_servers": given.bootstrap_servers,
            "group_id": given.group_id,
            "auto_offset_reset": "earliest",
            "concurrency": 16,
            "max_endpoint_exec_time_ms": 3_600_000,
            "drain_timeout_ms": 100,
        }
    )

    @app.event(EVENT_TYPE)
    async def handle(event: OrderPlaced) -> None:
        blocked.set()
        await asyncio.Event().wait()

    seen = [resident_mib()]
    async with app.running():
        await blocked.wait()
        for _ in range(WATCH_S):
            await asyncio.sleep(1)
            seen.append(resident_mib())
        assert app.service is not None
        [consumer] = app.service.consumers.values()
        pending = consumer.pending
    print(json.dumps({"resident_mib": seen, "pending": pending}))


if __name__ == "__main__":
    asyncio.run(main())
