"""A payload that a Sender sends is what a Handler of its type gets, and what the AsyncAPI document describes."""

from __future__ import annotations

import dataclasses
import datetime as dt
import decimal
import enum
import json
import math
import uuid
from collections import deque
from collections.abc import Mapping
from typing import Annotated, Any, Generic, Literal, NewType, TypeVar

import attrs
import jsonschema
import msgspec
import pytest
from pydantic import (
    AnyUrl,
    BaseModel,
    ConfigDict,
    Field,
    PlainSerializer,
    Secret,
    SecretBytes,
    SecretStr,
    StrictBytes,
    StrictStr,
    StringConstraints,
    computed_field,
    field_serializer,
)
from pydantic.alias_generators import to_camel
from typing_extensions import TypeAliasType, TypedDict

from evkafka import ConfigError, EVKafkaApp, Handler, Sender
from evkafka.exceptions import EncodeError
from evkafka.sender import OutboundEndpoint
from evkafka.testing import TestClient

T = TypeVar("T")
NEW_YEAR = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
Id = NewType("Id", str)
Code = NewType("Code", Id)
Raw = NewType("Raw", bytes)
Short = Annotated[str, Field(max_length=30)]
Alias = TypeAliasType("Alias", str)
MaybeShort = TypeAliasType("MaybeShort", Short | None)
Nested = TypeAliasType("Nested", MaybeShort | None)
Maybe = TypeAliasType("Maybe", T | None, type_params=(T,))
Same = TypeAliasType("Same", T, type_params=(T,))


class Colour(enum.StrEnum):
    RED = "red"


class Aliased(BaseModel):
    order_id: str = Field(alias="orderId")


class Camel(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True)
    order_id: str


class Written(BaseModel):
    order_id: str = Field(serialization_alias="orderId")


class Page(BaseModel, Generic[T]):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True)
    the_items: list[T]


@dataclasses.dataclass
class Data:
    order_id: Annotated[str, Field(alias="orderId")]


@dataclasses.dataclass
class CamelData:
    __pydantic_config__ = ConfigDict(alias_generator=to_camel, populate_by_name=True)
    order_id: str


class Typed(TypedDict):
    order_id: Annotated[str, Field(alias="orderId")]


class Struct(msgspec.Struct, rename="camel"):
    order_id: str
    inner: Aliased


def sender_of(annotation: Any) -> OutboundEndpoint[Any]:
    async def send(event: Any) -> None: ...

    send.__annotations__["event"] = annotation
    return Sender().event("E", topic="t")(send)


def value_of(annotation: Any, event: Any) -> bytes:
    value = sender_of(annotation)._outbound.value(event, "t")
    assert value is not None
    return value


class Round:
    """An app with an endpoint for the event that it sends."""

    def __init__(self, annotation: Any) -> None:
        self.seen: list[Any] = []
        handler, sender = Handler(), Sender()

        async def send(event: Any) -> None: ...

        async def on_event(event: Any) -> None:
            self.seen.append(event)

        send.__annotations__["event"] = on_event.__annotations__["event"] = annotation
        self.send = sender.event("E", topic="t")(send)
        handler.event("E")(on_event)

        @handler.event("Go")
        async def on_go(event: dict[str, Any]) -> None:
            await self.send(self.event)

        self.app = EVKafkaApp()
        self.app.add_consumer({"topics": ["t"], "group_id": "g"}, handler)
        self.app.add_producer({}, sender)

    def run(self, event: Any) -> bytes:
        """Send the event; returns its bytes. The payload that the endpoint got is in `seen`."""
        self.event = event
        with TestClient(self.app) as client:
            client.send_event({}, "Go", "t")
            value = client.sent[0].value
            client.send_event(value, "E", "t")
        return value


TEXTS = [str, Short, Short | None, StrictStr, Id, Code, Id | None, Alias, MaybeShort, Nested, Maybe[str], Same[str]]
TEXTS += [Annotated[str, StringConstraints(pattern="^a")], Annotated[str | None, Field(max_length=9)]]
BYTES = [bytes, Annotated[bytes, Field(max_length=30)], StrictBytes, Raw, Raw | None]


class TestTextAndBytes:
    @pytest.mark.parametrize("annotation", TEXTS, ids=str)
    def test_text_of_any_name_goes_out_as_it_is_and_comes_back(self, annotation: Any) -> None:
        app = Round(annotation)
        assert (app.run("abcé"), app.seen) == ("abcé".encode(), ["abcé"])
        assert content_types(app.app) == {"text/plain"}

    @pytest.mark.parametrize("annotation", BYTES, ids=str)
    def test_bytes_of_any_name_go_out_as_they_are_and_come_back(self, annotation: Any) -> None:
        app = Round(annotation)
        assert (app.run(b"\xffabc"), app.seen) == (b"\xffabc", [b"\xffabc"])
        assert content_types(app.app) == {"application/octet-stream"}

    @pytest.mark.parametrize(
        ("annotation", "event"),
        [
            (Literal["a", "b"], "a"),
            (Colour, Colour.RED),
            (AnyUrl, AnyUrl("http://x/")),
            (uuid.UUID, uuid.UUID(int=1)),
            (str | int, "a"),
            (list[Short], ["a"]),
        ],
        ids=str,
    )
    def test_what_is_not_text_but_only_written_like_it_is_json_both_ways(self, annotation: Any, event: Any) -> None:
        app = Round(annotation)
        value = app.run(event)
        json.loads(value)
        assert app.seen == [event]
        assert content_types(app.app) == {"application/json"}

    def test_constraints_are_checked_before_it_is_sent(self) -> None:
        with pytest.raises(EncodeError, match="at most 3 characters"):
            value_of(Annotated[str, Field(max_length=3)], "abcd")

    def test_a_type_that_is_not_written_as_text_says_so(self) -> None:
        odd = Annotated[str, PlainSerializer(lambda text: {"text": text})]
        with pytest.raises(EncodeError, match="is sent as str, but its validators or serializers turn it into dict"):
            value_of(odd, "a")


def content_types(app: EVKafkaApp) -> set[str]:
    messages = json.loads(app.asyncapi())["components"]["messages"]
    return {message["contentType"] for name, message in messages.items() if name != "Go"}


ALIASED = [
    (Aliased, Aliased(orderId="1"), {"orderId": "1"}),
    (Camel, Camel(order_id="1"), {"orderId": "1"}),
    (list[Aliased], [Aliased(orderId="1")], [{"orderId": "1"}]),
    (dict[str, Camel], {"a": Camel(order_id="1")}, {"a": {"orderId": "1"}}),
    (Page[Aliased], Page[Aliased](the_items=[Aliased(orderId="1")]), {"theItems": [{"orderId": "1"}]}),
    (Data, Data("1"), {"orderId": "1"}),
    (list[CamelData], [CamelData("1")], [{"orderId": "1"}]),
    (Typed, {"order_id": "1"}, {"orderId": "1"}),
    (Struct, Struct("1", Aliased(orderId="1")), {"orderId": "1", "inner": {"orderId": "1"}}),
    (Aliased | int, Aliased(orderId="1"), {"orderId": "1"}),
]


class TestAliases:
    @pytest.mark.parametrize(("annotation", "event", "wire"), ALIASED, ids=lambda value: str(value)[:40])
    def test_are_on_the_wire_and_in_the_contract_and_come_back(self, annotation: Any, event: Any, wire: Any) -> None:
        app = Round(annotation)
        assert json.loads(app.run(event)) == wire
        assert app.seen == [event]
        document = json.loads(app.app.asyncapi())
        for name, message in document["components"]["messages"].items():
            if name != "Go":
                jsonschema.validate(wire, {**message["payload"], "components": document["components"]})
        fields = json.dumps(document["components"]["schemas"])
        assert "orderId" in fields
        assert "order_id" not in fields

    @pytest.mark.parametrize(
        ("annotation", "event"),
        [(annotation, event) for annotation, event, _ in ALIASED if annotation is not Typed],
        ids=lambda value: str(value)[:40],
    )
    def test_an_event_that_a_test_delivers_is_written_the_same_way(self, annotation: Any, event: Any) -> None:
        app = Round(annotation)
        with TestClient(app.app) as client:
            client.send_event(event, "E", "t")
        assert app.seen == [event]

    def test_a_serialization_alias_is_written_and_stands_in_the_contract_of_what_is_sent(self) -> None:
        app = Round(Written)
        assert value_of(Written, Written(order_id="1")) == b'{"orderId":"1"}'
        schemas = json.loads(app.app.asyncapi())["components"]["schemas"]
        assert {frozenset(schema["properties"]) for schema in schemas.values()} == {
            frozenset({"orderId"}),
            frozenset({"order_id"}),
        }

    @pytest.mark.parametrize("annotation", [Aliased, Camel, Camel | None])
    def test_the_key_is_described_by_the_name_on_the_wire(self, annotation: Any) -> None:
        async def send(order: Any) -> None: ...

        send.__annotations__["order"] = annotation
        sender, app = Sender(), EVKafkaApp()
        sender.event("E", topic="t", key_field="order_id")(send)
        app.add_producer({}, sender)
        [message] = json.loads(app.asyncapi())["components"]["messages"].values()
        assert message["bindings"]["kafka"]["key"]["description"] == "The payload's `orderId`, as UTF-8"

    def test_a_model_that_writes_itself_is_left_to_it(self) -> None:
        class Own(BaseModel):
            order_id: str = Field(alias="orderId")

            def model_dump_json(self, **options: Any) -> str:
                return super().model_dump_json(by_alias=False)

        assert value_of(Own, Own(orderId="1")) == b'{"order_id":"1"}'


class TestDicts:
    @pytest.mark.parametrize(
        ("annotation", "event", "wire"),
        [
            (dict[str, dt.datetime], {"a": NEW_YEAR}, b'{"a":"2020-01-01T00:00:00Z"}'),
            (dict[str, decimal.Decimal], {"a": decimal.Decimal("1.1")}, b'{"a":"1.1"}'),
            (dict[uuid.UUID, int], {uuid.UUID(int=1): 1}, b'{"00000000-0000-0000-0000-000000000001":1}'),
            (Mapping[str, int], {"a": 1}, b'{"a":1}'),
        ],
        ids=str,
    )
    def test_are_written_by_their_type(self, annotation: Any, event: Any, wire: bytes) -> None:
        assert value_of(annotation, event) == wire

    @pytest.mark.parametrize("annotation", [dict[str, int], Mapping[str, int], dict[str, Any], dict[str, int] | None])
    def test_are_checked_by_their_type(self, annotation: Any) -> None:
        with pytest.raises(EncodeError, match=r"expected .*: Input should be a valid string"):
            value_of(annotation, {1: "not an int"})

    def test_plain_ones_hold_what_pydantic_can_write(self) -> None:
        event = {
            "at": NEW_YEAR,
            "id": uuid.UUID(int=1),
            "sum": decimal.Decimal("1.10"),
            "model": Aliased(orderId="1"),
            "data": [Data("1")],
            "struct": Struct("1", Aliased(orderId="1")),
            uuid.UUID(int=2): {1, 2},
        }
        assert json.loads(value_of(dict, event)) == {
            "at": "2020-01-01T00:00:00Z",
            "id": "00000000-0000-0000-0000-000000000001",
            "sum": "1.10",
            "model": {"orderId": "1"},
            "data": [{"orderId": "1"}],
            "struct": {"orderId": "1", "inner": {"orderId": "1"}},
            "00000000-0000-0000-0000-000000000002": [1, 2],
        }

    @pytest.mark.parametrize("annotation", [dict, dict[str, Any], Any], ids=str)
    def test_what_nobody_can_write_is_named(self, annotation: Any) -> None:
        with pytest.raises(EncodeError, match="an object of type object is not JSON serializable"):
            value_of(annotation, {"a": object()})


class Price(BaseModel):
    price: float | None = None
    note: str | None = None


class Constants(BaseModel):
    model_config = ConfigDict(ser_json_inf_nan="constants")
    price: float


class Strings(BaseModel):
    model_config = ConfigDict(ser_json_inf_nan="strings")
    price: float


@dataclasses.dataclass
class PriceData:
    price: float


class PriceStruct(msgspec.Struct):
    price: float
    model: Price | None = None


@attrs.define
class PriceAttrs:
    price: float


class Open(BaseModel):
    model_config = ConfigDict(extra="allow")
    note: str | None = None


class Queue(BaseModel):
    prices: deque[float]


class Empty(BaseModel):
    """Serializes a price that is not a number itself."""

    price: float
    note: str | None = None

    @field_serializer("price", when_used="json")
    def finite(self, price: float) -> float | None:
        return price if math.isfinite(price) else None


class Nulls(BaseModel):
    model_config = ConfigDict(ser_json_inf_nan="null")
    price: float | None


class TestHalvesOfSurrogatePairs:
    """Python's json module writes them, but no parser of UTF-8 reads them."""

    @pytest.mark.parametrize("event", [{"a": "\ud800"}, {"\udc00": 1}, {"at": NEW_YEAR, "a": ["x\udfff"]}], ids=ascii)
    @pytest.mark.parametrize("annotation", [dict, dict[str, Any], Any], ids=str)
    def test_are_refused(self, annotation: Any, event: Any) -> None:
        with pytest.raises(EncodeError, match="not valid Unicode"):
            value_of(annotation, event)

    def test_whole_pairs_are_sent(self) -> None:
        assert value_of(dict, {"a": "\U0001f600 \\ud800"}) == b'{"a": "\\ud83d\\ude00 \\\\ud800"}'


class TestNumbersThatJsonHasNot:
    @pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
    @pytest.mark.parametrize(
        ("annotation", "event_of"),
        [
            (dict, lambda number: {"a": [{"b": number}]}),
            (dict, lambda number: {"at": NEW_YEAR, "b": number}),
            (dict, lambda number: {"model": Price(price=number)}),
            (dict[str, Any], lambda number: {"a": number}),
            (dict[str, float], lambda number: {"a": number}),
            (list, lambda number: [number]),
            (list[float], lambda number: [number]),
            (Any, lambda number: {"a": number}),
            (float, lambda number: number),
            (Price, lambda number: Price(price=number)),
            (list[Price], lambda number: [Price(price=number)]),
            (PriceData, PriceData),
            (PriceStruct, PriceStruct),
            (PriceStruct, lambda number: PriceStruct(1, Price(price=number))),
            (list[PriceStruct], lambda number: [PriceStruct(number)]),
            (PriceAttrs, PriceAttrs),
            (Any, PriceStruct),
            (Open, lambda number: Open.model_validate({"price": number})),
            (Queue, lambda number: Queue(prices=deque([number]))),
            (Constants, lambda number: Constants(price=number)),
        ],
    )
    def test_are_refused(self, annotation: Any, event_of: Any, number: float) -> None:
        with pytest.raises(EncodeError, match="JSON has neither NaN nor Infinity"):
            value_of(annotation, event_of(number))

    def test_as_text_they_may_be_sent(self) -> None:
        assert value_of(Strings, Strings(price=math.nan)) == b'{"price":"NaN"}'
        assert value_of(dict, {"a": "NaN, Infinity"}) == b'{"a": "NaN, Infinity"}'
        assert value_of(Price, Price(note="NaN")) == b'{"price":null,"note":"NaN"}'

    def test_null_where_the_type_says_null_is_sent(self) -> None:
        assert value_of(Nulls, Nulls(price=math.nan)) == b'{"price":null}'
        assert value_of(Empty, Empty(price=math.nan)) == b'{"price":null,"note":null}'

    @pytest.mark.parametrize("kind", [Nulls, Empty, Strings])
    def test_a_type_that_says_how_it_writes_them_is_written_so_inside_of_others_too(self, kind: type[Any]) -> None:
        event = kind(price=math.nan)
        written = json.loads(value_of(kind, event))
        assert json.loads(value_of(dict, {"a": [event]})) == {"a": [written]}
        assert json.loads(value_of(dict[str, kind], {"a": event})) == {"a": written}
        assert json.loads(value_of(Any, [event])) == [written]

    def test_none_is_null(self) -> None:
        assert value_of(Price, Price()) == b'{"price":null,"note":null}'


Shown = Annotated[SecretStr, PlainSerializer(lambda secret: secret.get_secret_value(), when_used="json")]


HIDDEN = SecretStr("p")


class Login(BaseModel):
    password: SecretStr


class Logins(BaseModel):
    logins: list[Login]


@dataclasses.dataclass
class LoginData:
    password: SecretBytes


class LoginStruct(msgspec.Struct):
    password: SecretStr


class Computed(BaseModel):
    @computed_field
    def token(self) -> SecretStr:
        return SecretStr("t")


class TestSecrets:
    @pytest.mark.parametrize(
        ("annotation", "named"),
        [
            (Login, "password is a secret"),
            (Logins, "logins.password is a secret"),
            (list[Login], "password is a secret"),
            (dict[str, Login | None], "password is a secret"),
            (LoginData, "password is a secret"),
            (SecretStr, "it is a secret"),
            (list[Secret[int]], "it is a secret"),
            (Computed, "token is a secret"),
            (LoginStruct, "it is a secret"),
        ],
        ids=str,
    )
    def test_are_refused_when_the_event_is_declared(self, annotation: Any, named: str) -> None:
        with pytest.raises(ConfigError, match=f"{named} .*, which pydantic writes as asterisks.*PlainSerializer"):
            sender_of(annotation)

    def test_are_sent_where_a_serializer_writes_them(self) -> None:
        class Written(BaseModel):
            one: Shown
            two: SecretStr
            three: Annotated[SecretBytes, PlainSerializer(lambda secret: secret.get_secret_value())]
            hidden: SecretStr = Field(default=SecretStr("h"), exclude=True)

            @field_serializer("two")
            def write(self, secret: SecretStr) -> str:
                return secret.get_secret_value()

        event = Written(one=SecretStr("a"), two=SecretStr("b"), three=SecretBytes(b"c"))
        assert json.loads(value_of(Written, event)) == {"one": "a", "two": "b", "three": "c"}

    @pytest.mark.parametrize(
        "event",
        [
            Login(password=SecretStr("p")),
            {"a": SecretStr("p")},
            [SecretStr("p")],
            {"a": Login(password=SecretStr("p"))},
        ],
    )
    def test_of_an_event_whose_type_is_not_declared_are_refused_when_it_is_sent(self, event: Any) -> None:
        with pytest.raises(EncodeError, match=r"is a secret .*, which pydantic writes as asterisks") as caught:
            value_of(Any, event)
        assert "'p'" not in str(caught.value)

    def test_may_be_read(self) -> None:
        handler, seen = Handler(), []

        @handler.event("Login")
        async def on_login(login: Login) -> None:
            seen.append(login.password.get_secret_value())

        app = EVKafkaApp()
        app.add_consumer({"topics": ["t"], "group_id": "g"}, handler)
        with TestClient(app) as client:
            client.send_event({"password": "p"}, "Login", "t")
        assert seen == ["p"]
