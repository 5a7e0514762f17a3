"""The events that the rows read, by profile: `small` is 174 bytes of JSON, `real` is what a shared topic looks like.

Both profiles have the same model, so that every row reads both. The profile comes from the environment, because each
row is a process of its own.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from pydantic import BaseModel

ENVIRONMENT = "EVKAFKA_BENCH_PROFILE"
EVENT_TYPE = "OrderPlaced"
KEY = b"customer-7"
ORDER = {
    "order_id": "7c9e6679-7425-40de-944b-e07fc1f90ae7",
    "customer": 7,
    "placed_at": "2026-01-15T09:30:00Z",
    "items": ["espresso", "croissant"],
    "total": 11.5,
    "currency": "EUR",
    "paid": True,
}

Headers = list[tuple[str, bytes]]


class OrderPlaced(BaseModel):
    order_id: str
    customer: int
    placed_at: datetime
    items: list[str]
    total: float
    currency: str
    paid: bool


@dataclass(frozen=True, slots=True)
class Profile:
    """What a topic holds.

    Attributes:
        value: the JSON of each record.
        types: the event types, written in turn.
        handled: those of `types` that the rows handle.
        more_headers: the headers of each record before its event type.
        description: the sentence below the table.
    """

    value: bytes
    types: tuple[str, ...]
    handled: tuple[str, ...]
    more_headers: tuple[tuple[str, bytes], ...]
    compression: Literal["lz4"] | None
    description: str

    @property
    def headers(self) -> list[Headers]:
        """The headers of the records, in turn."""
        return [[*self.more_headers, ("Event-Type", name.encode())] for name in self.types]

    def records(self, handled: int) -> int:
        """How many records hold this many handled ones."""
        return handled * len(self.types) // len(self.handled)


def event_type(number: int) -> str:
    """Return the event type with this number."""
    return f"{EVENT_TYPE}{number}"


SMALL = Profile(
    json.dumps(ORDER, separators=(",", ":")).encode(),
    (EVENT_TYPE,),
    (EVENT_TYPE,),
    (),
    None,
    "174 bytes of JSON and one header, not compressed",
)
REAL = Profile(
    json.dumps(ORDER | {"items": [f"article {number:05} of the catalogue" for number in range(25)]}).encode(),
    (EVENT_TYPE, *(event_type(number) for number in range(1, 30))),
    (EVENT_TYPE, *(event_type(number) for number in range(6, 30, 6))),
    (
        ("traceparent", b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        ("content-type", b"application/json"),
        ("source", b"/shop/checkout"),
        ("tenant", b"eu-west"),
        ("schema-version", b"3"),
    ),
    "lz4",
    "1 kB of JSON and six headers, lz4, 30 event types in turn, of which 5 are handled; figures per handled event",
)
PROFILES = {"small": SMALL, "real": REAL}
PROFILE = PROFILES[os.environ.get(ENVIRONMENT, "small")]
HEADERS, VALUE = SMALL.headers[0], SMALL.value
assert (len(SMALL.value), len(REAL.value)) == (174, 1013), (len(SMALL.value), len(REAL.value))
assert len(REAL.handled) == 5
