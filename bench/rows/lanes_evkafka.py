"""EVKafka with many records in flight, in order by key.

Options: the concurrency; the handler: `wait` sleeps, `nothing` returns at once, `batch` takes many records at once.
"""

from __future__ import annotations

import asyncio

from bench.app import make_app
from bench.arguments import arguments, options
from bench.event import EVENT_TYPE, OrderPlaced
from bench.meter import Meter

WAIT_S = 0.01


def main() -> None:
    args, (concurrency, endpoint) = arguments(), options()
    app = make_app(args, concurrency=int(concurrency))
    meter = Meter(args.events, app.stop)
    if endpoint == "wait":

        @app.event(EVENT_TYPE)
        async def wait(event: OrderPlaced) -> None:
            await asyncio.sleep(WAIT_S)
            meter.tick()

    elif endpoint == "nothing":

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
