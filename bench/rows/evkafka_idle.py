"""CPU time of an idle EVKafka app: CPU seconds over 20 s, after the group has settled."""

from __future__ import annotations

import asyncio
import json
import time

from bench.app import make_app
from bench.arguments import arguments
from bench.event import EVENT_TYPE, OrderPlaced

SETTLE_S, WATCH_S = 5.0, 20.0


async def main() -> None:
    app = make_app(arguments(), auto_offset_reset="latest")

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
