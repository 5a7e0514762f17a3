"""FastStream with its defaults, but without its two log lines per event: they would take most of the time."""

from __future__ import annotations

import asyncio

from faststream import FastStream
from faststream.kafka import KafkaBroker

from bench.arguments import arguments
from bench.event import OrderPlaced
from bench.meter import Meter

args = arguments()
broker = KafkaBroker(args.bootstrap_servers, logger=None)
app = FastStream(broker, logger=None)
meter = Meter(args.events, app.exit)


@broker.subscriber(args.topic, group_id=args.group_id, auto_offset_reset="earliest")
async def handle(event: OrderPlaced) -> None:
    meter.tick()


asyncio.run(app.run())
