"""EVKafka with a msgspec model of the same fields."""

from __future__ import annotations

from datetime import datetime

import msgspec

from bench.app import make_app
from bench.arguments import arguments
from bench.event import EVENT_TYPE
from bench.meter import Meter

args = arguments()
app = make_app(args)
meter = Meter(args.events, app.stop)


class OrderPlaced(msgspec.Struct):
    order_id: str
    customer: int
    placed_at: datetime
    items: list[str]
    total: float
    currency: str
    paid: bool


@app.event(EVENT_TYPE)
async def handle(event: OrderPlaced) -> None:
    meter.tick()


app.run()
