"""The event that every row decodes: 174 bytes of JSON."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel

EVENT_TYPE = "OrderPlaced"
HEADERS = [("Event-Type", EVENT_TYPE.encode())]
KEY = b"customer-7"
VALUE = (
    b'{"order_id":"7c9e6679-7425-40de-944b-e07fc1f90ae7","customer":7,"placed_at":"2026-01-15T09:30:00Z",'
    b'"items":["espresso","croissant"],"total":11.5,"currency":"EUR","paid":true}'
)
assert len(VALUE) == 174, len(VALUE)


def event_type(number: int) -> str:
    """Return the event type with this number."""
    return f"{EVENT_TYPE}{number}"


class OrderPlaced(BaseModel):
    order_id: str
    customer: int
    placed_at: datetime
    items: list[str]
    total: float
    currency: str
    paid: bool
