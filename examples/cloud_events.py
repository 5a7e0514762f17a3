"""CloudEvents: orders of any CloudEvents producer become invoices, which any CloudEvents consumer reads.

    BOOTSTRAP_SERVERS=localhost:9092 evkafka run examples.cloud_events:app

Orders are read in binary and structured mode. Invoices are sent in structured mode; their `subject` is the order.
"""

from __future__ import annotations

import os

from pydantic import BaseModel

from evkafka import EVKafkaApp, Handler, Request, Sender

handler = Handler()
sender = Sender(envelope="cloudevents", source="/billing", mode="structured")


class Order(BaseModel):
    order_id: str
    cents: int


@sender.event("com.example.invoice.issued", topic="issued-invoices", key_field="order_id")
async def send_invoice(order: Order) -> None: ...


@handler.event("com.example.order.placed")
async def on_order(order: Order, request: Request) -> None:
    event = request.cloudevent
    # An event that comes twice has the same source and id, and so does its invoice.
    await send_invoice(order, headers={"ce_id": f"invoice of {event.id}", "ce_subject": order.order_id})
    print(f"{event.id} from {event.source}: invoice for {order.order_id}", flush=True)


servers = os.environ.get("BOOTSTRAP_SERVERS", "localhost:9092")
app = EVKafkaApp(title="Billing")
app.add_consumer(
    {
        "topics": ["placed-orders"],
        "bootstrap_servers": servers,
        "group_id": "billing",
        "auto_offset_reset": "earliest",
        "envelope": "cloudevents",
    },
    handler,
)
app.add_producer({"bootstrap_servers": servers}, sender)
