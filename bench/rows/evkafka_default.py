"""EVKafka as it comes: post-commit, concurrency 1, the default stack."""

from __future__ import annotations

from bench.arguments import arguments
from bench.event import EVENT_TYPE, OrderPlaced
from bench.meter import Meter
from evkafka import EVKafkaApp


def make_app(*, tracing: bool = False) -> EVKafkaApp:
    given = arguments()
    app = EVKafkaApp(
        {
            "topics": [given.topic],
            "bootstrap_servers": given.bootstrap_servers,
            "group_id": given.group_id,
            "auto_offset_reset": "earliest",
        },
        tracing=tracing,
    )
    meter = Meter(given.events, app.stop)

    @app.event(EVENT_TYPE)
    async def handle(event: OrderPlaced) -> None:
        meter.tick()

    return app


if __name__ == "__main__":
    make_app().run()
