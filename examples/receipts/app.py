"""The service: it reads payments and sends a receipt for each. The schema's name is the event type."""

from __future__ import annotations

import datetime as dt
import os
from decimal import Decimal
from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, Field

from evkafka import EVKafkaApp, Handler, Sender
from evkafka.formats import Avro, SchemaRegistry

Euros = Annotated[Decimal, Field(max_digits=12, decimal_places=2)]


class Paid(BaseModel):
    order: UUID
    total: Euros
    at: dt.datetime
    note: str | None = None


class Receipt(BaseModel):
    order: UUID
    total: Euros
    vat: Euros


registry = SchemaRegistry(os.environ.get("EVKAFKA_SCHEMA_REGISTRY_URL", "http://localhost:8081"))
# For a registry that others use too, leave `auto_register` out, and run `evkafka schemas register` in the deployment.
avro = Avro(registry, namespace="shop", auto_register=True)
handler = Handler()
sender = Sender(value_format=avro)


@sender.event("Receipt", topic="receipts", key_field="order")
async def send_receipt(receipt: Receipt) -> None: ...


@handler.event("Paid")
async def on_paid(paid: Paid) -> None:
    vat = (paid.total - paid.total / Decimal("1.19")).quantize(Decimal("0.01"))
    await send_receipt(Receipt(order=paid.order, total=paid.total, vat=vat))


servers = os.environ.get("BOOTSTRAP_SERVERS", "localhost:9092")
app = EVKafkaApp(title="Receipts")
app.add_consumer(
    {
        "topics": ["paid"],
        "bootstrap_servers": servers,
        "group_id": "receipts",
        "auto_offset_reset": "earliest",
        "value_format": avro,
    },
    handler,
)
app.add_producer({"bootstrap_servers": servers}, sender)
