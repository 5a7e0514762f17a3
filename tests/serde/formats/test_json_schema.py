"""JSON with the id of its JSON Schema in front."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from pydantic import BaseModel, ConfigDict, Field

from evkafka.exceptions import ConfigError
from evkafka.formats import JsonSchema, SchemaRegistry
from evkafka.serde.formats.interface import FormatError
from evkafka.testing import InMemoryRegistry
from tests.serde.formats.values import decode, outgoing
from tests.support.endpoint_calls import FakeRecord

OPEN = {"title": "Order", "type": "object", "properties": {"id": {"type": "string"}}}


class Line(BaseModel):
    sku: str


class Order(BaseModel):
    order_id: str = Field(alias="id")
    lines: list[Line] = []


class Struct(msgspec.Struct):
    id: str


def framed(number: int, content: bytes) -> bytes:
    return b"\0" + number.to_bytes(4) + content


class TestReading:
    async def test_gives_the_type_that_the_endpoint_declares(
        self, server: InMemoryRegistry, registry: SchemaRegistry
    ) -> None:
        one, number = JsonSchema(registry), server.register("orders-value", OPEN, "JSON").id
        value = framed(number, b'{"id": "o-1"}')
        decoded = [await decode(one, kind, value) for kind in (Order, Struct, dict[str, Any])]
        assert decoded == [Order(id="o-1"), Struct("o-1"), {"id": "o-1"}]

    async def test_the_title_is_the_event_type(self, server: InMemoryRegistry, registry: SchemaRegistry) -> None:
        one, number = JsonSchema(registry), server.register("orders-value", OPEN, "JSON").id
        value = framed(number, b'{"id": "o-1"}')
        await decode(one, dict, value)
        assert one.schema_name_reader()(FakeRecord(value)) == "Order"

    @pytest.mark.parametrize(
        ("content", "text"),
        [
            (b'{"id": 5}', "schema 1 does not allow it: properties.id.type"),
            (b"secret", "it is no JSON"),
        ],
    )
    async def test_validates_by_the_schema_too_if_wanted(
        self, server: InMemoryRegistry, registry: SchemaRegistry, content: bytes, text: str
    ) -> None:
        number = server.register("orders-value", OPEN, "JSON").id
        with pytest.raises(FormatError, match=text):
            await decode(JsonSchema(registry, validate=True), dict, framed(number, content))

    async def test_validates_by_a_schema_with_references(
        self, server: InMemoryRegistry, registry: SchemaRegistry
    ) -> None:
        server.register("id", {"type": "string", "minLength": 3}, "JSON")
        schema = {"type": "object", "properties": {"id": {"$ref": "id.json"}}}
        references = [{"name": "id.json", "subject": "id", "version": 1}]
        number = server.register("orders-value", schema, "JSON", references).id
        one = JsonSchema(registry, validate=True)
        assert await decode(one, dict, framed(number, b'{"id": "abc"}')) == {"id": "abc"}
        with pytest.raises(FormatError, match=r"does not allow it: properties\.id\.minLength"):
            await decode(one, dict, framed(number, b'{"id": "a"}'))

    @pytest.mark.parametrize(
        ("schema", "text"), [({"type": 5}, "SchemaError"), ({"$ref": "missing.json"}, "cannot be used")]
    )
    async def test_a_schema_that_cannot_be_used_is_the_records_failure(
        self, server: InMemoryRegistry, registry: SchemaRegistry, schema: Any, text: str
    ) -> None:
        number = server.register("orders-value", schema, "JSON").id
        with pytest.raises(FormatError, match=text):
            await decode(JsonSchema(registry, validate=True), dict, framed(number, b"{}"))


class TestWriting:
    async def test_the_schema_is_that_of_the_written_json(
        self, server: InMemoryRegistry, registry: SchemaRegistry
    ) -> None:
        encode = await JsonSchema(registry, auto_register=True, validate=True).encoder(outgoing(Order))
        [one] = server.versions("orders-value")
        schema = json.loads(one.schema)
        assert (one.schema_type, schema["title"]) == ("JSON", "Order")
        assert schema["properties"]["lines"]["items"] == {"$ref": "#/definitions/Line"}
        assert encode(Order(id="o-1")) == framed(one.id, b'{"id":"o-1","lines":[]}')

    @pytest.mark.parametrize(("annotation", "event"), [(Struct, Struct("o-1")), (Struct | None, Struct("o-1"))])
    async def test_other_types_have_schemas_too(
        self, server: InMemoryRegistry, registry: SchemaRegistry, annotation: Any, event: Any
    ) -> None:
        encode = await JsonSchema(registry, auto_register=True).encoder(outgoing(annotation))
        [one] = server.versions("orders-value")
        assert json.loads(one.schema)["properties"] == {"id": {"type": "string"}}
        assert encode(event) == framed(one.id, b'{"id":"o-1"}')

    async def test_a_dict_is_written_by_the_latest_schema(
        self, server: InMemoryRegistry, registry: SchemaRegistry
    ) -> None:
        number = server.register("orders-value", OPEN, "JSON").id
        encode = await JsonSchema(registry, validate=True).encoder(outgoing(dict))
        assert encode({"id": "o-1"}) == framed(number, b'{"id": "o-1"}')
        with pytest.raises(FormatError, match=r"does not allow it: properties\.id\.type"):
            encode({"id": 1})

    async def test_a_field_without_a_schema_is_an_error_that_names_it(self, registry: SchemaRegistry) -> None:
        class Inner(BaseModel):
            model_config = ConfigDict(arbitrary_types_allowed=True)
            call: Callable[[], int]

        class Outer(BaseModel):
            inner: Inner

        with pytest.raises(ConfigError, match=r"endpoint send: Outer.inner.call: Cannot generate a JsonSchema"):
            await JsonSchema(registry).encoder(outgoing(Outer))

    async def test_an_incompatible_schema_is_explained(
        self, server: InMemoryRegistry, registry: SchemaRegistry
    ) -> None:
        server.register("orders-value", OPEN, "JSON")
        server.make_incompatible("orders-value", "PROPERTY_ADDED_TO_OPEN_CONTENT_MODEL")
        with pytest.raises(ConfigError, match=r'(?s)PROPERTY_ADDED.*ConfigDict\(extra="forbid"\)'):
            await JsonSchema(registry).encoder(outgoing(Order))
