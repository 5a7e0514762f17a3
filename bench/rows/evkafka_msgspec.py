"""EVKafka with a msgspec model of the same fields."""

from __future__ import annotations

from bench.app import make_app
from bench.arguments import arguments
from bench.event import PROFILE
from bench.meter import Meter
from bench.models import OrderPlacedStruct

args = arguments()
app = make_app(args)
meter = Meter(args.events, app.stop)


async def handle(event: OrderPlacedStruct) -> None:
    meter.tick()


for name in PROFILE.handled:
    app.event(name)(handle)
app.run()
