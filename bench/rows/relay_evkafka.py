"""Consume, handle, send, with EVKafka. Runs until it is terminated; see `bench.rows.latency`, which measures it."""

from __future__ import annotations

from bench.arguments import arguments
from bench.event import EVENT_TYPE, OrderPlaced
from bench.rows.latency import out_of
from evkafka import EVKafkaApp, Request, Sender

CONCURRENCY = 64

given = arguments()
sender = Sender()
app = EVKafkaApp(
    {
        "topics": [given.topic],
        "bootstrap_servers": given.bootstrap_servers,
        "group_id": given.group_id,
        "auto_offset_reset": "earliest",
        "concurrency": CONCURRENCY,
    }
)


@sender.event(EVENT_TYPE, topic=out_of(given.topic))
async def send_on(order: OrderPlaced) -> None: ...


@app.event(EVENT_TYPE)
async def handle(order: OrderPlaced, request: Request) -> None:
    await send_on(order, key=request.key)


app.add_producer({"bootstrap_servers": given.bootstrap_servers}, sender)
app.run()
