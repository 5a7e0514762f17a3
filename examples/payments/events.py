"""The events: an order is placed, and paid."""

from __future__ import annotations

from decimal import Decimal

from pydantic import BaseModel

ORDERS = "orders"
PAYMENTS = "payments"


class OrderPlaced(BaseModel):
    order_id: str
    customer_id: str
    amount: Decimal
    currency: str


class OrderPaid(BaseModel):
    order_id: str
    amount_eur: Decimal
