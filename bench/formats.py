"""The cost of values with a schema, from a record to its endpoint, without a broker: `python -m bench.formats`.

Prints the microseconds of CPU time of one attempt with a no-op endpoint, and of hand-written code that does the same:
the library of the format, then pydantic. Each figure is the minimum of several rounds, which are measured in turn.
"""

from __future__ import annotations

import asyncio
import io
import time
import timeit
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from google.protobuf import descriptor_pool, message_factory
from pydantic import BaseModel

from bench.dispatch import OneRecord, run
from evkafka import Handler
from evkafka.formats import Avro, JsonSchema, Protobuf, SchemaRegistry
from evkafka.runtime.ports import ConsumerIdentity, Slot
from evkafka.serde.formats.consumer_formats import ConsumerFormats
from evkafka.serde.formats.proto_source import parse_proto_file
from evkafka.service.dispatch import build_dispatch
from evkafka.testing import InMemoryRegistry, use_registry

CALLS, ROUNDS = 20_000, 9

EVENT = {"id": "o-1", "customer": 7, "cents": 500, "currency": "EUR", "sku": "abc-1", "count": 2, "paid": True}
PROTO = """
syntax = "proto3";
message Order {
  string id = 1; int64 customer = 2; int64 cents = 3; string currency = 4;
  string sku = 5; int64 count = 6; bool paid = 7;
}
"""
AVRO = {str: "string", int: "long", bool: "boolean"}


class Order(BaseModel):
    id: str
    customer: int
    cents: int
    currency: str
    sku: str
    count: int
    paid: bool


async def on_order(order: Order) -> None: ...
async def on_message(order: Any) -> None: ...


@dataclass(frozen=True)
class Row:
    """Attributes:
    direct: hand-written: bytes -> the endpoint's coroutine.
    """

    name: str
    value: bytes
    value_format: Any
    endpoint: Callable[..., Any]
    direct: Callable[[bytes], Coroutine[Any, Any, None]]


def rows(registry: InMemoryRegistry) -> list[Row]:
    import fastavro

    schemas = SchemaRegistry("http://registry:8081")
    fields = [{"name": name, "type": AVRO[type(value)]} for name, value in EVENT.items()]
    schema = fastavro.parse_schema({"type": "record", "name": "Order", "fields": fields})
    number = registry.register("a-value", {"type": "record", "name": "Order", "fields": fields}).id
    stream = io.BytesIO()
    fastavro.schemaless_writer(stream, schema, EVENT)
    avro = b"\0" + number.to_bytes(4) + stream.getvalue()
    read, to_order = fastavro.schemaless_reader, Order.__pydantic_validator__.validate_python

    pool = descriptor_pool.DescriptorPool()
    pool.Add(parse_proto_file(PROTO, "order.proto"))
    message = message_factory.GetMessageClass(pool.FindMessageTypeByName("Order"))
    number = registry.register("p-value", PROTO, "PROTOBUF").id
    protobuf = b"\0" + number.to_bytes(4) + b"\0" + message(**EVENT).SerializeToString()

    number = registry.register("j-value", {"title": "Order"}, "JSON").id
    json = b"\0" + number.to_bytes(4) + Order(**EVENT).model_dump_json().encode()
    from_json = Order.__pydantic_validator__.validate_json

    async def on_generated(order: Any) -> None: ...

    on_generated.__annotations__ = {"order": message}

    return [
        Row(
            *("Avro, model", avro, Avro(schemas), on_order),
            lambda value: on_order(to_order(read(io.BytesIO(memoryview(value)[5:]), schema))),
        ),
        Row(
            *("Protobuf, generated class", protobuf, Protobuf(schemas), on_generated),
            lambda value: on_message(message.FromString(value[6:])),
        ),
        Row(
            *("JSON Schema, model", json, JsonSchema(schemas), on_order),
            lambda value: on_order(from_json(value[5:])),
        ),
    ]


def main() -> None:
    print(f"{'':28}{'direct':>8}{'header':>8}{'ratio':>8}{'name':>8}{'ratio':>8}   us per record")
    with use_registry() as registry:
        for row in rows(registry):
            direct_us, typed_us = measure(row, (("Event-Type", b"Order"),))
            _, named_us = measure(row, ())
            print(
                f"{row.name:28}{direct_us:8.2f}{typed_us:8.2f}{typed_us / direct_us:8.2f}{named_us:8.2f}"
                f"{named_us / direct_us:8.2f}"
            )


def measure(row: Row, headers: tuple[tuple[str, bytes | None], ...]) -> tuple[float, float]:
    """The time of hand-written code, and of an attempt.

    Args:
        headers: without the type header, the name of the schema decides.
    """
    handler = Handler()
    handler.event("Order")(row.endpoint)
    dispatch = build_dispatch(handler, None, formats=ConsumerFormats(row.value_format, {}, ["Order"]))
    call, record = dispatch.call, OneRecord(headers, row.value)
    slot = Slot(ConsumerIdentity("bench", "bench", "bench"), {})

    async def ask_for_schema() -> None:
        assert dispatch.awaited is not None
        if (ready := dispatch.awaited(record)) is not None:
            await ready
        await row.value_format.close()

    asyncio.run(ask_for_schema())

    def call_directly() -> None:
        run(row.direct(row.value))

    def call_through_dispatch() -> None:
        run(call(record, slot))  # type: ignore[arg-type]

    rounds = [(_time_of(call_directly), _time_of(call_through_dispatch)) for _ in range(ROUNDS)]
    direct_s, dispatch_s = (min(column) for column in zip(*rounds, strict=True))
    return direct_s / CALLS * 1e6, dispatch_s / CALLS * 1e6


def _time_of(call: Callable[[], None]) -> float:
    return timeit.timeit(call, number=CALLS, timer=time.process_time)


if __name__ == "__main__":
    main()
