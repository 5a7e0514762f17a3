"""Values in Avro: read by the schema that they were written with, and written by one that the registry has."""

from __future__ import annotations

import datetime as dt
import decimal
import enum
import io
import json
import uuid
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import fastavro
import pytest
from pydantic import BaseModel, ConfigDict, Field, HttpUrl, RootModel, ValidationError, field_serializer
from typing_extensions import TypedDict

from evkafka.exceptions import ConfigError
from evkafka.formats import Avro, AvroType, SchemaRegistry
from evkafka.serde.decoding import decoder_for
from evkafka.serde.formats.interface import FormatError
from evkafka.testing import InMemoryRegistry
from tests.serde.formats.values import decode, outgoing
from tests.support.endpoint_calls import FakeRecord

ORDER: dict[str, Any] = {
    "type": "record",
    "name": "Order",
    "namespace": "shop",
    "fields": [{"name": "id", "type": "string"}, {"name": "cents", "type": "long"}],
}
NEWER = {**ORDER, "fields": [*ORDER["fields"], {"name": "note", "type": ["null", "string"], "default": None}]}


class Order(BaseModel):
    id: str
    cents: int
    note: str | None = None


@dataclass
class OrderData:
    id: str
    cents: int


class OrderDict(TypedDict):
    id: str
    cents: int


def written(schema: Any, event: Any, number: int) -> bytes:
    stream = io.BytesIO(b"\0" + number.to_bytes(4))
    stream.seek(0, io.SEEK_END)
    fastavro.schemaless_writer(stream, fastavro.parse_schema(schema), event)
    return stream.getvalue()


class TestReading:
    @pytest.mark.parametrize(
        ("annotation", "payload"),
        [
            (Order, Order(id="o-1", cents=5)),
            (OrderData, OrderData("o-1", 5)),
            (OrderDict, {"id": "o-1", "cents": 5}),
            (dict, {"id": "o-1", "cents": 5}),
            (dict[str, Any] | None, {"id": "o-1", "cents": 5}),
        ],
    )
    async def test_gives_the_type_that_the_endpoint_declares(
        self, server: InMemoryRegistry, registry: SchemaRegistry, annotation: Any, payload: Any
    ) -> None:
        number = server.register("orders-value", ORDER).id
        value = written(ORDER, {"id": "o-1", "cents": 5}, number)
        assert await decode(Avro(registry), annotation, value) == payload

    async def test_asks_for_each_schema_once(self, server: InMemoryRegistry, registry: SchemaRegistry) -> None:
        number, avro = server.register("orders-value", ORDER).id, Avro(registry)
        for _ in range(3):
            await decode(avro, Order, written(ORDER, {"id": "o-1", "cents": 5}, number))
        assert [request.path for request in server.requests] == [f"/schemas/ids/{number}"]

    async def test_uses_the_schema_that_each_value_was_written_with(
        self, server: InMemoryRegistry, registry: SchemaRegistry
    ) -> None:
        avro = Avro(registry)
        older, newer = server.register("orders-value", ORDER).id, server.register("orders-value", NEWER).id
        decoded = [
            await decode(avro, Order, written(ORDER, {"id": "a", "cents": 1}, older)),
            await decode(avro, Order, written(NEWER, {"id": "b", "cents": 2, "note": "n"}, newer)),
        ]
        assert decoded == [Order(id="a", cents=1), Order(id="b", cents=2, note="n")]

    async def test_reads_the_schemas_guid_in_a_header(self, server: InMemoryRegistry, registry: SchemaRegistry) -> None:
        guid = server.register("orders-value", ORDER).guid
        content = written(ORDER, {"id": "o-1", "cents": 5}, 0)[5:]
        header = ("__value_schema_id", b"\1" + guid.bytes)
        assert await decode(Avro(registry), Order, content, [("x", b"y"), header]) == Order(id="o-1", cents=5)

    @pytest.mark.parametrize("in_header", [True, False])
    async def test_compiles_a_schema_with_a_guid_once(
        self, server: InMemoryRegistry, registry: SchemaRegistry, monkeypatch: pytest.MonkeyPatch, in_header: bool
    ) -> None:
        guid = b"\1" + server.register("orders-value", ORDER).guid.bytes
        content = written(ORDER, {"id": "o-1", "cents": 5}, 0)[5:]
        headers = [("__value_schema_id", guid)] if in_header else []
        value, avro = content if in_header else guid + content, Avro(registry)
        await decode(avro, Order, value, headers)
        record, parsed = FakeRecord(value, headers), list[Any]()
        parse = fastavro.parse_schema
        monkeypatch.setattr(fastavro, "parse_schema", lambda *given: parsed.append(given) or parse(*given))
        decode_it, name_of = avro.decoder(Order, decoder_for(Order)), avro.schema_name_reader()
        found = [(decode_it(value, record), name_of(record)) for _ in range(3)]
        assert found == [(Order(id="o-1", cents=5), "shop.Order")] * 3
        assert len(parsed) == 2  # once for the reader, once for the name

    async def test_a_header_decides_even_if_the_value_begins_like_an_id(
        self, server: InMemoryRegistry, registry: SchemaRegistry
    ) -> None:
        number = server.register("orders-value", ORDER).id
        server.register("raw", {"type": "bytes"})  # schema 2, with whose id the value seems to begin
        avro = Avro(registry)
        await decode(avro, Order, written(ORDER, {"id": "o-1", "cents": 5}, number))
        empty = {"type": "record", "name": "Zero", "fields": [{"name": f, "type": "int"} for f in "abcde"]}
        guid = server.register("zero", empty).guid
        header = ("__value_schema_id", b"\1" + guid.bytes)
        assert await decode(avro, dict, b"\0\0\0\0\2", [header]) == {"a": 0, "b": 0, "c": 0, "d": 0, "e": 1}

    async def test_resolves_references(self, server: InMemoryRegistry, registry: SchemaRegistry) -> None:
        money = {"type": "record", "name": "shop.Money", "fields": [{"name": "cents", "type": "long"}]}
        server.register("money", money)
        bill = {"type": "record", "name": "shop.Bill", "fields": [{"name": "total", "type": "shop.Money"}]}
        number = server.register(
            "bills-value", bill, references=[{"name": "shop.Money", "subject": "money", "version": 1}]
        ).id
        whole = {**bill, "fields": [{"name": "total", "type": money}]}
        value = written(whole, {"total": {"cents": 7}}, number)
        assert await decode(Avro(registry), dict, value) == {"total": {"cents": 7}}

    async def test_gives_values_of_logical_types(self, server: InMemoryRegistry, registry: SchemaRegistry) -> None:
        fields = [
            {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
            {"name": "key", "type": {"type": "string", "logicalType": "uuid"}},
            {"name": "sum", "type": {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}},
        ]
        schema = {"type": "record", "name": "Typed", "fields": fields}
        number = server.register("typed-value", schema).id
        event = {"at": dt.datetime(2026, 1, 2, tzinfo=dt.UTC), "key": uuid.UUID(int=1), "sum": decimal.Decimal("1.50")}

        class Typed(BaseModel):
            at: dt.datetime
            key: uuid.UUID
            sum: decimal.Decimal

        value = written(schema, event, number)
        assert (await decode(Avro(registry), Typed, value)).model_dump() == event

    async def test_takes_what_the_type_takes_from_json(
        self, server: InMemoryRegistry, registry: SchemaRegistry
    ) -> None:
        fields = [
            {"name": "key", "type": {"type": "string", "logicalType": "uuid"}},
            {"name": "side", "type": {"type": "enum", "name": "Side", "symbols": ["BUY", "SELL"]}},
        ]
        schema = {"type": "record", "name": "Typed", "fields": fields}
        number = server.register("typed-value", schema).id

        class Side(enum.Enum):
            BUY = "BUY"

        class Typed(BaseModel):
            model_config = ConfigDict(strict=True)
            key: str
            side: Side

        value = written(schema, {"key": uuid.UUID(int=1), "side": "BUY"}, number)
        assert await decode(Avro(registry), Typed, value) == Typed(key=str(uuid.UUID(int=1)), side=Side.BUY)

    async def test_leaves_bytes_as_they_are(self, registry: SchemaRegistry) -> None:
        assert await decode(Avro(registry), bytes, b"\0\0\0\0\7x") == b"\0\0\0\0\7x"

    async def test_gives_the_text_of_a_string(self, server: InMemoryRegistry, registry: SchemaRegistry) -> None:
        number, avro = server.register("names-value", '"string"').id, Avro(registry, fallback="json")
        for annotation in (str, str | None, Annotated[str, Field(max_length=9)]):
            assert await decode(avro, annotation, written("string", "Zoë", number)) == "Zoë"
        assert await decode(avro, str, b"a text without a schema") == "a text without a schema"

    async def test_gives_no_text_of_another_type(self, server: InMemoryRegistry, registry: SchemaRegistry) -> None:
        number = server.register("orders-value", ORDER).id
        with pytest.raises(ValidationError, match="valid string"):
            await decode(Avro(registry), str, written(ORDER, {"id": "o-1", "cents": 5}, number))

    async def test_reads_json_too_during_a_migration(self, server: InMemoryRegistry, registry: SchemaRegistry) -> None:
        avro, number = Avro(registry, fallback="json"), server.register("orders-value", ORDER).id
        assert await decode(avro, Order, b'{"id": "o-1", "cents": 5}') == Order(id="o-1", cents=5)
        assert await decode(avro, Order, written(ORDER, {"id": "o-2", "cents": 6}, number)) == Order(id="o-2", cents=6)


class TestValuesThatCannotBeRead:
    @pytest.mark.parametrize(
        ("value", "text"),
        [
            (
                b'{"id": "secret"}',
                r"it does not begin with the magic byte 0 .* add fallback=\"json\" to Avro\(",
            ),
            (b"", "magic byte 0"),
            (b"\0\0\0", "it does not begin with the id of a schema"),
            (b"\0\0\0\0\x63secret", "answered 404: Schema 99 not found"),
            (b"\0\0\0\0\1\x0csecr", "its bytes do not fit schema 1: they end too early"),
            (b"\0\0\0\0\1\x0csecret\2more", "its bytes do not fit schema 1: there are more of them"),
            (b"\0\0\0\0\2", "its schema 2 is of type JSON, not AVRO"),
            (b"\0\0\0\0\3", "schema 3 cannot be used: UnknownType: Missing"),
        ],
    )
    async def test_say_why_and_nothing_of_the_value(
        self, server: InMemoryRegistry, registry: SchemaRegistry, value: bytes, text: str
    ) -> None:
        server.register("orders-value", ORDER)
        server.register("json-value", {"type": "object"}, "JSON")
        server.register("bad-value", {"type": "record", "name": "Bad", "fields": [{"name": "x", "type": "Missing"}]})
        with pytest.raises(FormatError, match=text) as raised:
            await decode(Avro(registry), Order, value)
        assert "secr" not in str(raised.value)

    async def test_of_an_unknown_schema_are_asked_for_once_a_minute(
        self, server: InMemoryRegistry, registry: SchemaRegistry
    ) -> None:
        avro = Avro(registry)
        for _ in range(3):
            with pytest.raises(FormatError):
                await decode(avro, Order, b"\0\0\0\0\x63")
        assert len(server.requests) == 1

    async def test_with_a_cut_off_header(self, registry: SchemaRegistry) -> None:
        with pytest.raises(FormatError, match="its header __value_schema_id does not begin with the id of a schema"):
            await decode(Avro(registry), Order, b"x", [("__value_schema_id", b"\1\2")])


class Currency(enum.Enum):
    EUR = "EUR"


class Card(BaseModel):
    kind: Literal["card"] = "card"
    number: str


class Bank(BaseModel):
    kind: Literal["bank"] = "bank"
    number: str


class Payment(BaseModel):
    key: uuid.UUID
    total: Annotated[decimal.Decimal, Field(max_digits=9, decimal_places=2)]
    at: dt.datetime
    day: dt.date
    currency: Currency
    by: Annotated[Card | Bank, Field(discriminator="kind")]
    note: str | None = None
    page: HttpUrl | None = None
    tags: dict[str, list[int]] = {}


PAYMENT = Payment(
    key=uuid.UUID(int=7),
    total=decimal.Decimal("12.50"),
    at=dt.datetime(2026, 1, 2, 3, 4, 5, 678_000, tzinfo=dt.UTC),
    day=dt.date(2026, 1, 2),
    currency=Currency.EUR,
    by=Bank(number="1"),
    page=HttpUrl("http://a.example/b"),
    tags={"a": [1, 2]},
)


class Name(str, enum.Enum):  # noqa: UP042 - a StrEnum is formatted as its value
    orders = "orders"
    shop = "shop"


class TestWriting:
    async def test_what_is_written_can_be_read(self, server: InMemoryRegistry, registry: SchemaRegistry) -> None:
        avro = Avro(registry, auto_register=True)
        encode = await avro.encoder(outgoing(Payment))
        assert await decode(avro, Payment, encode(PAYMENT)) == PAYMENT

    @pytest.mark.parametrize(
        ("subject", "namespace", "name"),
        [
            ("topic", None, "orders-value"),
            ("record", None, "Order"),
            ("record", "shop", "shop.Order"),
            ("topic-record", "shop", "orders-shop.Order"),
        ],
    )
    async def test_the_subject_is_named_by_the_strategy(
        self, server: InMemoryRegistry, registry: SchemaRegistry, subject: Any, namespace: str | None, name: str
    ) -> None:
        await Avro(registry, subject=subject, namespace=namespace, auto_register=True).encoder(outgoing(Order))
        assert len(server.versions(name)) == 1

    async def test_names_that_are_members_of_a_str_enumeration_are_their_values(
        self, server: InMemoryRegistry, registry: SchemaRegistry
    ) -> None:
        avro = Avro(registry, subject="topic-record", namespace=Name.shop, auto_register=True)
        await avro.encode(Order(id="o-1", cents=5), topic=Name.orders)
        assert len(server.versions("orders-shop.Order")) == 1

    async def test_a_schema_that_is_missing_is_an_error_that_shows_it(
        self, server: InMemoryRegistry, registry: SchemaRegistry
    ) -> None:
        with pytest.raises(ConfigError) as raised:
            await Avro(registry).encoder(outgoing(Order))
        text = str(raised.value)
        assert "endpoint send: its schema is not in subject 'orders-value' of schema registry http://127.0.0.1" in text
        assert "`evkafka schemas register MODULE:APP`" in text
        assert json.loads(text.splitlines()[-1])["name"] == "Order"
        assert server.versions("orders-value") == []

    @pytest.mark.parametrize(("auto_register", "command"), [(False, "register"), (True, "check")])
    async def test_a_schema_that_is_incompatible_is_an_error_with_the_reasons_the_command_and_the_schema(
        self, server: InMemoryRegistry, registry: SchemaRegistry, auto_register: bool, command: str
    ) -> None:
        server.register("orders-value", ORDER)
        server.make_incompatible("orders-value", "note has no default")
        with pytest.raises(ConfigError, match="note has no default") as raised:
            await Avro(registry, auto_register=auto_register).encoder(outgoing(Order))
        text = str(raised.value)
        assert f"`evkafka schemas {command} MODULE:APP`" in text
        assert json.loads(text.splitlines()[-1])["name"] == "Order"

    async def test_a_type_that_avro_cannot_say_is_an_error_that_names_the_field(self, registry: SchemaRegistry) -> None:
        class Loose(BaseModel):
            extra: Any

        with pytest.raises(ConfigError, match=r"endpoint send: Loose.extra: Avro has no type for Any"):
            await Avro(registry).encoder(outgoing(Loose))

    async def test_an_avro_type_that_is_none_is_an_error(self, registry: SchemaRegistry) -> None:
        class Wrong(BaseModel):
            at: Annotated[int, AvroType("nonsense")]

        with pytest.raises(ConfigError, match="endpoint send: Wrong: Avro does not allow its schema: UnknownType"):
            await Avro(registry).encoder(outgoing(Wrong))

    async def test_a_field_is_written_as_its_serializer_returns_it(
        self, server: InMemoryRegistry, registry: SchemaRegistry
    ) -> None:
        class Price(BaseModel):
            amount: decimal.Decimal = decimal.Decimal(1)
            cents: int = 0

            @field_serializer("amount")
            def as_text(self, amount: decimal.Decimal) -> str:
                return str(amount)

            @field_serializer("cents", when_used="json")
            def shown(self, cents: int) -> str:
                return f"{cents} c"

        encode = await Avro(registry, auto_register=True).encoder(outgoing(Price))
        [version] = server.versions("orders-value")
        fields = [{"name": "amount", "type": "string"}, {"name": "cents", "type": "long", "default": 0}]
        assert json.loads(version.schema)["fields"] == fields
        assert await decode(Avro(registry), Price, encode(Price(cents=5))) == Price(cents=5)

    async def test_a_literal_and_a_root_model_are_written(
        self, server: InMemoryRegistry, registry: SchemaRegistry
    ) -> None:
        for annotation, event in ((Literal["a", "b"], "a"), (RootModel[list[int]], RootModel[list[int]]([1, 2]))):
            encode = await Avro(registry, auto_register=True).encoder(outgoing(annotation))
            assert await decode(Avro(registry), annotation, encode(event)) == event

    async def test_a_text_is_written_as_a_string(self, server: InMemoryRegistry, registry: SchemaRegistry) -> None:
        encode = await Avro(registry, auto_register=True).encoder(outgoing(str))
        [version] = server.versions("orders-value")
        assert version.schema == '"string"'
        assert encode("Zoë") == written("string", "Zoë", version.id)

    @pytest.mark.parametrize("annotation", [dict, dict[str, Any], dict | None, Any])
    async def test_a_dict_is_written_by_the_latest_schema(
        self, server: InMemoryRegistry, registry: SchemaRegistry, annotation: Any
    ) -> None:
        server.register("orders-value", ORDER)
        number, avro = server.register("orders-value", NEWER).id, Avro(registry)
        encode = await avro.encoder(outgoing(annotation))
        assert encode({"id": "o-1", "cents": 5}) == written(NEWER, {"id": "o-1", "cents": 5}, number)

    async def test_a_model_may_be_written_by_the_latest_schema(
        self, server: InMemoryRegistry, registry: SchemaRegistry
    ) -> None:
        number = server.register("orders-value", NEWER).id
        encode = await Avro(registry, schema="latest").encoder(outgoing(Order))
        assert encode(Order(id="o-1", cents=5)) == written(NEWER, {"id": "o-1", "cents": 5, "note": None}, number)

    async def test_no_schema_to_write_by_is_an_error(self, registry: SchemaRegistry) -> None:
        with pytest.raises(ConfigError, match="the latest schema of subject 'orders-value', but there is none"):
            await Avro(registry).encoder(outgoing(dict))

    @pytest.mark.parametrize(
        ("change", "text"),
        [
            ({"at": dt.datetime(2026, 1, 2)}, "at is a datetime without a time zone"),  # noqa: DTZ001
            ({"total": decimal.Decimal("1.234")}, "it does not fit schema 1: Scale provided"),
            ({"note": 5}, "it does not fit schema 1: Payment.note is int"),
            ({"currency": "secret"}, "it does not fit schema 1: Payment.currency is str"),
        ],
    )
    @pytest.mark.filterwarnings("ignore:Pydantic serializer warnings")
    async def test_an_event_that_does_not_fit_names_the_field_and_not_the_value(
        self, server: InMemoryRegistry, registry: SchemaRegistry, change: Any, text: str
    ) -> None:
        encode = await Avro(registry, auto_register=True).encoder(outgoing(Payment))
        with pytest.raises(FormatError) as raised:
            encode(PAYMENT.model_copy(update=change))
        assert text in str(raised.value)
        assert "secret" not in str(raised.value)

    async def test_an_event_of_another_type_is_refused(self, registry: SchemaRegistry) -> None:
        encode = await Avro(registry, auto_register=True).encoder(outgoing(Order))
        with pytest.raises(TypeError, match="expected Order, got dict"):
            encode({"id": "o-1"})

    async def test_an_event_may_be_encoded_without_a_sender(
        self, server: InMemoryRegistry, registry: SchemaRegistry
    ) -> None:
        number = server.register("orders-value", ORDER).id
        avro = Avro(registry)
        for _ in range(2):
            value = await avro.encode({"id": "o-1", "cents": 5}, topic="orders")
            assert value == written(ORDER, {"id": "o-1", "cents": 5}, number)
        assert len(server.requests) == 1


class TestArguments:
    @pytest.mark.parametrize(
        ("options", "text"),
        [
            ({"subject": "value"}, "subject is 'topic', 'record' or 'topic-record'"),
            ({"fallback": "xml"}, "fallback is None or 'json'"),
            ({"schema": "first"}, "schema is 'model' or 'latest'"),
            ({"auto_register": "yes"}, "auto_register is True or False"),
            ({"namespace": "a b"}, "namespace is names with dots between them, as \"com.example\"; got 'a b'"),
        ],
    )
    def test_that_are_unknown_are_errors(self, options: Any, text: str) -> None:
        with pytest.raises(ConfigError, match=text):
            Avro(SchemaRegistry("http://registry"), **options)

    def test_need_a_registry(self) -> None:
        with pytest.raises(
            ConfigError, match=r'Avro needs a registry: Avro\(SchemaRegistry\("http://localhost:8081"\)\)'
        ):
            Avro("http://registry")  # type: ignore[arg-type]
