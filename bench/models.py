"""The two ways to decode an event: pydantic, and msgspec with a Struct of the same fields."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import msgspec
from pydantic import TypeAdapter

from bench.event import OrderPlaced


class OrderPlacedStruct(msgspec.Struct):
    order_id: str
    customer: int
    placed_at: datetime
    items: list[str]
    total: float
    currency: str
    paid: bool


def decoder(library: str) -> Callable[[bytes], object]:
    """Return the decoder of `pydantic` or `msgspec`, bound once, as a careful author does."""
    if library == "pydantic":
        return TypeAdapter(OrderPlaced).validator.validate_json
    return msgspec.json.Decoder(OrderPlacedStruct).decode
