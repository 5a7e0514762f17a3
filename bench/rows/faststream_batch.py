"""FastStream with `batch=True`: one call of the handler for all records of a poll."""

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


@broker.subscriber(args.topic, group_id=args.group_id, auto_offset_reset="earliest", batch=True)
async def handle(events: list[OrderPlaced]) -> None:
    meter.tick(len(events))


asyncio.run(app.run())
