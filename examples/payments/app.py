"""Charges each order once, and sends an event to another topic.

    BOOTSTRAP_SERVERS=localhost:9092 evkafka run examples.payments.app:app

An order in a currency without a rate is a poison record: retries do not help. It becomes a dead letter, and the other
orders continue. When the rate is configured (`RATE_CHF=1.05`), `evkafka dlq replay` handles the order:

    RATE_CHF=1.05 evkafka dlq replay orders.payments.dlq --app examples.payments.app:app --to-handler
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import TypedDict

from evkafka import EVKafkaApp, Handler, Request, Sender

from .events import ORDERS, PAYMENTS, OrderPaid, OrderPlaced

RATES = {"EUR": Decimal(1), "USD": Decimal("0.92")}

handler = Handler()
sender = Sender()


class NoRate(Exception):
    """There is no rate for this currency. A retry would fail too."""


class State(TypedDict):
    ledger: sqlite3.Connection


@asynccontextmanager
async def lifespan() -> AsyncIterator[State]:
    ledger = sqlite3.connect(os.environ.get("PAYMENTS_DB", "payments.db"))
    ledger.execute("CREATE TABLE IF NOT EXISTS paid (order_id TEXT PRIMARY KEY, amount_eur TEXT NOT NULL)")
    try:
        yield {"ledger": ledger}
    finally:
        ledger.close()


@sender.event("OrderPaid", topic=PAYMENTS, key_field="order_id")
async def tell(paid: OrderPaid) -> None: ...


@handler.event("OrderPlaced", summary="An order waits for its payment")
async def on_order(order: OrderPlaced, request: Request[State]) -> None:
    amount_eur = (order.amount * rate(order.currency)).quantize(Decimal("0.01"))
    # At least once: the same order may be handled again, but must not be paid twice. The primary key prevents that.
    with request.state["ledger"] as ledger:
        ledger.execute("INSERT OR IGNORE INTO paid VALUES (?, ?)", (order.order_id, str(amount_eur)))
    # The offset is committed only after Kafka has confirmed this event, so no payment goes unreported.
    await tell(OrderPaid(order_id=order.order_id, amount_eur=amount_eur))
    print(f"order {order.order_id}: {amount_eur} EUR", flush=True)


def rate(currency: str) -> Decimal:
    given = os.environ.get(f"RATE_{currency}")
    if given is not None:
        return Decimal(given)
    if currency not in RATES:
        raise NoRate(f"no rate for {currency}: set RATE_{currency}")
    return RATES[currency]


servers = os.environ.get("BOOTSTRAP_SERVERS", "localhost:9092")
app = EVKafkaApp(title="Payments", lifespan=lifespan)
app.add_consumer(
    {
        "topics": [ORDERS],
        "bootstrap_servers": servers,
        "group_id": "payments",
        "auto_offset_reset": "earliest",
        "on_error": {"max_attempts": 5, "backoff_ms": 200, "non_retryable": [NoRate], "then": "dead_letter"},
    },
    handler,
)
app.add_producer({"bootstrap_servers": servers}, sender)
