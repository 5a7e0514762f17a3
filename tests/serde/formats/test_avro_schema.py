"""Avro schemas of payload types."""

from __future__ import annotations

import datetime as dt
import decimal
import enum
import ipaddress
import json
import uuid
from dataclasses import dataclass, field
from typing import Annotated, Any, Generic, Literal, NotRequired, TypeVar

import fastavro
import pytest
from pydantic import BaseModel, Field, HttpUrl, RootModel, SecretStr, computed_field
from typing_extensions import TypedDict

from evkafka.formats import AvroType
from evkafka.serde.formats.avro_schema import AvroDescriber
from evkafka.serde.formats.registry_format import Undescribed


class Nest(RootModel[dict[str, "Nest"]]):
    """Contains itself without a field between."""


class Currency(enum.StrEnum):
    EUR = "EUR"
    USD = "USD"


class Size(enum.IntEnum):
    SMALL = 1


class Odd(enum.Enum):
    A = "with space"


class Mixed(enum.Enum):
    A = "a"
    B = 1


class Line(BaseModel):
    sku: str
    count: int = 1


class Tree(BaseModel):
    name: str
    children: list[Tree] = []


class Card(BaseModel):
    kind: Literal["card"] = "card"
    digits: str


class Bank(BaseModel):
    kind: Literal["bank"] = "bank"
    iban: str


@dataclass
class Point:
    x: float
    tags: list[str] = field(default_factory=list)


class Address(TypedDict):
    street: str


class Partial(TypedDict):
    street: NotRequired[str]


T = TypeVar("T")


class Page(BaseModel, Generic[T]):
    items: list[T]


def schema_of(annotation: Any, namespace: str | None = None) -> Any:
    schema = AvroDescriber(namespace).describe(annotation)
    fastavro.parse_schema(json.loads(json.dumps(schema)))  # it is valid
    return schema


def of_field(annotation: Any, **options: Any) -> Any:
    """How Avro has the field of a model."""
    model = type("M", (BaseModel,), {"__annotations__": {"f": annotation}, "__module__": __name__, **options})
    [only] = schema_of(model)["fields"]
    assert only.pop("name") == "f"
    return only if "default" in only else only["type"]


MILLIS = {"type": "long", "logicalType": "timestamp-millis"}
LINE = {
    "type": "record",
    "name": "Line",
    "fields": [{"name": "sku", "type": "string"}, {"name": "count", "type": "long", "default": 1}],
}


class TestTypes:
    @pytest.mark.parametrize(
        ("annotation", "schema"),
        [
            (bool, "boolean"),
            (int, "long"),
            (float, "double"),
            (str, "string"),
            (bytes, "bytes"),
            (uuid.UUID, {"type": "string", "logicalType": "uuid"}),
            (dt.datetime, MILLIS),
            (dt.date, {"type": "int", "logicalType": "date"}),
            (dt.time, {"type": "int", "logicalType": "time-millis"}),
            (
                Annotated[decimal.Decimal, Field(max_digits=12, decimal_places=2)],
                {"type": "bytes", "logicalType": "decimal", "precision": 12, "scale": 2},
            ),
            (Annotated[str, Field(max_length=3)], "string"),
            (
                Annotated[dt.datetime, AvroType({"type": "long", "logicalType": "timestamp-micros"})],
                {"type": "long", "logicalType": "timestamp-micros"},
            ),
            (HttpUrl, "string"),
            (ipaddress.IPv4Address, "string"),
            (Currency, {"type": "enum", "name": "Currency", "symbols": ["EUR", "USD"]}),
            (Size, "long"),
            (Odd, "string"),
            (Literal["a", "b"], {"type": "enum", "name": "M_f", "symbols": ["a", "b"]}),
            (Literal["a b"], "string"),
            (RootModel[list[int]], {"type": "array", "items": "long"}),
            (
                Annotated[decimal.Decimal | None, Field(max_digits=6, decimal_places=2)],
                ["null", {"type": "bytes", "logicalType": "decimal", "precision": 6, "scale": 2}],
            ),
            (Literal[1, 2], "long"),
            (str | None, ["null", "string"]),
            (int | str, ["long", "string"]),
            (list[int], {"type": "array", "items": "long"}),
            (set[str], {"type": "array", "items": "string"}),
            (tuple[int, ...], {"type": "array", "items": "long"}),
            (dict[str, float], {"type": "map", "values": "double"}),
            (Line, LINE),
            (list[Line | None], {"type": "array", "items": ["null", LINE]}),
            (Address, {"type": "record", "name": "Address", "fields": [{"name": "street", "type": "string"}]}),
        ],
    )
    def test_has_its_schema(self, annotation: Any, schema: Any) -> None:
        assert of_field(annotation) == schema

    @pytest.mark.parametrize(
        ("annotation", "text"),
        [
            (Any, "M.f: Avro has no type for Any; give it a type that says what is in it"),
            (dict, "M.f: Avro has no type for dict"),
            (list, "M.f: Avro has no type for list"),
            (dict[str, Any], r"M.f\[\]: Avro has no type for Any"),
            (dict[int, str], "M.f: the keys of a map are str in Avro"),
            (decimal.Decimal, r"M.f: a Decimal in Avro has a fixed number of digits: Field\(max_digits=12"),
            (dt.timedelta, "M.f: Avro has no type for timedelta"),
            (tuple[int, str], r"M.f: Avro has no type for tuple\[int, str\]"),
            (list[int] | list[str], "M.f: Avro cannot tell two types of a union apart that are both array"),
            (SecretStr, "M.f: it is a secret"),
            (Mixed, "M.f: the values of Mixed are not all str, or all int"),
            (Partial, "M.f.street: Avro has no fields that may be missing"),
            (Annotated[dt.timedelta, AvroType("long")], "M.f: a timedelta cannot be written as long"),
            (
                Annotated[float | None, AvroType(["null", "int"])],
                r"M.f: a float cannot be written as \['null', 'int'\]",
            ),
            (Annotated[decimal.Decimal, AvroType("string")], "M.f: a Decimal cannot be written as string"),
            (Nest, "M: it contains itself, which in Avro only a record can"),
            (list[Page[Any]], r"M.f\[\].items\[\]: Avro has no type for Any"),
        ],
    )
    def test_that_avro_cannot_say_is_an_error_that_names_the_field(self, annotation: Any, text: str) -> None:
        with pytest.raises(Undescribed, match=text):
            of_field(annotation)


class TestDefaults:
    @pytest.mark.parametrize(
        ("annotation", "default", "schema"),
        [
            (int, 3, {"type": "long", "default": 3}),
            (float, 3, {"type": "double", "default": 3.0}),
            (str | None, None, {"type": ["null", "string"], "default": None}),
            (str | None, "x", {"type": ["string", "null"], "default": "x"}),
            (bytes, b"\xff", {"type": "bytes", "default": "\xff"}),
            (dt.datetime, dt.datetime(1970, 1, 1, 0, 0, 1, tzinfo=dt.UTC), {"type": MILLIS, "default": 1000}),
            (dt.date, dt.date(1970, 1, 3), {"type": {"type": "int", "logicalType": "date"}, "default": 2}),
            (list[int], [1], {"type": {"type": "array", "items": "long"}, "default": [1]}),
            (dict[str, int], {"a": 1}, {"type": {"type": "map", "values": "long"}, "default": {"a": 1}}),
            (list[int], Field(default_factory=list), {"type": {"type": "array", "items": "long"}, "default": []}),
            (
                Currency,
                Currency.USD,
                {"type": {"type": "enum", "name": "Currency", "symbols": ["EUR", "USD"]}, "default": "USD"},
            ),
            (
                Annotated[decimal.Decimal, Field(max_digits=4, decimal_places=2)],
                decimal.Decimal("-1.5"),
                {
                    "type": {"type": "bytes", "logicalType": "decimal", "precision": 4, "scale": 2},
                    "default": "\xff\x6a",
                },
            ),
        ],
    )
    def test_are_in_the_schema(self, annotation: Any, default: Any, schema: Any) -> None:
        assert of_field(annotation, f=default) == schema

    def test_that_differ_each_time_are_not(self) -> None:
        assert of_field(uuid.UUID, f=Field(default_factory=uuid.uuid4)) == {"type": "string", "logicalType": "uuid"}

    def test_that_cannot_be_written_are_an_error_that_names_the_field(self) -> None:
        with pytest.raises(Undescribed, match=r"M.f: its default, of type Line, cannot be written"):
            of_field(Line, f=Line(sku="a"))


class TestRecords:
    def test_have_a_namespace_and_refer_to_a_type_by_its_name_the_second_time(self) -> None:
        class Order(BaseModel):
            first: Line
            second: Line

        first, second = schema_of(Order, "shop")["fields"]
        assert first["type"] == {**LINE, "namespace": "shop"}
        assert second["type"] == "shop.Line"

    def test_may_contain_themselves(self) -> None:
        assert schema_of(Tree)["fields"][1]["type"] == {"type": "array", "items": "Tree"}

    def test_have_the_names_that_values_are_written_with(self) -> None:
        class Order(BaseModel):
            order_id: str = Field(alias="orderId")
            hidden: str = Field(default="", exclude=True)

            @computed_field  # type: ignore[prop-decorator]
            @property
            def size(self) -> int:
                return 1

        assert [one["name"] for one in schema_of(Order)["fields"]] == ["orderId", "size"]

    def test_may_be_dataclasses_and_generic(self) -> None:
        assert [one["name"] for one in schema_of(Point)["fields"]] == ["x", "tags"]
        assert schema_of(Page[Line])["name"] == "Page_Line"

    def test_of_a_union_are_its_branches(self) -> None:
        card, bank = of_field(Annotated[Card | Bank, Field(discriminator="kind")])
        assert (card["name"], bank["name"]) == ("Card", "Bank")
        assert card["fields"][0]["type"] == {"type": "enum", "name": "Card_kind", "symbols": ["card"]}

    def test_cannot_have_the_name_of_another_type(self) -> None:
        other = type("Line", (BaseModel,), {"__annotations__": {"x": int}})
        both = type("Both", (BaseModel,), {"__annotations__": {"a": Line, "b": other}})
        with pytest.raises(Undescribed, match=r"Both.b: there are two types of the name Line; rename one of them"):
            schema_of(both)

    def test_cannot_have_a_field_with_a_name_that_avro_does_not_allow(self) -> None:
        with pytest.raises(Undescribed, match=r"M.order-id: a name in Avro has letters, digits and _ only"):
            of_field(str, f=Field(alias="order-id"))
