"""An event is written as it is in Avro, or refused: no value is changed to fit."""

from __future__ import annotations

import datetime as dt
import decimal
import io
import json
import uuid
from typing import Annotated, Any, Literal

import fastavro
import pytest
from pydantic import BaseModel, Field, create_model

from evkafka.exceptions import ConfigError
from evkafka.formats import Avro, AvroType, SchemaRegistry
from evkafka.serde.formats.avro import AvroLanguage
from evkafka.serde.formats.interface import FormatError, Outgoing, Schema, StoredSchema
from evkafka.testing import InMemoryRegistry
from tests.serde.formats.values import decode

NOON = dt.datetime(2026, 5, 6, 12, tzinfo=dt.UTC)
LOCAL_NOON = dt.datetime(2026, 5, 6, 12)  # noqa: DTZ001
ID = uuid.UUID(int=7)

DATE = {"type": "int", "logicalType": "date"}
TIME = {"type": "int", "logicalType": "time-millis"}
TIMESTAMP = {"type": "long", "logicalType": "timestamp-millis"}
LOCAL_TIMESTAMP = {"type": "long", "logicalType": "local-timestamp-millis"}
UUID = {"type": "string", "logicalType": "uuid"}
DECIMAL = {"type": "bytes", "logicalType": "decimal", "precision": 6, "scale": 2}
FIXED = {"type": "fixed", "name": "Two", "size": 2}
MODE = {"type": "enum", "name": "Mode", "symbols": ["ON", "OFF"]}
LINE = {"type": "record", "name": "Line", "fields": [{"name": "cents", "type": "long"}]}
BIGGER = {
    "type": "record",
    "name": "Bigger",
    "fields": [{"name": "cents", "type": "long"}, {"name": "more", "type": "long", "default": 0}],
}


def of(kind: Any) -> dict[str, Any]:
    return {"type": "record", "name": "Event", "namespace": "shop", "fields": [{"name": "f", "type": kind}]}


def through(kind: Any, value: Any) -> Any:
    """What is read of a dict that was written by the latest schema."""
    described = AvroLanguage(None).describe_type_if_without_own_schema(dict)
    assert described is not None
    content = described.compile(StoredSchema(1, Schema(json.dumps(of(kind)), "AVRO")))({"f": value})
    read: Any = fastavro.schemaless_reader(io.BytesIO(content), fastavro.parse_schema(of(kind)), None)
    return read["f"]


class TestByTheLatestSchema:
    @pytest.mark.parametrize(
        ("kind", "value"),
        [
            ("int", 10.99),
            ("long", 10.99),
            ("long", True),
            ("int", 2**40),
            ("long", 2**63),
            ("double", 2**53 + 1),
            ("float", 2**24 + 1),
            ("float", 1e300),
            ("double", 10**400),
            ("double", "5"),
            ("boolean", 1),
            ("string", b"x"),
            ("bytes", "x"),
            (DATE, NOON),
            (DATE, "yesterday"),
            (TIMESTAMP, NOON.date()),
            (LOCAL_TIMESTAMP, NOON),
            (UUID, "no-uuid"),
            (FIXED, b"123"),
            (MODE, "BROKEN"),
            ({"type": "array", "items": "int"}, [1, 2.5]),
            ({"type": "map", "values": "int"}, {"a": True}),
            (["null", "int"], 2**40),
            (["null", "int", "string"], 2.5),
            (LINE, {"cents": 1.5}),
            (LINE, {}),
            (LINE, {"cents": 1, "more": 2}),
        ],
    )
    def test_a_value_that_does_not_fit_is_an_error_that_names_the_field(self, kind: Any, value: Any) -> None:
        with pytest.raises(FormatError, match=r"it does not fit schema 1: (the schema has no field )?shop\.Event\.f"):
            through(kind, value)

    @pytest.mark.parametrize(
        ("kind", "value"),
        [
            ("int", -(2**31)),
            ("long", 2**63 - 1),
            ("float", 0.5),
            ("double", float("inf")),
            (DATE, NOON.date()),
            (TIMESTAMP, NOON),
            (LOCAL_TIMESTAMP, LOCAL_NOON),
            (TIME, dt.time(12, 30)),
            (UUID, ID),
            (DECIMAL, decimal.Decimal("12.34")),
            (FIXED, b"12"),
            (MODE, "OFF"),
            ({"type": "array", "items": ["null", LINE]}, [None, {"cents": 5}]),
            ({"type": "map", "values": LINE}, {"a": {"cents": 5}}),
            (["null", "float", "double"], 1e300),
            (["double", "long"], 2**60 + 1),
            ([DATE, TIMESTAMP], NOON),
            ([TIMESTAMP, DATE], NOON.date()),
            ([MODE, "string"], "another"),
            ([BIGGER, LINE], {"cents": 5}),
            ([LINE, BIGGER], {"cents": 5, "more": 1}),
        ],
    )
    def test_a_value_that_fits_is_read_as_it_was(self, kind: Any, value: Any) -> None:
        read = through(kind, value)
        assert read == value
        assert type(read) is type(value)

    @pytest.mark.parametrize(
        ("kind", "value", "read"),
        [
            (DATE, "2026-05-06", NOON.date()),
            (UUID, str(ID), ID),
            ("double", 2**53, 2.0**53),
            (BIGGER, {"cents": 1}, {"cents": 1, "more": 0}),
        ],
    )
    def test_a_text_or_a_number_that_loses_nothing_fits(self, kind: Any, value: Any, read: Any) -> None:
        assert through(kind, value) == read

    def test_the_error_says_what_the_type_cannot_hold(self) -> None:
        with pytest.raises(FormatError, match="f is int with a value that type int does not have"):
            through("int", 2**40)
        with pytest.raises(FormatError, match="f is datetime, and not of type date"):
            through(DATE, NOON)
        with pytest.raises(FormatError, match="f is float, and fits none of the types null, int, string"):
            through(["null", "int", "string"], 2.5)

    async def test_a_model_is_not_changed_either(self, server: InMemoryRegistry, registry: SchemaRegistry) -> None:
        server.register("events-value", of("int"))
        model = create_model("Event", f=(float, ...))
        encode = await Avro(registry, schema="latest").encoder(Outgoing("send", "events", "Event", model))
        with pytest.raises(FormatError, match=r"shop\.Event\.f is float, and not of type int"):
            encode(model(f=10.99))


class Card(BaseModel):
    kind: Literal["card"] = "card"
    cents: int


class Cash(BaseModel):
    kind: Literal["cash"] = "cash"
    cents: int


class Plain(BaseModel):
    cents: int


class TestByTheSchemaOfAModel:
    @pytest.mark.parametrize(
        ("annotation", "value"),
        [
            (dt.date | dt.datetime, NOON),
            (dt.datetime | dt.date, NOON.date()),
            (float | int, 2**60 + 1),
            (int | float, 0.5),
            (Annotated[Card | Cash, Field(discriminator="kind")], Cash(cents=1)),
        ],
    )
    async def test_a_union_is_written_by_the_branch_of_the_value(
        self, server: InMemoryRegistry, registry: SchemaRegistry, annotation: Any, value: Any
    ) -> None:
        model, avro = create_model("Event", f=(annotation, ...)), Avro(registry, auto_register=True)
        encode = await avro.encoder(Outgoing("send", "events", "Event", model))
        assert await decode(avro, model, encode(model(f=value))) == model(f=value)

    async def test_a_value_that_its_avro_type_does_not_have_is_refused(
        self, server: InMemoryRegistry, registry: SchemaRegistry
    ) -> None:
        model = create_model("Event", count=(Annotated[int, AvroType("int")], ...))
        encode = await Avro(registry, auto_register=True).encoder(Outgoing("send", "events", "Event", model))
        assert encode(model(count=5))
        with pytest.raises(FormatError, match=r"Event\.count is int with a value that type int does not have"):
            encode(model(count=2**40))

    async def test_a_time_with_a_time_zone_is_refused(self, server: InMemoryRegistry, registry: SchemaRegistry) -> None:
        model = create_model("Event", at=(dt.time, ...))
        encode = await Avro(registry, auto_register=True).encoder(Outgoing("send", "events", "Event", model))
        with pytest.raises(FormatError, match="at is a time with a time zone, which Avro does not have"):
            encode(model(at=NOON.timetz()))

    @pytest.mark.parametrize("annotation", [Card | Plain, Plain | Card | None])
    async def test_a_union_of_models_needs_a_discriminator(self, registry: SchemaRegistry, annotation: Any) -> None:
        model = create_model("Event", f=(annotation, ...))
        with pytest.raises(ConfigError, match=r"Event\.f: nothing tells .* apart; give each a discriminator"):
            await Avro(registry).encoder(Outgoing("send", "events", "Event", model))
