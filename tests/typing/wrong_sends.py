"""Calls of outbound endpoints that the type checkers must refuse. It is not run.

An ignore that ignores nothing is an error to both (mypy: `warn_unused_ignores`; pyright: the next line).
"""

# pyright: strict, reportUnnecessaryTypeIgnoreComment=true, reportUnusedCoroutine=false

from __future__ import annotations

from pydantic import BaseModel

from evkafka import RecordMetadata, Sender


class Order(BaseModel):
    order_id: str


sender = Sender()


@sender.event("OrderPlaced", topic="orders")
async def send_order(order: Order) -> None: ...


async def right(order: Order) -> list[RecordMetadata]:
    in_thread: RecordMetadata = send_order.from_thread(order, key=None)
    return [await send_order(order, headers=[("a", None)]), await send_order(order=order, partition=0), in_thread]


async def wrong(order: Order) -> None:
    await send_order({"order_id": "1"})  # type: ignore[call-overload]
    await send_order(order={"order_id": "1"})  # type: ignore[call-overload]
    await send_order(order, kee="k")  # type: ignore[call-overload]
    await send_order(order, key=1.5)  # type: ignore[call-overload]
    await send_order(order, partition="0")  # type: ignore[call-overload]
    await send_order(order, order)  # type: ignore[call-overload]
    send_order.from_thread(1)  # type: ignore[call-overload]
    offset: int = await send_order(order)  # type: ignore[assignment]
    print(offset)


@sender.event("TwoPayloads")  # type: ignore[arg-type]
async def send_two(order: Order, other: Order) -> None: ...


@sender.event("NoPayload")  # type: ignore[arg-type]
async def send_none() -> None: ...
