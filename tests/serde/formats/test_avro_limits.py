"""Values in Avro that would take too long, or crash the process."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import BaseModel

from evkafka.formats import Avro, SchemaRegistry
from evkafka.serde.formats.avro import parse_stored_schema
from evkafka.serde.formats.avro_limits import MOST_EMPTY_ITEMS, MOST_NESTED, compile_size_check
from evkafka.serde.formats.interface import FormatError, Outgoing, Schema, StoredSchema
from evkafka.testing import InMemoryRegistry
from tests.serde.formats.test_avro import written
from tests.serde.formats.values import decode

NODE: dict[str, Any] = {
    "type": "record",
    "name": "Node",
    "namespace": "shop",
    "fields": [
        {"name": "name", "type": "string"},
        {"name": "next", "type": ["null", "Node"]},
        {"name": "more", "type": {"type": "map", "values": {"type": "array", "items": "Node"}}},
        {"name": "sum", "type": {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}},
        {"name": "mode", "type": {"type": "enum", "name": "Mode", "symbols": ["A", "B"]}},
        {"name": "ratio", "type": "double"},
        {"name": "part", "type": "float"},
        {"name": "is_last", "type": "boolean"},
        {"name": "code", "type": {"type": "fixed", "name": "Code", "size": 3}},
    ],
}


class Chain(BaseModel):
    value: int
    next: Chain | None = None


CHAIN = {
    "type": "record",
    "name": "Chain",
    "fields": [{"name": "value", "type": "int"}, {"name": "next", "type": ["null", "Chain"]}],
}

EMPTY = {"type": "record", "name": "Empty", "fields": [{"name": "nothing", "type": "null"}]}


def node(**changes: Any) -> dict[str, Any]:
    plain: dict[str, Any] = {"name": "n", "next": None, "more": {}, "sum": b"\1", "mode": "B", "ratio": 1.5}
    return {**plain, "part": 0.5, "is_last": True, "code": b"abc", **changes}


def chain(links: int) -> bytes:
    return b"\2\2" * (links - 1) + b"\2\0"


def array_of(items: Any) -> dict[str, Any]:
    return {"type": "record", "name": "Many", "fields": [{"name": "all", "type": {"type": "array", "items": items}}]}


def number(value: int) -> bytes:
    return written("long", value, 0)[5:]


async def read(server: InMemoryRegistry, registry: SchemaRegistry, schema: Any, content: bytes) -> Any:
    number = server.register("in-value", schema).id
    return await decode(Avro(registry), dict, b"\0" + number.to_bytes(4) + content)


class TestNesting:
    async def test_as_deep_as_in_json_is_read(self, server: InMemoryRegistry, registry: SchemaRegistry) -> None:
        read_chain, links = await read(server, registry, CHAIN, chain(MOST_NESTED)), 0
        while read_chain is not None:
            read_chain, links = read_chain["next"], links + 1
        assert links == MOST_NESTED

    @pytest.mark.parametrize("links", [MOST_NESTED + 1, 100_000])
    async def test_that_is_deeper_does_not_fit(
        self, server: InMemoryRegistry, registry: SchemaRegistry, links: int
    ) -> None:
        with pytest.raises(FormatError, match="it is nested deeper than 200 levels"):
            await read(server, registry, CHAIN, chain(links))

    async def test_without_end_and_without_bytes_does_not_fit(
        self, server: InMemoryRegistry, registry: SchemaRegistry
    ) -> None:
        endless = {"type": "record", "name": "Endless", "fields": [{"name": "next", "type": "Endless"}]}
        with pytest.raises(FormatError, match="it is nested deeper than 200 levels"):
            await read(server, registry, endless, b"")

    async def test_of_every_type_is_read(self, server: InMemoryRegistry, registry: SchemaRegistry) -> None:
        event = node(next=node(), more={"a": [node(), node(next=node())], "b": []})
        content = written(NODE, event, 0)[5:]
        assert (await read(server, registry, NODE, content))["more"]["a"][1]["next"]["code"] == b"abc"

    async def test_that_is_cut_off_does_not_fit(self, server: InMemoryRegistry, registry: SchemaRegistry) -> None:
        content = written(NODE, node(next=node()), 0)[5:]
        for end in range(len(content)):
            with pytest.raises(FormatError, match="its bytes do not fit"):
                await read(server, registry, NODE, content[:end])

    async def test_of_an_event_that_could_not_be_read_is_refused(
        self, server: InMemoryRegistry, registry: SchemaRegistry
    ) -> None:
        event = Chain(value=1)
        for _ in range(MOST_NESTED):
            event = Chain.model_construct(value=1, next=event)
        encode = await Avro(registry, auto_register=True).encoder(Outgoing("send", "chains", "Chain", Chain))
        with pytest.raises(FormatError, match="it is nested deeper than 200 levels"):
            encode(event)

    async def test_of_a_dict_without_end_is_refused(self, server: InMemoryRegistry, registry: SchemaRegistry) -> None:
        server.register("chains-value", CHAIN)
        event: dict[str, Any] = {"value": 1}
        event["next"] = event
        encode = await Avro(registry).encoder(Outgoing("send", "chains", "Chain", dict))
        with pytest.raises(FormatError, match="it is nested too deeply, or contains itself"):
            encode(event)


class TestItemsWithoutBytes:
    @pytest.mark.parametrize("items", ["null", EMPTY])
    @pytest.mark.parametrize("blocks", [number(10**8), number(-(10**8)) + b"\0", number(600_000) * 2])
    async def test_are_limited(
        self, server: InMemoryRegistry, registry: SchemaRegistry, items: Any, blocks: bytes
    ) -> None:
        with pytest.raises(FormatError, match=f"it has more than {MOST_EMPTY_ITEMS} items that take no bytes"):
            await read(server, registry, array_of(items), blocks + b"\0")

    async def test_are_read(self, server: InMemoryRegistry, registry: SchemaRegistry) -> None:
        assert await read(server, registry, array_of("null"), number(3) + b"\0") == {"all": [None] * 3}


@pytest.mark.parametrize("items", ["long", ["null", "long"], {"type": "map", "values": "null"}])
def test_other_schemas_need_no_check(items: Any) -> None:
    schema, named = parse_stored_schema(StoredSchema(1, Schema(json.dumps(array_of(items)), "AVRO")))
    assert compile_size_check(schema, named) is None
