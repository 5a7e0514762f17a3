"""Consume, handle, send, with EVKafka. Runs until it is terminated; `bench.rows.latency_probe` measures it."""

from __future__ import annotations

from bench.app import make_app
from bench.arguments import arguments
from bench.event import EVENT_TYPE, OrderPlaced
from bench.rows.latency_probe import output_topic
from evkafka import Request, Sender

CONCURRENCY = 64

args = arguments()
sender = Sender()
app = make_app(args, concurrency=CONCURRENCY)


@sender.event(EVENT_TYPE, topic=output_topic(args.topic))
async def send_on(order: OrderPlaced) -> None: ...


@app.event(EVENT_TYPE)
async def handle(order: OrderPlaced, request: Request) -> None:
    await send_on(order, key=request.key)


app.add_producer({"bootstrap_servers": args.bootstrap_servers}, sender)
app.run()
