"""A webhook in front of Kafka: FastAPI receives the request, and responds when Kafka has confirmed the event.

    pip install fastapi uvicorn
    BOOTSTRAP_SERVERS=localhost:9092 uvicorn examples.webhook:api

The same process also handles the events: `app.asgi_lifespan` starts and stops EVKafka with FastAPI. The AsyncAPI
page, health and metrics are mounted under `/events`.
"""

from __future__ import annotations

import os

from fastapi import FastAPI, HTTPException
from pydantic import BaseModel

from evkafka import DeliveryError, EVKafkaApp, Handler, Sender

TOPIC = "deliveries"

handler = Handler()
sender = Sender()


class Delivered(BaseModel):
    parcel_id: str
    signed_by: str


@sender.event("Delivered", topic=TOPIC, key_field="parcel_id")
async def tell(delivered: Delivered) -> None: ...


@handler.event("Delivered", summary="A carrier's webhook said so")
async def on_delivered(delivered: Delivered) -> None:
    print(f"{delivered.parcel_id}: signed by {delivered.signed_by}", flush=True)


servers = os.environ.get("BOOTSTRAP_SERVERS", "localhost:9092")
app = EVKafkaApp(title="Deliveries")
app.add_consumer(
    {
        "topics": [TOPIC],
        "bootstrap_servers": servers,
        "group_id": "deliveries",
        "auto_offset_reset": "earliest",
    },
    handler,
)
app.add_producer({"bootstrap_servers": servers, "delivery_timeout_ms": 5_000}, sender)

api = FastAPI(lifespan=app.asgi_lifespan)
api.mount("/events", app.asgi())


@api.post("/webhooks/delivered", status_code=202)
async def webhook(delivered: Delivered) -> dict[str, int]:
    """The carrier sends again what was not answered with 2xx: an event may come twice, but is never lost."""
    try:
        written = await tell(delivered)
    except DeliveryError as error:
        raise HTTPException(503, "the event could not be stored: send it again") from error
    return {"partition": written.partition, "offset": written.offset}
