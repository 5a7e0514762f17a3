"""How soon EVKafka handles its first record: prints when it did, and how long after the app was told to run."""

from __future__ import annotations

import json
import time

from bench.arguments import arguments
from bench.event import EVENT_TYPE, OrderPlaced
from evkafka import EVKafkaApp

given = arguments()
app = EVKafkaApp(
    {
        "topics": [given.topic],
        "bootstrap_servers": given.bootstrap_servers,
        "group_id": given.group_id,
        "auto_offset_reset": "earliest",
    }
)
handled_s = 0.0


@app.event(EVENT_TYPE)
async def handle(event: OrderPlaced) -> None:
    global handled_s
    if not handled_s:
        handled_s = time.monotonic()
        app.stop()


run_s = time.monotonic()
app.run()
print(json.dumps({"handled_at_s": handled_s, "since_run_s": handled_s - run_s}))
