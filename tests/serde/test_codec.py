"""Payloads: decoding, error texts, encoding."""

from __future__ import annotations

import json
import traceback
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Annotated, Any, Literal, NewType, Optional
from uuid import UUID

import pytest
from pydantic import BaseModel, ConfigDict, Field, RootModel, TypeAdapter, field_validator
from pydantic_core import PydanticCustomError
from typing_extensions import TypeAliasType, TypedDict

from evkafka import DecodeError, Handler
from evkafka.outcomes import Unmatched
from evkafka.serde.decode_errors import decode_error_text
from evkafka.serde.decoding import decoder_for
from evkafka.serde.encoding import encode, encoder_for
from tests.support.endpoint_calls import Order, give, record


@dataclass
class Point:
    x: int
    at: datetime | None = None


class Flight(TypedDict):
    tail: str


class Cat(BaseModel):
    kind: Literal["cat"]
    lives: int


class Dog(BaseModel):
    kind: Literal["dog"]


class Colour(Enum):
    RED = "red"


Text = NewType("Text", str)
Alias = TypeAliasType("Alias", Order | None)
Short = Annotated[str, Field(max_length=3)]


class TestDecoding:
    @pytest.mark.parametrize(
        ("annotation", "value", "payload"),
        [
            (bytes, b"\xff\x00", b"\xff\x00"),
            (bytes, b"", b""),
            (str, "grüße".encode(), "grüße"),
            (str, b'"quoted"', '"quoted"'),
            (Text, b"1", "1"),
            (Short, b"abc", "abc"),
            (dict, b' {"a": [1, null]} ', {"a": [1, None]}),
            (dict[str, Any], b'{"a": {"b": 1.5}}', {"a": {"b": 1.5}}),
            (dict[str, int], b'{"a": 1}', {"a": 1}),
            (Order, b'{"order_id": "1", "amount": 2}', Order(order_id="1", amount=2)),
            (Point, b'{"x": 1, "at": "2024-01-01T00:00:00"}', Point(1, datetime(2024, 1, 1))),  # noqa: DTZ001
            (Flight, b'{"tail": "N1"}', {"tail": "N1"}),
            (list[Order], b'[{"order_id": "1"}]', [Order(order_id="1")]),
            (Cat | Dog, b'{"kind": "dog"}', Dog(kind="dog")),
            (Annotated[Cat | Dog, Field(discriminator="kind")], b'{"kind": "dog"}', Dog(kind="dog")),
            (RootModel[list[int]], b"[1]", RootModel[list[int]]([1])),
            (Colour, b'"red"', Colour.RED),
            (UUID, b'"12345678-1234-5678-1234-567812345678"', UUID("12345678-1234-5678-1234-567812345678")),
            (int, b"5", 5),
            (Any, b"[1]", [1]),
            (Order | None, b"null", None),
        ],
    )
    def test_a_payload_has_the_type_of_its_annotation(self, annotation: Any, value: bytes, payload: Any) -> None:
        assert decoder_for(annotation).from_bytes(value) == payload

    def test_bytes_are_not_copied(self) -> None:
        value = b"as it is"
        assert decoder_for(bytes).from_bytes(value) is value

    @pytest.mark.parametrize(
        ("annotation", "admits"),
        [
            (Order | None, True),
            (Optional[Order], True),  # noqa: UP045 - the older spelling
            (bytes | None, True),
            (str | None, True),
            (dict | None, True),
            (Annotated[Order | None, "why"], True),
            (Alias, True),
            (Literal["a", None], True),  # noqa: PYI061 - this very spelling is the case
            (None, True),
            (Any, True),
            (Order, False),
            (dict, False),
            (bytes, False),
            (list[Order | None], False),
        ],
    )
    def test_a_tombstone_is_a_payload_only_where_the_annotation_admits_none(
        self, annotation: Any, admits: bool
    ) -> None:
        assert decoder_for(annotation).admits_none is admits

    def test_a_model_whose_building_is_deferred_is_built(self) -> None:
        class Deferred(BaseModel):
            model_config = ConfigDict(defer_build=True)
            n: int

        assert decoder_for(Deferred).from_bytes(b'{"n": 1}') == Deferred(n=1)
        assert decoder_for(list[Deferred]).from_bytes(b'[{"n": 1}]') == [Deferred(n=1)]

    @pytest.mark.parametrize("value", [b'{"a": NaN}', b'{"a": Infinity}', b'{"a": 1, "a": 2}', b'{"a": 1e400}'])
    def test_numbers_beyond_json_and_doubled_keys_are_let_in(self, value: bytes) -> None:
        assert list(decoder_for(dict).from_bytes(value)) == ["a"]

    @pytest.mark.parametrize(
        "value",
        [
            b"",
            b"[]",
            b"null",
            b'"text"',
            b"{} {}",
            b"{'a': 1}",
            b'\xef\xbb\xbf{"a": 1}',
            b'{"a": "\xff"}',
            b'{"a": "\\ud800"}',
            '{"a": 1}'.encode("utf-16"),
            b'{"a": ' * 100_000,
            b'{"a": ' * 300 + b"1" + b"}" * 300,
        ],
        ids=lambda value: repr(value[:12]),
    )
    async def test_a_value_that_is_not_a_json_object_is_a_decode_error_for_dict(self, value: bytes, stack: Any) -> None:
        handler = Handler()

        @handler.event("A")
        async def on_a(payload: dict[str, Any]) -> None: ...

        with pytest.raises(DecodeError):
            await give(handler, record("A", value), middleware=stack)


class Secretive(BaseModel):
    """Every way in which a pydantic error repeats a part of the value."""

    model_config = ConfigDict(extra="forbid")
    count: int = 0
    pet: Annotated[Cat | Dog, Field(discriminator="kind")] | None = None
    by_name: dict[str, int] = {}
    ident: UUID | None = None
    checked: str = ""
    asserted: str = ""
    custom: str = ""

    @field_validator("checked")
    @classmethod
    def _check(cls, value: str) -> str:
        if value:
            raise ValueError(f"will not have {value}")
        return value

    @field_validator("asserted")
    @classmethod
    def _assert(cls, value: str) -> str:
        assert not value, f"will not have {value}"
        return value

    @field_validator("custom")
    @classmethod
    def _custom(cls, value: str) -> str:
        if value:
            raise PydanticCustomError("mine", "will not have {it}", {"it": value})
        return value


class TestDecodeError:
    async def test_shows_field_type_endpoint_and_the_error(self, stack: Any) -> None:
        handler = Handler()

        @handler.event("OrderPlaced")
        async def on_order(order: Order) -> None: ...

        with pytest.raises(DecodeError) as caught:
            await give(handler, record("OrderPlaced", b'{"amount": "many"}'), middleware=stack)
        error = caught.value
        assert (error.topic, error.partition, error.offset, error.event_type) == ("orders", 2, 7, "OrderPlaced")
        assert str(error) == (
            "the value of orders[2]@7 (event type 'OrderPlaced') is not the Order that "
            f"{handler.endpoints[0].name} expects: order_id: Field required; "
            "amount: Input should be a valid integer, unable to parse string as an integer"
        )

    @pytest.mark.parametrize(
        "content",
        [
            {"count": "hunter2"},
            {"pet": {"kind": "hunter2"}},
            {"pet": {"kind": "cat", "lives": "hunter2"}},
            {"by_name": {"hunter2": "x"}},
            {"hunter2": 1},
            {"ident": "hunter2"},
            {"checked": "hunter2"},
            {"asserted": "hunter2"},
            {"custom": "hunter2"},
        ],
        ids=str,
    )
    async def test_shows_nothing_of_the_payload_also_in_its_traceback(self, content: Any, stack: Any) -> None:
        handler = Handler()

        @handler.event("A")
        async def on_a(payload: Secretive) -> None: ...

        with pytest.raises(DecodeError) as caught:
            await give(handler, record("A", json.dumps(content).encode()), middleware=stack)
        assert "hunter2" not in "".join(traceback.format_exception(caught.value))
        assert caught.value.__cause__ is None
        assert caught.value.__context__ is None

    async def test_text_that_is_not_utf_8_is_reported_by_its_position(self, stack: Any) -> None:
        handler = Handler()

        @handler.event("A")
        async def on_a(payload: str) -> None: ...

        with pytest.raises(DecodeError, match=r"it is not valid UTF-8 \(byte 2\)") as caught:
            await give(handler, record("A", b"ab\xff"), middleware=stack)
        assert caught.value.__context__ is None

    def test_names_the_place_by_fields_and_numbers_and_hides_other_keys(self) -> None:
        decoder = decoder_for(dict[str, list[Order]])
        with pytest.raises(ValueError) as caught:
            decoder.from_bytes(b'{"someone@example.com": [{"order_id": "1"}, {"amount": 1}]}')
        assert decode_error_text(caught.value, decoder.names()) == "*.1.order_id: Field required"

    def test_tells_an_alias_by_its_name(self) -> None:
        class Aliased(BaseModel):
            order_id: int = Field(alias="orderId")

        decoder = decoder_for(Aliased)
        with pytest.raises(ValueError) as caught:
            decoder.from_bytes(b"{}")
        assert decode_error_text(caught.value, decoder.names()) == "orderId: Field required"

    def test_tells_the_first_five_faults_and_how_many_more(self) -> None:
        decoder = decoder_for(list[int])
        with pytest.raises(ValueError) as caught:
            decoder.from_bytes(b'["a","a","a","a","a","a","a"]')
        assert decode_error_text(caught.value, decoder.names()).count("Input should be") == 5
        assert decode_error_text(caught.value, decoder.names()).endswith("; and 2 more")

    def test_says_where_the_json_breaks_off(self) -> None:
        decoder = decoder_for(dict)
        with pytest.raises(ValueError) as caught:
            decoder.from_bytes(b'{"a": ')
        assert "Invalid JSON: EOF while parsing a value at line 1 column 6" in decode_error_text(caught.value)


class TestTombstones:
    @pytest.mark.parametrize("annotation", [Order, dict, bytes, str])
    async def test_are_unmatched_where_the_payload_does_not_admit_none(self, annotation: Any, stack: Any) -> None:
        handler = Handler()

        async def on_a(payload: Any) -> None:
            raise AssertionError("called")

        on_a.__annotations__["payload"] = annotation
        handler.event("A")(on_a)
        assert await give(handler, record("A", None), middleware=stack) == Unmatched("tombstone", "A")

    @pytest.mark.parametrize("annotation", [Order | None, dict | None, bytes | None, str | None, Any])
    async def test_are_none_where_it_does(self, annotation: Any, stack: Any) -> None:
        handler, seen = Handler(), list[Any]()

        async def on_a(payload: Any) -> None:
            seen.append(payload)

        on_a.__annotations__["payload"] = annotation
        handler.event("A")(on_a)
        assert await give(handler, record("A", None), middleware=stack) is None
        assert seen == [None]

    async def test_without_an_endpoint_are_reported_as_tombstones(self, stack: Any) -> None:
        assert await give(Handler(), record("A", None), middleware=stack) == Unmatched("tombstone", "A")


class TestEncoding:
    @pytest.mark.parametrize(
        ("event", "value"),
        [
            (b"\xff", b"\xff"),
            (bytearray(b"a"), b"a"),
            ("grüße", "grüße".encode()),
            ({"a": [1, None]}, b'{"a": [1, null]}'),
            (Order(order_id="1"), b'{"order_id":"1","amount":0}'),
            (Point(1), b'{"x":1,"at":null}'),
            ([Order(order_id="1")], b'[{"order_id":"1","amount":0}]'),
            (Colour.RED, b'"red"'),
        ],
        ids=str,
    )
    def test_an_event_becomes_bytes_by_its_kind(self, event: Any, value: bytes) -> None:
        assert encode(event) == value

    @pytest.mark.parametrize("event", [object(), {"a": object()}, [object()]], ids=["object", "dict", "list"])
    def test_an_event_that_cannot_be_serialized_is_a_type_or_value_error(self, event: Any) -> None:
        with pytest.raises((TypeError, ValueError)):
            encode(event)

    @pytest.mark.parametrize(
        ("annotation", "event"),
        [
            (dict, {"a": 1}),
            (dict[str, Any], {"a": 1}),
            (str, "a"),
            (bytes, b"a"),
            (Order, Order(order_id="1")),
            (Point, Point(1)),
            (Flight, {"tail": "N1"}),
            (list[Order], [Order(order_id="1")]),
            (Cat | Dog, Dog(kind="dog")),
        ],
    )
    def test_a_decoder_reads_the_output_of_the_encoder_of_its_type(self, annotation: Any, event: Any) -> None:
        assert decoder_for(annotation).from_bytes(encoder_for(annotation)(event)) == event

    @pytest.mark.parametrize(
        ("annotation", "event"),
        [(dict, "a"), (str, b"a"), (bytes, "a"), (Order, {"order_id": "1"}), (Point, {"x": 1}), (list[int], ["1"])],
    )
    def test_an_encoder_refuses_events_of_another_type(self, annotation: Any, event: Any) -> None:
        with pytest.raises(TypeError, match="expected"):
            encoder_for(annotation)(event)

    def test_adapters_and_encode_agree(self) -> None:
        assert encode([Point(1)]) == TypeAdapter(list[Point]).dump_json([Point(1)])
