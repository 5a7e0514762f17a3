"""The measure for lanes: as many workers as are in flight, which do nothing but the handler's wait, without Kafka."""

from __future__ import annotations

import asyncio

from bench.arguments import arguments, options
from bench.meter import Meter
from bench.rows.lanes_evkafka import WAIT_S


async def main() -> None:
    given, (workers,) = arguments(), options()
    done = asyncio.Event()
    meter = Meter(given.events, done.set)

    async def work() -> None:
        while not done.is_set():
            await asyncio.sleep(WAIT_S)
            meter.tick()

    await asyncio.gather(*(work() for _ in range(int(workers))))


if __name__ == "__main__":
    asyncio.run(main())
