"""A periodic task beside the events, without a scheduler: the lifespan starts and ends it.

BOOTSTRAP_SERVERS=localhost:9092 evkafka run examples.periodic:app
"""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TypedDict

from evkafka import EVKafkaApp, Handler, Request

EVERY_S = float(os.environ.get("EVERY_S", "10"))

handler = Handler()


class State(TypedDict):
    seen: Counter[str]


async def report(seen: Counter[str]) -> None:
    while True:
        await asyncio.sleep(EVERY_S)
        print(f"seen so far: {dict(seen)}", flush=True)


@asynccontextmanager
async def lifespan() -> AsyncIterator[State]:
    seen: Counter[str] = Counter()
    # A task group: an error in the periodic task ends the app, instead of going unnoticed.
    async with asyncio.TaskGroup() as tasks:
        reporting = tasks.create_task(report(seen))
        yield {"seen": seen}
        reporting.cancel()


@handler.event("PageViewed")
async def on_view(view: dict[str, str], request: Request[State]) -> None:
    request.state["seen"][view["page"]] += 1


app = EVKafkaApp(title="Views", lifespan=lifespan)
app.add_consumer(
    {
        "topics": ["page-views"],
        "bootstrap_servers": os.environ.get("BOOTSTRAP_SERVERS", "localhost:9092"),
        "group_id": "views",
        "auto_offset_reset": "earliest",
    },
    handler,
)
