"""A real registry, Apicurio: its compatibility rules, and confluent-kafka beside it."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator
from typing import Any

import pytest
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer, AvroSerializer
from confluent_kafka.schema_registry.protobuf import ProtobufDeserializer, ProtobufSerializer
from confluent_kafka.serialization import MessageField, SerializationContext
from pydantic import BaseModel, ConfigDict

from evkafka.broker import LocalRegistry
from evkafka.exceptions import ConfigError, SchemaNotFound
from evkafka.formats import Avro, JsonSchema, Protobuf, SchemaRegistry
from evkafka.serde.formats.interface import Outgoing, Reference, Schema
from tests.serde.formats.messages import LineMessage, OrderMessage
from tests.serde.formats.test_avro import ORDER, Order
from tests.serde.formats.values import decode

pytestmark = [pytest.mark.long, pytest.mark.kafka]


@pytest.fixture
async def registry(evkafka_registry: LocalRegistry) -> AsyncIterator[SchemaRegistry]:
    registry = SchemaRegistry(evkafka_registry.url)
    yield registry
    await registry.close()


@pytest.fixture
def topic() -> str:
    return f"t-{uuid.uuid4().hex[:8]}"


async def test_avro_and_protobuf_of_confluents_serializers(
    evkafka_registry: LocalRegistry, registry: SchemaRegistry, topic: str
) -> None:
    def exchange(serializer: Any, deserializer: Any, event: Any, ours: bytes) -> tuple[bytes, Any]:
        context = SerializationContext(topic, MessageField.VALUE)
        return serializer(event, context), deserializer(ours, context)

    event, message = {"id": "o-1", "cents": 5}, OrderMessage(order_id="o-1", lines=[LineMessage(sku="x")])
    avro, protobuf = Avro(registry, auto_register=True), Protobuf(registry, auto_register=True)
    ours = (await avro.encoder(Outgoing("send", f"{topic}-a", "Order", Order)))(Order(id="o-1", cents=5))
    our_message = (await protobuf.encoder(Outgoing("send", f"{topic}-p", "Order", OrderMessage)))(message)
    with SchemaRegistryClient({"url": evkafka_registry.url}) as client:
        theirs, read = await asyncio.to_thread(
            exchange, AvroSerializer(client, json.dumps(ORDER)), AvroDeserializer(client), event, ours
        )
        assert (await decode(avro, Order, theirs), read) == (Order(id="o-1", cents=5), {**event, "note": None})
        serializer, deserializer = ProtobufSerializer(LineMessage, client), ProtobufDeserializer(OrderMessage)
        line = LineMessage(sku="x", count=2)
        topic = f"{topic}-l"
        theirs, read = await asyncio.to_thread(exchange, serializer, deserializer, line, our_message)
    decoded = await decode(protobuf, LineMessage, theirs)
    assert (decoded, read) == (line, message)


@pytest.mark.parametrize(("extra", "compatible"), [("ignore", False), ("forbid", True)])
async def test_a_new_optional_property_is_compatible_with_a_closed_json_schema_only(
    registry: SchemaRegistry, topic: str, extra: Any, compatible: bool
) -> None:
    older = type("Paid", (BaseModel,), {"__annotations__": {"id": str}, "model_config": ConfigDict(extra=extra)})
    fields = {"__annotations__": {"id": str, "note": str | None}, "note": None}
    newer = type("Paid", (BaseModel,), {**fields, "model_config": ConfigDict(extra=extra)})
    one = JsonSchema(registry, auto_register=True)
    await one.encoder(Outgoing("send", topic, "Paid", older))
    if compatible:
        await one.encoder(Outgoing("send", topic, "Paid", newer))
        return
    with pytest.raises(ConfigError, match="incompatible"):
        await one.encoder(Outgoing("send", topic, "Paid", newer))
    with pytest.raises(ConfigError, match=r'(?s)incompatible.*ConfigDict\(extra="forbid"\)'):
        await JsonSchema(registry).encoder(Outgoing("send", topic, "Paid", newer))


async def test_references_and_unknown_schemas(registry: SchemaRegistry, topic: str) -> None:
    money = {"type": "record", "name": "shop.Money", "fields": [{"name": "cents", "type": "long"}]}
    await registry.register(f"{topic}-money", Schema(json.dumps(money), "AVRO"))
    bill = {"type": "record", "name": "shop.Bill", "fields": [{"name": "total", "type": "shop.Money"}]}
    used = Reference("shop.Money", f"{topic}-money", 1)
    await registry.register(f"{topic}-value", Schema(json.dumps(bill), "AVRO", (used,)))
    avro = Avro(registry)
    value = await avro.encode({"total": {"cents": 5}}, topic=topic)
    assert await decode(avro, dict, value) == {"total": {"cents": 5}}
    with pytest.raises(SchemaNotFound):
        await registry.schema(999_999)
    with pytest.raises(SchemaNotFound):
        await registry.latest(f"{topic}-nothing")
