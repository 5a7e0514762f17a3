"""Values in Protobuf: as generated classes, and as other types."""

from __future__ import annotations

import base64
import datetime as dt
import enum
from typing import Any

import pytest
from pydantic import BaseModel, Field

from evkafka.exceptions import ConfigError
from evkafka.formats import Protobuf, SchemaRegistry
from evkafka.serde.decoding import decoder_for
from evkafka.serde.encoding import encode, encoder_for
from evkafka.serde.formats.interface import FormatError
from evkafka.serde.formats.proto_source import parse_proto_file
from evkafka.serde.formats.proto_text import proto_text_of
from evkafka.testing import InMemoryRegistry
from tests.serde.formats.messages import ORDERS, CancelledMessage, LineMessage, OrderMessage, classes
from tests.serde.formats.values import decode, outgoing
from tests.support.endpoint_calls import FakeRecord


class State(enum.Enum):
    NEW = "NEW"
    PAID = "PAID"


class Line(BaseModel):
    sku: str
    count: int


class Order(BaseModel):
    order_id: str
    cents: int
    state: State
    lines: list[Line]
    tags: dict[str, int]
    note: str = "none"
    at: dt.datetime | None = None
    card: str | None = None


class Aliased(BaseModel):
    order_id: str = Field(alias="orderId")


def order() -> Any:
    message = OrderMessage(order_id="o-1", cents=5, state=1, tags={"a": 1}, card="4711")
    message.lines.add(sku="x", count=2)
    message.at.FromDatetime(dt.datetime(2026, 1, 2, tzinfo=dt.UTC))
    return message


def framed(number: int, indexes: bytes, message: Any) -> bytes:
    return b"\0" + number.to_bytes(4) + indexes + message.SerializeToString()


class TestReading:
    async def test_gives_the_generated_class(self, server: InMemoryRegistry, registry: SchemaRegistry) -> None:
        number = server.register("orders-value", ORDERS, "PROTOBUF").id
        decoded = await decode(Protobuf(registry), OrderMessage, framed(number, b"\0", order()))
        assert isinstance(decoded, OrderMessage)
        assert decoded == order()

    async def test_gives_a_model(self, server: InMemoryRegistry, registry: SchemaRegistry) -> None:
        number = server.register("orders-value", ORDERS, "PROTOBUF").id
        assert await decode(Protobuf(registry), Order, framed(number, b"\0", order())) == Order(
            order_id="o-1",
            cents=5,
            state=State.PAID,
            lines=[Line(sku="x", count=2)],
            tags={"a": 1},
            at=dt.datetime(2026, 1, 2, tzinfo=dt.UTC),
            card="4711",
        )

    async def test_a_model_may_know_the_names_of_json(self, server: InMemoryRegistry, registry: SchemaRegistry) -> None:
        number = server.register("orders-value", ORDERS, "PROTOBUF").id
        assert await decode(Protobuf(registry), Aliased, framed(number, b"\0", order())) == Aliased(orderId="o-1")

    async def test_fields_that_are_not_set_are_left_out_if_the_schema_can_tell(
        self, server: InMemoryRegistry, registry: SchemaRegistry
    ) -> None:
        number = server.register("orders-value", ORDERS, "PROTOBUF").id
        decoded = await decode(Protobuf(registry), dict, framed(number, b"\0", OrderMessage()))
        assert decoded == {"order_id": "", "cents": 0, "state": "NEW", "lines": [], "tags": {}}

    @pytest.mark.parametrize(
        ("indexes", "message", "name"),
        [
            (b"\0", order(), "shop.Order"),
            (b"\2\0", order(), "shop.Order"),
            (b"\2\2", CancelledMessage(order_id="o-1"), "shop.Cancelled"),
            (b"\4\0\0", LineMessage(sku="x"), "shop.Order.Line"),
        ],
    )
    async def test_the_message_in_the_value_gives_the_event_type(
        self, server: InMemoryRegistry, registry: SchemaRegistry, indexes: bytes, message: Any, name: str
    ) -> None:
        one, number = Protobuf(registry), server.register("orders-value", ORDERS, "PROTOBUF").id
        value = framed(number, indexes, message)
        assert await decode(one, type(message), value) == message
        assert one.schema_name_reader()(FakeRecord(value)) == name

    async def test_an_older_class_reads_a_newer_schema(
        self, server: InMemoryRegistry, registry: SchemaRegistry
    ) -> None:
        newer = ORDERS.replace("string order_id = 1;\n}", "string order_id = 1;\n  string why = 2;\n}")
        number = server.register("orders-value", newer, "PROTOBUF").id
        [newer_class] = classes(newer, "shop.Cancelled")
        decoded = await decode(
            Protobuf(registry), CancelledMessage, framed(number, b"\2\2", newer_class(order_id="o-1", why="w"))
        )
        assert decoded.order_id == "o-1"

    async def test_resolves_references(self, server: InMemoryRegistry, registry: SchemaRegistry) -> None:
        server.register("money.proto", 'syntax = "proto3"; package m; message Money { int64 cents = 1; }', "PROTOBUF")
        bill = 'syntax = "proto3"; package b; import "money.proto"; message Bill { m.Money total = 1; }'
        references = [{"name": "money.proto", "subject": "money.proto", "version": 1}]
        number = server.register("bills-value", bill, "PROTOBUF", references).id
        value = b"\0" + number.to_bytes(4) + b"\0" + b"\x0a\x02\x08\x05"
        assert await decode(Protobuf(registry), dict, value) == {"total": {"cents": 5}}

    async def test_reads_a_schema_that_is_a_description_in_base64(
        self, server: InMemoryRegistry, registry: SchemaRegistry
    ) -> None:
        text = base64.b64encode(parse_proto_file(ORDERS, "x.proto").SerializeToString()).decode()
        number = server.register("orders-value", text, "PROTOBUF").id
        assert await decode(Protobuf(registry), OrderMessage, framed(number, b"\0", order())) == order()

    @pytest.mark.parametrize("header_indexes", [b"", b"\0"])
    async def test_reads_the_guid_and_the_message_in_a_header(
        self, server: InMemoryRegistry, registry: SchemaRegistry, header_indexes: bytes
    ) -> None:
        guid = server.register("orders-value", ORDERS, "PROTOBUF").guid
        header = ("__value_schema_id", b"\1" + guid.bytes + header_indexes)
        decoded = await decode(Protobuf(registry), OrderMessage, order().SerializeToString(), [header])
        assert decoded == order()

    @pytest.mark.parametrize(
        ("tail", "text"),
        [
            (b"\2\2", "it is a message of type shop.Cancelled, not shop.Order"),
            (b"\2\x14", r"schema 1 has no message number \[10\]"),
            (b"\xff\xff\xff\xff\xff\xff", "it does not say which message of its schema it is"),
            (b"", "it does not say which message of its schema it is"),
            (b"\1", "it does not say which message of its schema it is"),
            (b"\0\x0a\x06secre", "its bytes do not fit schema 1: DecodeError"),
        ],
    )
    async def test_a_value_that_does_not_fit_says_why(
        self, server: InMemoryRegistry, registry: SchemaRegistry, tail: bytes, text: str
    ) -> None:
        server.register("orders-value", ORDERS, "PROTOBUF")
        with pytest.raises(FormatError, match=text) as raised:
            await decode(Protobuf(registry), OrderMessage, b"\0\0\0\0\1" + tail)
        assert "secre" not in str(raised.value)

    @pytest.mark.parametrize(
        ("schema", "text"),
        [
            ("not a proto file", "it is not the text of a .proto file: unexpected 'not'"),
            ('syntax = "proto3"; message A { B b = 1; }', "schema 1 cannot be used"),
            ('syntax = "proto3"; import "other.proto"; message A {}', "it imports other.proto, which is not among its"),
            ('syntax = "proto3"; import "google/nothing.proto"; message A {}', "which is not installed"),
            ('syntax = "proto3"; message A {', "it ends too early"),
        ],
    )
    async def test_a_schema_that_cannot_be_used_is_the_records_failure(
        self, server: InMemoryRegistry, registry: SchemaRegistry, schema: str, text: str
    ) -> None:
        server.register("orders-value", schema, "PROTOBUF")
        with pytest.raises(FormatError, match=text):
            await decode(Protobuf(registry), dict, b"\0\0\0\0\1\0")


class TestWriting:
    @pytest.mark.parametrize(
        ("message", "indexes"),
        [(order(), b"\0"), (CancelledMessage(order_id="x"), b"\2\2"), (LineMessage(), b"\4\0\0")],
    )
    async def test_a_generated_class_is_written_with_its_place_in_the_schema(
        self, server: InMemoryRegistry, registry: SchemaRegistry, message: Any, indexes: bytes
    ) -> None:
        write = await Protobuf(registry, auto_register=True).encoder(outgoing(type(message)))
        [one] = server.versions("orders-value")
        assert write(message) == framed(one.id, indexes, message)

    async def test_a_class_may_be_written_by_the_latest_schema(
        self, server: InMemoryRegistry, registry: SchemaRegistry
    ) -> None:
        moved = ORDERS.replace("message Cancelled", "message First {}\nmessage Cancelled")
        number = server.register("orders-value", moved, "PROTOBUF").id
        write = await Protobuf(registry, schema="latest").encoder(outgoing(CancelledMessage))
        assert write(CancelledMessage(order_id="x")) == framed(number, b"\2\4", CancelledMessage(order_id="x"))

    @pytest.mark.parametrize("annotation", [Order, dict])
    async def test_other_types_are_written_by_the_latest_schema(
        self, server: InMemoryRegistry, registry: SchemaRegistry, annotation: Any
    ) -> None:
        server.register("orders-value", ORDERS, "PROTOBUF")
        protobuf = Protobuf(registry)
        write = await protobuf.encoder(outgoing(annotation))
        event = Order(
            order_id="o-1", cents=5, state=State.PAID, lines=[Line(sku="x", count=2)], tags={"a": 1}, note="n", card="4"
        )
        written = write(event if annotation is Order else event.model_dump())
        assert await decode(protobuf, Order, written) == event

    @pytest.mark.parametrize(
        ("event", "text"),
        [
            ({"order_id": "a", "wrong": 1}, "the message has no field wrong"),
            ({"cents": "secret"}, "field cents has another type"),
        ],
    )
    async def test_an_event_that_does_not_fit_names_the_field_and_not_the_value(
        self, server: InMemoryRegistry, registry: SchemaRegistry, event: Any, text: str
    ) -> None:
        server.register("orders-value", ORDERS, "PROTOBUF")
        write = await Protobuf(registry).encoder(outgoing(dict))
        with pytest.raises(FormatError, match=text) as raised:
            write(event)
        assert "secret" not in str(raised.value)

    async def test_a_class_whose_file_imports_others_needs_the_latest_schema(self, registry: SchemaRegistry) -> None:
        from google.protobuf import descriptor_pool, message_factory

        pool = descriptor_pool.DescriptorPool()
        pool.Add(parse_proto_file('syntax = "proto3"; message Money {}', "money.proto"))
        pool.Add(
            parse_proto_file('syntax = "proto3"; import "money.proto"; message Bill { Money m = 1; }', "bill.proto")
        )
        bill = message_factory.GetMessageClass(pool.FindMessageTypeByName("Bill"))
        with pytest.raises(ConfigError, match=r"Bill: its file imports money.proto.*schema=\"latest\""):
            await Protobuf(registry).encoder(outgoing(bill))


class TestTheTextOfAFile:
    def test_is_read_and_written(self) -> None:
        file = parse_proto_file(ORDERS, "orders.proto")
        [message] = classes(ORDERS, "shop.Order")
        compiled = type(file)()
        message.DESCRIPTOR.file.CopyToProto(compiled)
        assert classes(proto_text_of(compiled), "shop.Order")[0].DESCRIPTOR.fields_by_name.keys() == (
            message.DESCRIPTOR.fields_by_name.keys()
        )
        again = type(file)()
        classes(proto_text_of(compiled), "shop.Order")[0].DESCRIPTOR.file.CopyToProto(again)
        assert again == compiled

    def test_may_have_what_does_not_matter(self) -> None:
        file = parse_proto_file(
            """
            // a comment with "quotes" {
            syntax = 'proto2'; /* another
            one */ package a.b;
            option java_package = "com.example";
            message M {
              option deprecated = true;
              reserved 3, 5 to 9; reserved "old";
              extensions 100 to 199;
              required string name = 1 [json_name = "theName", deprecated = true];
              optional int32 n = 2 [default = -5];
              repeated .a.b.M more = 4 [packed = false];
              enum E { option allow_alias = true; A = 0; B = 0 [deprecated = true]; C = -1; reserved 7; }
              oneof o { option (x).y = { a: 1 }; string s = 10; }
            }
            extend M { optional string ext = 100; }
            service S { rpc Call (M) returns (M) { option (g).h = "x"; } }
            """,
            "m.proto",
        )
        [message] = file.message_type
        assert (file.syntax, file.package, message.field[0].json_name) == ("proto2", "a.b", "theName")
        assert [field.name for field in message.field] == ["name", "n", "more", "s"]
        assert [value.number for value in message.enum_type[0].value] == [0, 0, -1]


def test_without_a_registry_a_value_is_the_message_alone() -> None:
    assert decoder_for(OrderMessage).from_bytes(order().SerializeToString()) == order()
    assert encoder_for(OrderMessage | None)(order()) == encode(order()) == order().SerializeToString()
