"""msgspec Structs and attrs classes as payloads: decoding, encoding, batches, the AsyncAPI document, errors."""

from __future__ import annotations

import builtins
import json
import sys
from typing import Any

import attrs
import msgspec
import pytest
from pydantic import BaseModel

from evkafka import ConfigError, EVKafkaApp, Handler, Sender, TestClient
from evkafka.exceptions import DecodeError, EncodeError
from evkafka.serde.annotations import contains_msgspec_type
from evkafka.serde.decoding import decoder_for
from evkafka.serde.encoding import encode


class Address(BaseModel):
    town: str


class Line(msgspec.Struct):
    sku: str
    count: int


class Order(msgspec.Struct):
    id: str
    lines: list[Line]
    to: Address | None = None


@attrs.define
class Refund:
    id: str
    cents: int = attrs.field(validator=attrs.validators.ge(0))


def secret(instance: Any, attribute: Any, value: str) -> None:
    if value.startswith("canary"):
        raise ValueError(f"{value} is not allowed")


@attrs.define
class Login:
    name: str = attrs.field(validator=secret)


ORDER = {"id": "1", "lines": [{"sku": "a", "count": 2}], "to": {"town": "Ulm"}}


def client_of(handler: Handler, sender: Sender | None = None) -> TestClient:
    app = EVKafkaApp()
    app.add_consumer({"topics": ["t"]}, handler)
    if sender is not None:
        app.add_producer({}, sender)
    return TestClient(app)


class TestDecoding:
    def test_a_struct_holds_structs_and_pydantic_models(self) -> None:
        handler, got = Handler(), []

        @handler.event("E")
        async def on_order(order: Order) -> None:
            got.append(order)

        with client_of(handler) as client:
            client.send_event(ORDER, "E", "t")
            client.send_event(Order("2", []), "E", "t")
        assert got == [Order("1", [Line("a", 2)], Address(town="Ulm")), Order("2", [])]

    def test_an_attrs_class_is_made_with_its_validators(self) -> None:
        handler, got = Handler(), []

        @handler.event("E")
        async def on_refund(refund: Refund) -> None:
            got.append(refund)

        with client_of(handler) as client:
            client.send_event({"id": "1", "cents": 5}, "E", "t")
            with pytest.raises(DecodeError):
                client.send_event({"id": "1", "cents": -5}, "E", "t")
        assert got == [Refund("1", 5)]

    def test_none_in_the_annotation_takes_tombstones(self) -> None:
        handler, got = Handler(), []

        @handler.event("E")
        async def on_order(order: Order | None) -> None:
            got.append(order)

        with client_of(handler) as client:
            client.send_event(None, "E", "t")
        assert got == [None]

    def test_a_batch_has_them_in_a_list(self) -> None:
        handler, got = Handler(), []

        @handler.event("E", batch=True)
        async def on_lines(lines: list[Line]) -> None:
            got.extend(lines)

        with client_of(handler) as client:
            client.send_batch([Line("a", 1), {"sku": "b", "count": 2}], "E", "t")
        assert got == [Line("a", 1), Line("b", 2)]

    @pytest.mark.parametrize(
        ("annotation", "expected"),
        [(Order, True), (Refund, True), (list[Order], True), (Order | None, True), (Address, False), (dict, False)],
    )
    def test_msgspec_is_asked_only_where_one_of_its_types_is_named(self, annotation: Any, expected: bool) -> None:
        assert contains_msgspec_type(annotation) is expected


class TestDecodeErrors:
    @pytest.mark.parametrize(
        ("value", "said"),
        [
            (b'{"id": 1, "lines": []}', "id: Expected `str`, got `int`"),
            (b'{"id": "1"}', "value: Object missing required field `lines`"),
            (b'{"id": "1", "lines": [{"sku": "s", "count": "canary"}]}', "lines.0.count: Expected `int`, got `str`"),
            (b"{nope", "value: JSON is malformed"),
        ],
    )
    def test_says_where(self, value: bytes, said: str) -> None:
        handler = Handler()

        @handler.event("E")
        async def on_order(order: Order) -> None: ...

        with client_of(handler) as client, pytest.raises(DecodeError) as raised:
            client.send_event(value, "E", "t")
        assert said in str(raised.value)
        assert "canary" not in str(raised.value)

    def test_the_words_of_a_validator_are_left_out_for_they_may_quote_the_value(self) -> None:
        handler = Handler()

        @handler.event("E")
        async def on_login(login: Login) -> None: ...

        with client_of(handler) as client, pytest.raises(DecodeError) as raised:
            client.send_event({"name": "canary-7"}, "E", "t")
        assert "canary" not in str(raised.value)


class TestEncoding:
    def test_key_and_value_are_taken_of_it(self) -> None:
        handler, sender = Handler(), Sender()

        @sender.event("Refunded", topic="refunds", key_field="id")
        async def send_refund(refund: Refund) -> None: ...

        @handler.event("E")
        async def on_order(order: Order) -> None:
            await send_refund(Refund(order.id, 5))

        with client_of(handler, sender) as client:
            client.send_event(ORDER, "E", "t")
            [sent] = client.sent
        assert sent.key == b"1"
        assert json.loads(sent.value or b"") == {"id": "1", "cents": 5}

    def test_an_event_of_another_type_is_refused(self) -> None:
        handler, sender = Handler(), Sender()

        @sender.event("Refunded", topic="refunds")
        async def send_refund(refund: Refund) -> None: ...

        @handler.event("E")
        async def on_order(order: Order) -> None:
            await send_refund(Line("a", 1))  # type: ignore[arg-type]  # that is what is refused

        with client_of(handler, sender) as client, pytest.raises(EncodeError, match="expected Refund, got Line"):
            client.send_event(ORDER, "E", "t")

    def test_inside_of_lists_too(self) -> None:
        assert encode([Line("a", 1)]) == b'[{"sku":"a","count":1}]'

    @pytest.mark.parametrize("made", [Order("1", [Line("a", 2)], Address(town="Ulm")), Refund("1", 5)])
    def test_and_back_it_is_the_same(self, made: Any) -> None:
        assert decoder_for(type(made)).from_bytes(encode(made)) == made


class TestAsyncApiDocument:
    def test_has_their_schemas_beside_those_of_pydantic(self) -> None:
        handler = Handler()

        @handler.event("A")
        async def on_order(order: Order) -> None: ...

        @handler.event("B")
        async def on_refund(refund: Refund) -> None: ...

        @handler.event("C")
        async def on_address(address: Address) -> None: ...

        app = EVKafkaApp()
        app.add_consumer({"topics": ["t"], "group_id": "g"}, handler)
        schemas = json.loads(app.asyncapi())["components"]["schemas"]
        assert schemas["Order"]["required"] == ["id", "lines"]
        assert schemas["Order"]["properties"]["lines"]["items"] == {"$ref": "#/components/schemas/Line"}
        assert set(schemas["Refund"]["properties"]) == {"id", "cents"}
        assert schemas["Address"]["properties"]["town"]["type"] == "string"


class TestWithoutMsgspec:
    def test_an_attrs_class_is_refused_with_the_package_to_install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        real = builtins.__import__

        def without(name: str, *args: Any, **kwargs: Any) -> Any:
            if name == "msgspec":
                raise ModuleNotFoundError("No module named 'msgspec'", name="msgspec")
            return real(name, *args, **kwargs)

        monkeypatch.delitem(sys.modules, "evkafka.serde.msgspec", raising=False)
        monkeypatch.delattr("evkafka.serde.msgspec", raising=False)
        monkeypatch.setattr(builtins, "__import__", without)
        handler = Handler()
        with pytest.raises(ConfigError, match=r"pip install 'evkafka\[attrs\]'"):

            @handler.event("E")
            async def on_refund(refund: Refund) -> None: ...
