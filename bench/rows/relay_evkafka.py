"""Consume, handle, send, with EVKafka. Runs until it is terminated; `bench.rows.latency_probe` measures it.

Options: settings of the consumer or the producer, as `linger_ms=5`; `exactly_once=1`.
"""

from __future__ import annotations

from typing import Any

from bench.app import make_app
from bench.arguments import arguments, options
from bench.event import EVENT_TYPE, OrderPlaced
from bench.rows.latency_probe import output_topic
from evkafka import Request, Sender

CONCURRENCY = 64

PRODUCER_KEYS = {"acks", "linger_ms"}

args = arguments()
changed = {key: int(value) for key, value in (option.split("=") for option in options())}
exactly_once = changed.pop("exactly_once", 0)
consumer: Any = {key: value for key, value in changed.items() if key not in PRODUCER_KEYS}
if exactly_once:
    consumer["auto_commit_mode"] = "exactly-once"
producer: Any = {key: value for key, value in changed.items() if key in PRODUCER_KEYS}
sender = Sender()
app = make_app(args, concurrency=CONCURRENCY, **consumer)


@sender.event(EVENT_TYPE, topic=output_topic(args.topic))
async def send_on(order: OrderPlaced) -> None: ...


@app.event(EVENT_TYPE)
async def handle(order: OrderPlaced, request: Request) -> None:
    await send_on(order, key=request.key)


app.add_producer({"bootstrap_servers": args.bootstrap_servers, **producer}, sender)
app.run()
