"""The cost of dispatch, from a record to its endpoint, without a broker: `python -m bench.dispatch`.

Prints the nanoseconds of one attempt with a no-op endpoint, and of a direct call with the decoded payload.
Each figure is the minimum of several rounds; the two of a row are measured in turn.
"""

from __future__ import annotations

import timeit
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Annotated, Any

from pydantic import TypeAdapter

from bench.event import EVENT_TYPE, HEADERS, VALUE, OrderPlaced
from evkafka import App, Context, Depends, Handler, Request
from evkafka.middleware import Middleware
from evkafka.runtime.ports import ConsumerIdentity, Slot
from evkafka.service.dispatch import build_dispatch

CALLS, ROUNDS = 40_000, 9


@dataclass
class OneRecord:
    headers: tuple[tuple[str, bytes | None], ...]
    value: bytes | None = VALUE
    topic: str = "orders"
    partition: int = 0
    offset: int = 7
    timestamp: int = 1_700_000_000_000
    key: bytes | None = b"customer-7"


async def engine() -> int:
    return 1


async def on_order(order: OrderPlaced) -> None: ...
async def on_order_and_request(order: OrderPlaced, request: Request) -> None: ...
async def on_dict(order: dict[str, Any]) -> None: ...
async def on_bytes(order: bytes) -> None: ...
async def on_order_with_engine(order: OrderPlaced, engine: Annotated[int, Depends(engine)]) -> None: ...


class PassThrough:
    """A middleware that does nothing."""

    def __init__(self, app: App) -> None:
        self.app = app

    async def __call__(self, context: Context) -> None:
        await self.app(context)


@dataclass(frozen=True)
class Row:
    name: str
    endpoint: Callable[..., Coroutine[Any, Any, None]]
    direct: Callable[[bytes], Coroutine[Any, Any, None]]
    middleware: list[Middleware] | None = None
    more_headers: tuple[tuple[str, bytes | None], ...] = field(default=())


to_order = OrderPlaced.__pydantic_validator__.validate_json
to_dict = TypeAdapter(dict[str, Any]).validator.validate_json
ROWS = [
    Row("model", on_order, lambda value: on_order(to_order(value))),
    Row("model, third header", on_order, lambda value: on_order(to_order(value)), None, (("a", b"1"), ("b", b"2"))),
    Row("dict", on_dict, lambda value: on_dict(to_dict(value))),
    Row("bytes", on_bytes, on_bytes),
    Row("model and request", on_order_and_request, lambda value: on_order_and_request(to_order(value), None)),  # type: ignore[arg-type]
    Row("model and dependency", on_order_with_engine, lambda value: on_order_with_engine(to_order(value), 1)),
    Row("model, one middleware", on_order, lambda value: on_order(to_order(value)), [Middleware(PassThrough)]),
]


def main() -> None:
    print(f"{'':24}{'direct':>10}{'dispatch':>10}{'added':>10}   ns per record")
    for row in ROWS:
        direct_ns, dispatch_ns = measure(row)
        print(f"{row.name:24}{direct_ns:10.0f}{dispatch_ns:10.0f}{dispatch_ns - direct_ns:10.0f}")


def measure(row: Row) -> tuple[float, float]:
    handler = Handler()
    handler.event(EVENT_TYPE)(row.endpoint)
    for number in range(20):
        handler.event(f"Other{number}")(on_bytes)
    call = build_dispatch(handler, row.middleware).call  # bound once, as the executor does
    record = OneRecord((*row.more_headers, *HEADERS))
    slot = Slot(ConsumerIdentity("bench", "bench", "bench"), {"engine": 1})

    def call_directly() -> None:
        run(row.direct(record.value or b""))

    def call_through_dispatch() -> None:
        run(call(record, slot))

    rounds = [
        (timeit.timeit(call_directly, number=CALLS), timeit.timeit(call_through_dispatch, number=CALLS))
        for _ in range(ROUNDS)
    ]
    direct_s, dispatch_s = (min(column) for column in zip(*rounds, strict=True))
    return direct_s / CALLS * 1e9, dispatch_s / CALLS * 1e9


def run(attempt: Awaitable[object] | None) -> None:
    """Run a coroutine that never waits, without the cost of an event loop."""
    try:
        attempt.send(None)  # type: ignore[union-attr]
    except StopIteration:
        return
    raise AssertionError("a no-op endpoint does not wait")


if __name__ == "__main__":
    main()
