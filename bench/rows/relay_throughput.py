"""Consume, handle, send on, as fast as possible, until the last output is confirmed or committed.

Options: `auto_commit_mode`; the concurrency; the milliseconds that a record waits in its endpoint.
"""

from __future__ import annotations

import asyncio
import json
import time

from bench.app import make_app
from bench.arguments import arguments, options
from bench.event import EVENT_TYPE, OrderPlaced
from bench.rows.latency_probe import output_topic
from evkafka import Request, Sender


def main() -> None:
    args, (mode, concurrency, wait_ms) = arguments(), options()
    sender, wait_s = Sender(), int(wait_ms) / 1000
    app = make_app(args, auto_commit_mode=mode, concurrency=int(concurrency))
    handled, began = 0, (0.0, 0.0)

    @sender.event(EVENT_TYPE, topic=output_topic(args.topic))
    async def send_on(order: OrderPlaced) -> None: ...

    @app.event(EVENT_TYPE)
    async def handle(order: OrderPlaced, request: Request) -> None:
        nonlocal handled, began
        if not handled:
            began = time.process_time(), time.perf_counter()
        handled += 1
        if handled == args.events:
            app.stop()
        if wait_s:
            await asyncio.sleep(wait_s)
        await send_on(order, key=request.key)

    app.add_producer({"bootstrap_servers": args.bootstrap_servers}, sender)
    app.run()  # ends after the last commit
    measured = {
        "events": handled,
        "cpu_s": time.process_time() - began[0],
        "wall_s": time.perf_counter() - began[1],
    }
    print(json.dumps(measured), flush=True)


if __name__ == "__main__":
    main()
