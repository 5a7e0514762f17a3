"""EVKafka with many records in flight, order kept by key. Options: the concurrency; `wait` or `nothing`, which is what
the handler does; or `batch`, which is nothing too, for many records at a time."""

from __future__ import annotations

import asyncio

from bench.arguments import arguments, options
from bench.event import EVENT_TYPE, OrderPlaced
from bench.meter import Meter
from evkafka import EVKafkaApp

WAIT_S = 0.01


def main() -> None:
    given, (concurrency, what) = arguments(), options()
    app = EVKafkaApp(
        {
            "topics": [given.topic],
            "bootstrap_servers": given.bootstrap_servers,
            "group_id": given.group_id,
            "auto_offset_reset": "earliest",
            "concurrency": int(concurrency),
        }
    )
    meter = Meter(given.events, app.stop)
    if what == "wait":

        @app.event(EVENT_TYPE)
        async def wait(event: OrderPlaced) -> None:
            await asyncio.sleep(WAIT_S)
            meter.tick()

    elif what == "nothing":

        @app.event(EVENT_TYPE)
        async def nothing(event: OrderPlaced) -> None:
            meter.tick()

    else:

        @app.event(EVENT_TYPE, batch=True)
        async def batch(events: list[OrderPlaced]) -> None:
            meter.tick(len(events))

    app.run()


if __name__ == "__main__":
    main()
