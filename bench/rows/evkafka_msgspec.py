"""EVKafka with a payload model of msgspec's, of the same fields."""

from __future__ import annotations

from datetime import datetime

import msgspec

from bench.arguments import arguments
from bench.event import EVENT_TYPE
from bench.meter import Meter
from evkafka import EVKafkaApp


class OrderPlaced(msgspec.Struct):
    order_id: str
    customer: int
    placed_at: datetime
    items: list[str]
    total: float
    currency: str
    paid: bool


def make_app() -> EVKafkaApp:
    given = arguments()
    app = EVKafkaApp(
        {
            "topics": [given.topic],
            "bootstrap_servers": given.bootstrap_servers,
            "group_id": given.group_id,
            "auto_offset_reset": "earliest",
        }
    )
    meter = Meter(given.events, app.stop)

    @app.event(EVENT_TYPE)
    async def handle(event: OrderPlaced) -> None:
        meter.tick()

    return app


if __name__ == "__main__":
    make_app().run()
