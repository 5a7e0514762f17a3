"""A module whose endpoints refer to names that are defined further down, or nowhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import BaseModel

from evkafka import Handler

if TYPE_CHECKING:
    from decimal import Decimal

handler, broken = Handler(), Handler()


@handler.event("Later")
async def on_later(payload: Later) -> Decimal | None:
    seen.append(payload)
    return None


class Outer(BaseModel):
    inner: Inner


@handler.event("Outer")
async def on_outer(payload: Outer | None) -> None:
    seen.append(payload)


class Later(BaseModel):
    n: int


class Inner(BaseModel):
    n: int


@broken.event("One")
async def on_decimal(payload: Decimal) -> None: ...


@broken.event("Two")
async def on_nowhere(payload: Nowhere) -> None: ...  # type: ignore[name-defined]  # noqa: F821


seen: list[object] = []
