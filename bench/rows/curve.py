"""One point of a curve. Options: `aiokafka` or `evkafka`; the number of handlers; the concurrency.

The aiokafka loop is that of `bench.rows.aiokafka_loop`, with a dictionary from event types to functions.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from pydantic import BaseModel, TypeAdapter, create_model

from bench.app import make_app
from bench.arguments import Arguments, arguments, options
from bench.event import event_type
from bench.meter import Meter

COMMIT_EVERY_S = 5.0


class Padded(BaseModel):
    """The payload: fields of an order, and text that fills it to the size."""

    order_id: str
    customer: int
    total: float
    paid: bool
    text: str = ""


def main() -> None:
    args = arguments()
    library, handlers, concurrency = options()[:3]
    models = [create_model(f"Event{number}", __base__=Padded) for number in range(int(handlers))]
    if library == "aiokafka":
        asyncio.run(_run_aiokafka(args, models))
    else:
        _run_evkafka(args, models, int(concurrency))


def _run_evkafka(args: Arguments, models: list[type[Padded]], concurrency: int) -> None:
    app = make_app(args, concurrency=concurrency)
    meter = Meter(args.events, app.stop)
    for number, model in enumerate(models):
        app.event(event_type(number))(_handler(model, meter))
    app.run()


def _handler(model: Any, meter: Meter) -> Callable[[Any], Awaitable[None]]:
    async def handle(event: Any) -> None:
        meter.tick()

    handle.__annotations__["event"] = model
    return handle


async def _run_aiokafka(args: Arguments, models: list[type[Padded]]) -> None:
    done = asyncio.Event()
    meter = Meter(args.events, done.set)
    handlers = {
        event_type(number).encode(): (TypeAdapter(model).validator.validate_json, _handler(model, meter))
        for number, model in enumerate(models)
    }
    consumer = AIOKafkaConsumer(
        args.topic,
        bootstrap_servers=args.bootstrap_servers,
        group_id=args.group_id,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
    )
    async with consumer:
        positions: dict[TopicPartition, int] = {}
        committed_at = time.monotonic()
        while not done.is_set():
            for partition, records in (await consumer.getmany(timeout_ms=200, max_records=2000)).items():
                for record in records:
                    for name, value in record.headers:
                        if name == "Event-Type":
                            if (found := handlers.get(value)) is not None:
                                decode, handle = found
                                await handle(decode(record.value))
                            break
                positions[partition] = records[-1].offset + 1
            if time.monotonic() - committed_at >= COMMIT_EVERY_S:
                await consumer.commit(positions)
                committed_at = time.monotonic()
        await consumer.commit(positions)


if __name__ == "__main__":
    main()
