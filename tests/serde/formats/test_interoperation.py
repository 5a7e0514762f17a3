"""Interoperation with confluent-kafka's serializers, both ways."""

from __future__ import annotations

import datetime as dt
import decimal
import json
import uuid
from collections.abc import Iterator
from typing import Annotated, Any

import pytest
from confluent_kafka.schema_registry import SchemaRegistryClient, header_schema_id_serializer
from confluent_kafka.schema_registry.avro import AvroDeserializer, AvroSerializer
from confluent_kafka.schema_registry.json_schema import JSONDeserializer, JSONSerializer
from confluent_kafka.schema_registry.protobuf import ProtobufDeserializer, ProtobufSerializer
from confluent_kafka.serialization import MessageField, SerializationContext
from pydantic import BaseModel, Field

from evkafka.formats import Avro, JsonSchema, Protobuf, SchemaRegistry
from evkafka.serde.formats.interface import Outgoing
from evkafka.testing import InMemoryRegistry
from tests.serde.formats.messages import CancelledMessage, LineMessage
from tests.serde.formats.test_avro import NEWER, ORDER, Order
from tests.serde.formats.values import decode


class Paid(BaseModel):
    order: uuid.UUID
    total: Annotated[decimal.Decimal, Field(max_digits=12, decimal_places=2)]
    at: dt.datetime
    note: str | None = None


PAID = Paid(order=uuid.UUID(int=3), total=decimal.Decimal("9.99"), at=dt.datetime(2026, 1, 2, 3, tzinfo=dt.UTC))


@pytest.fixture
def client(server: InMemoryRegistry) -> Iterator[Any]:
    with SchemaRegistryClient({"url": server.url}) as client:
        yield client


def at(topic: str = "orders", headers: Any = None) -> SerializationContext:
    return SerializationContext(topic, MessageField.VALUE, headers=headers)


class TestAvro:
    @pytest.mark.parametrize("schema", [ORDER, NEWER])
    async def test_what_its_serializer_writes_is_read(
        self, client: Any, registry: SchemaRegistry, schema: dict[str, Any]
    ) -> None:
        written = AvroSerializer(client, json.dumps(schema))({"id": "o-1", "cents": 5}, at())
        assert await decode(Avro(registry), Order, written) == Order(id="o-1", cents=5)

    async def test_what_it_writes_with_the_guid_in_a_header_is_read(
        self, server: InMemoryRegistry, client: Any, registry: SchemaRegistry
    ) -> None:
        headers: list[tuple[str, bytes]] = []
        server.register("orders-value", ORDER)
        by_header = {
            "schema.id.serializer": header_schema_id_serializer,
            "auto.register.schemas": False,
            "use.latest.version": True,
        }
        written = AvroSerializer(client, json.dumps(ORDER), conf=by_header)(
            {"id": "o-1", "cents": 5}, at(headers=headers)
        )
        assert [name for name, _ in headers] == ["__value_schema_id"]
        assert await decode(Avro(registry), Order, written, headers) == Order(id="o-1", cents=5)

    async def test_its_deserializer_reads_what_is_written(self, client: Any, registry: SchemaRegistry) -> None:
        encode = await Avro(registry, auto_register=True).encoder(Outgoing("send", "orders", "Paid", Paid))
        assert AvroDeserializer(client)(encode(PAID), at()) == PAID.model_dump()

    async def test_its_deserializer_reads_it_by_an_older_schema(self, client: Any, registry: SchemaRegistry) -> None:
        encode = await Avro(registry, auto_register=True).encoder(Outgoing("send", "orders", "Order", Order))
        older = AvroDeserializer(client, json.dumps({"type": "record", "name": "Order", "fields": ORDER["fields"]}))
        assert older(encode(Order(id="o-1", cents=5, note="n")), at()) == {"id": "o-1", "cents": 5}


class TestJsonSchema:
    SCHEMA = json.dumps(
        {"title": "Order", "type": "object", "properties": {"id": {"type": "string"}, "cents": {"type": "integer"}}}
    )

    async def test_what_its_serializer_writes_is_read(self, client: Any, registry: SchemaRegistry) -> None:
        written = JSONSerializer(self.SCHEMA, client)({"id": "o-1", "cents": 5}, at())
        decoded = await decode(JsonSchema(registry, validate=True), Order, written)
        assert decoded == Order(id="o-1", cents=5)

    async def test_its_deserializer_reads_what_is_written(self, client: Any, registry: SchemaRegistry) -> None:
        encode = await JsonSchema(registry, auto_register=True).encoder(Outgoing("send", "orders", "Order", Order))
        read = JSONDeserializer(None, schema_registry_client=client)
        assert read(encode(Order(id="o-1", cents=5)), at()) == {"id": "o-1", "cents": 5, "note": None}


class TestProtobuf:
    @pytest.mark.parametrize("message", [CancelledMessage(order_id="o-1"), LineMessage(sku="x", count=2)])
    async def test_what_its_serializer_writes_is_read(
        self, client: Any, registry: SchemaRegistry, message: Any
    ) -> None:
        written = ProtobufSerializer(type(message), client)(message, at())
        assert written is not None
        decoded = await decode(Protobuf(registry), type(message), written)
        assert decoded == message

    @pytest.mark.parametrize("message", [CancelledMessage(order_id="o-1"), LineMessage(sku="x", count=2)])
    async def test_its_deserializer_reads_what_is_written(
        self, client: Any, registry: SchemaRegistry, message: Any
    ) -> None:
        event = Outgoing("send", "orders", "Order", type(message))
        encode = await Protobuf(registry, auto_register=True).encoder(event)
        assert ProtobufDeserializer(type(message))(encode(message), at()) == message
