"""EVKafka with its defaults: post-commit, concurrency 1, the default middleware."""

from __future__ import annotations

from bench.app import make_app
from bench.arguments import arguments
from bench.event import PROFILE, OrderPlaced
from bench.meter import Meter
from evkafka import EVKafkaApp


def measured_app(*, tracing: bool = False) -> EVKafkaApp:
    """Return an app that prints its figures and stops after the last event."""
    args = arguments()
    app = make_app(args, tracing=tracing)
    meter = Meter(args.events, app.stop)

    async def handle(event: OrderPlaced) -> None:
        meter.tick()

    for name in PROFILE.handled:
        app.event(name)(handle)
    return app


if __name__ == "__main__":
    measured_app().run()
