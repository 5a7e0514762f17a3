"""Time until EVKafka handles its first record: prints the moment, and the seconds since `app.run()`."""

from __future__ import annotations

import json
import time

from bench.app import make_app
from bench.arguments import arguments
from bench.event import EVENT_TYPE, OrderPlaced

app = make_app(arguments())
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
