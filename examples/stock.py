"""Reserves stock for each item of an order, exactly once: whatever is killed, no item is reserved twice or forgotten.

    BOOTSTRAP_SERVERS=localhost:9092 evkafka run examples.stock:app

What an endpoint sends is written in one transaction with the offset of its order. Readers of committed records
(`isolation_level` "read_committed") see all items of an order, or none.
"""

from __future__ import annotations

import os
from typing import TypedDict

from evkafka import BrokerConfig, EVKafkaApp, Handler, Sender

SERVERS: BrokerConfig = {"bootstrap_servers": os.environ.get("BOOTSTRAP_SERVERS", "localhost:9092")}

handler, sender = Handler(), Sender()


class Order(TypedDict):
    order_id: str
    items: list[str]


class Reservation(TypedDict):
    order_id: str
    item: str


@sender.event("ItemReserved", topic="reservations", key_field="item")
async def reserve(reservation: Reservation) -> None: ...


@handler.event("OrderPlaced")
async def on_order(order: Order) -> None:
    for item in order["items"]:
        await reserve({"order_id": order["order_id"], "item": item})
    print(f"order {order['order_id']}: {len(order['items'])} items", flush=True)


app = EVKafkaApp(title="Stock")
app.add_consumer(
    {
        "topics": ["orders"],
        "group_id": "stock",
        "auto_offset_reset": "earliest",
        "auto_commit_mode": "exactly-once",
        "concurrency": 16,
        **SERVERS,
    },
    handler,
)
app.add_producer({**SERVERS}, sender)
