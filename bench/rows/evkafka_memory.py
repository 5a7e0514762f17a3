"""EVKafka's memory over many events: resident MiB after each twentieth of them. Linux only."""

from __future__ import annotations

import json

from bench.app import make_app
from bench.arguments import arguments
from bench.event import EVENT_TYPE, OrderPlaced
from bench.memory import resident_mib

args = arguments()
app = make_app(args)
step = args.events // 20
samples_mib: list[float] = []
seen = 0


@app.event(EVENT_TYPE)
async def handle(event: OrderPlaced) -> None:
    global seen
    seen += 1
    if seen % step == 0:
        samples_mib.append(resident_mib())
    if seen == args.events:
        app.stop()


app.run()
print(json.dumps({"events": seen, "resident_mib": samples_mib}))
