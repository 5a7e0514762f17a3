"""EVKafka on one of the paths beside the plain one. Option: a name of `PATHS`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Annotated, Any

from bench.app import make_app
from bench.arguments import arguments, options
from bench.event import PROFILE, OrderPlaced
from bench.meter import Meter
from evkafka import App, Context, Depends, EVKafkaApp
from evkafka.middleware import Middleware

Endpoint = Callable[..., Any]


class PassThrough:
    """A middleware that does nothing."""

    def __init__(self, app: App) -> None:
        self.app = app

    async def __call__(self, context: Context) -> None:
        await self.app(context)


async def settings() -> int:
    return 1


async def engine(settings: Annotated[int, Depends(settings)]) -> int:
    return settings


async def session(engine: Annotated[int, Depends(engine)]) -> AsyncIterator[int]:
    yield engine


def plain(meter: Meter) -> Endpoint:
    async def handle(event: OrderPlaced) -> None:
        meter.tick()

    return handle


def one_dependency(meter: Meter) -> Endpoint:
    async def handle(event: OrderPlaced, settings: Annotated[int, Depends(settings)]) -> None:
        meter.tick()

    return handle


def three_dependencies(meter: Meter) -> Endpoint:
    async def handle(event: OrderPlaced, session: Annotated[int, Depends(session)]) -> None:
        meter.tick()

    return handle


def synchronous(meter: Meter) -> Endpoint:
    def handle(event: OrderPlaced) -> None:
        meter.tick()

    return handle


def failing(meter: Meter) -> Endpoint:
    async def handle(event: OrderPlaced) -> None:
        meter.tick()
        raise ValueError("the order is unknown")

    return handle


PATHS: dict[str, tuple[Callable[[Meter], Endpoint], dict[str, Any]]] = {
    "plain": (plain, {}),
    "one dependency": (one_dependency, {}),
    "three dependencies": (three_dependencies, {}),
    "middleware": (plain, {}),
    "def": (synchronous, {}),
    "failing": (failing, {"on_error": {"max_attempts": 1, "then": "skip"}}),
    "retried": (
        failing,
        {
            "concurrency": 2,
            "ordering": "unordered",
            "max_pending_records": 1000,
            "on_error": {"backoff_ms": 200, "max_backoff_ms": 200},
        },
    ),
    "64 in flight": (plain, {"concurrency": 64}),
}


def main() -> None:
    args, (name,) = arguments(), options()
    endpoint, config = PATHS[name]
    app: EVKafkaApp = make_app(args, middleware=[Middleware(PassThrough)] if name == "middleware" else None, **config)
    handle = endpoint(Meter(args.events, app.stop))
    for event_type in PROFILE.handled:
        app.event(event_type)(handle)
    app.run()


if __name__ == "__main__":
    main()
