"""Reserves stock for each item of a cart, exactly once: whatever is killed, no item is reserved twice or forgotten.

    BOOTSTRAP_SERVERS=localhost:9092 evkafka run examples.stock:app

What an endpoint sends is written in one transaction with the offset of its cart. Readers of committed records
(`isolation_level` "read_committed") see all items of a cart, or none.
"""

from __future__ import annotations

import os

from pydantic import BaseModel

from evkafka import BrokerConfig, EVKafkaApp, Handler, Sender

SERVERS: BrokerConfig = {"bootstrap_servers": os.environ.get("BOOTSTRAP_SERVERS", "localhost:9092")}

handler, sender = Handler(), Sender()


class Cart(BaseModel):
    cart_id: str
    items: list[str]


class Reservation(BaseModel):
    cart_id: str
    item: str


@sender.event("ItemReserved", topic="reservations", key_field="item")
async def reserve(reservation: Reservation) -> None: ...


@handler.event("CartOrdered")
async def on_cart(cart: Cart) -> None:
    for item in cart.items:
        await reserve(Reservation(cart_id=cart.cart_id, item=item))
    print(f"cart {cart.cart_id}: {len(cart.items)} items", flush=True)


app = EVKafkaApp(title="Stock")
app.add_consumer(
    {
        "topics": ["carts"],
        "group_id": "stock",
        "auto_offset_reset": "earliest",
        "auto_commit_mode": "exactly-once",
        "concurrency": 16,
        **SERVERS,
    },
    handler,
)
app.add_producer({**SERVERS}, sender)
