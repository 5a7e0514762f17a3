"""One of several processes of an app, for test_processes.py: handles orders, and prints its web address."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import Any

from prometheus_client import Counter, Gauge

from evkafka import EVKafkaApp, Handler

handler = Handler()
billed = Counter("shop_billed", "Orders billed.")
tills = Gauge("shop_tills", "Tills that are open.", multiprocess_mode="livesum")


@handler.event("OrderPlaced")
async def on_order(event: dict[str, Any]) -> None:
    billed.inc()


async def main() -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    app = EVKafkaApp(web=True, web_port=0)
    app.add_consumer(
        {
            "topics": [os.environ["TOPIC"]],
            "group_id": os.environ["TOPIC"],
            "bootstrap_servers": os.environ["SERVERS"],
            "auto_offset_reset": "earliest",
            "session_timeout_ms": 1_000,
            "heartbeat_interval_ms": 300,
        },
        handler,
        name="billing",
    )
    tills.set(1)
    async with app.running():
        print(app.web_url, flush=True)
        await stop.wait()


if __name__ == "__main__":
    asyncio.run(main())
