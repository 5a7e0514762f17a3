"""FastStream as it comes, but for its two log lines per event: those would be most of what it does."""

from __future__ import annotations

import asyncio

from faststream import FastStream
from faststream.kafka import KafkaBroker

from bench.arguments import arguments
from bench.event import OrderPlaced
from bench.meter import Meter

given = arguments()
broker = KafkaBroker(given.bootstrap_servers, logger=None)
app = FastStream(broker, logger=None)
meter = Meter(given.events, app.exit)


@broker.subscriber(given.topic, group_id=given.group_id, auto_offset_reset="earliest")
async def handle(event: OrderPlaced) -> None:
    meter.tick()


asyncio.run(app.run())
