"""What EVKafka costs while nothing comes: CPU seconds over 20 s, after the group has settled."""

from __future__ import annotations

import asyncio
import json
import time

from bench.arguments import arguments
from bench.event import EVENT_TYPE, OrderPlaced
from evkafka import EVKafkaApp

SETTLE_S, WATCH_S = 5.0, 20.0


async def main() -> None:
    given = arguments()
    app = EVKafkaApp(
        {"topics": [given.topic], "bootstrap_servers": given.bootstrap_servers, "group_id": given.group_id}
    )

    @app.event(EVENT_TYPE)
    async def handle(event: OrderPlaced) -> None:
        raise AssertionError("nothing is sent")

    async with app.running():
        await asyncio.sleep(SETTLE_S)
        cpu_s, wall_s = time.process_time(), time.perf_counter()
        await asyncio.sleep(WATCH_S)
        idle = {"cpu_s": time.process_time() - cpu_s, "wall_s": time.perf_counter() - wall_s}
    print(json.dumps(idle))


asyncio.run(main())
