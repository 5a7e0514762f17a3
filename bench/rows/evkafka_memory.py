"""EVKafka's memory over many events: resident size after each twentieth of them, in MiB. Linux only."""

from __future__ import annotations

import json
import os
from pathlib import Path

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
step = given.events // 20
resident_mib: list[float] = []
seen = 0


def _resident_mib() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


@app.event(EVENT_TYPE)
async def handle(event: OrderPlaced) -> None:
    global seen
    seen += 1
    if seen % step == 0:
        resident_mib.append(_resident_mib())
    if seen == given.events:
        app.stop()


app.run()
print(json.dumps({"events": seen, "resident_mib": resident_mib}))
