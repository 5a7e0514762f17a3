"""The baseline for lanes: one asyncio task for each record in flight, which sleeps as the handler does."""

from __future__ import annotations

import asyncio

from bench.arguments import arguments, options
from bench.meter import Meter
from bench.rows.lanes_evkafka import WAIT_S


async def main() -> None:
    args, (workers,) = arguments(), options()
    done = asyncio.Event()
    meter = Meter(args.events, done.set)

    async def work() -> None:
        while not done.is_set():
            await asyncio.sleep(WAIT_S)
            meter.tick()

    await asyncio.gather(*(work() for _ in range(int(workers))))


if __name__ == "__main__":
    asyncio.run(main())
