"""The payload schemas and examples of the AsyncAPI document."""

from __future__ import annotations

import enum
import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any, Generic, Literal, TypeVar
from uuid import UUID

import pytest
from pydantic import BaseModel, ConfigDict, Field, computed_field, field_validator
from pydantic_core import core_schema
from typing_extensions import TypedDict

from evkafka import ConfigError, EVKafkaApp, Handler, Request, Sender
from tests.asyncapi.documents import document_of, look_up, message, one_consumer, payload

T = TypeVar("T")
NEW_YEAR = datetime(2020, 1, 1, tzinfo=UTC)


class Colour(enum.StrEnum):
    RED = "red"
    BLUE = "blue"


class Order(BaseModel):
    """What somebody wants."""

    order_id: str
    amount: int = Field(gt=10, description="In cents.")
    colour: Colour = Colour.BLUE
    placed_at: datetime
    parts: tuple[int, str]


class Cat(BaseModel):
    kind: Literal["cat"]


class Dog(BaseModel):
    kind: Literal["dog"]


class Tree(BaseModel):
    children: list[Tree]


class Page(BaseModel, Generic[T]):
    items: list[T]


class Shown(BaseModel):
    model_config = ConfigDict(json_schema_extra={"examples": [{"code": "A1"}]})
    code: str


class Picky(BaseModel):
    code: str

    @field_validator("code")
    @classmethod
    def two(cls, code: str) -> str:
        raise RuntimeError("not today")


@dataclass
class Point:
    x: float
    y: float


class Move(TypedDict):
    by: int


class Custom:
    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        return core_schema.no_info_plain_validator_function(lambda value: value)


def document(annotation: Any) -> dict[str, Any]:
    return document_of(app_of(annotation))


def app_of(annotation: Any) -> EVKafkaApp:
    handler = Handler()

    async def on_x(event: Any) -> None: ...

    on_x.__annotations__["event"] = annotation
    handler.event("X")(on_x)
    return one_consumer(handler)


class TestKinds:
    @pytest.mark.parametrize(
        ("annotation", "media_type", "schema"),
        [
            (dict, "application/json", {"type": "object", "additionalProperties": True}),
            (dict[str, Any], "application/json", {"type": "object", "additionalProperties": True}),
            (str, "text/plain", {"type": "string"}),
            (bytes, "application/octet-stream", {"type": "string", "format": "binary"}),
            (Annotated[str, Field(max_length=3)], "text/plain", {"type": "string", "maxLength": 3}),
            (list[int], "application/json", {"type": "array", "items": {"type": "integer"}}),
            (int | None, "application/json", {"anyOf": [{"type": "integer"}, {"type": "null"}]}),
            (Any, "application/json", {}),
            (Custom, "application/json", {}),
        ],
    )
    def test_each_payload_has_its_media_type_and_schema(self, annotation: Any, media_type: str, schema: Any) -> None:
        found = message(document(annotation), "X")
        assert (found["contentType"], found["payload"]) == (media_type, schema)

    def test_a_model_is_a_named_schema_with_descriptions_and_bounds(self) -> None:
        schema = payload(document(Order), "X")
        assert schema["description"] == "What somebody wants."
        assert schema["properties"]["amount"]["exclusiveMinimum"] == 10
        assert schema["properties"]["amount"]["description"] == "In cents."
        assert schema["required"] == ["order_id", "amount", "placed_at", "parts"]

    def test_tuples_are_described_as_in_draft_07(self) -> None:
        parts = payload(document(Order), "X")["properties"]["parts"]
        assert parts["items"] == [{"type": "integer"}, {"type": "string"}]
        assert "prefixItems" not in parts

    def test_keywords_beside_a_reference_are_read_too(self) -> None:
        colour = payload(document(Order), "X")["properties"]["colour"]
        assert colour == {"allOf": [{"$ref": "#/components/schemas/Colour"}], "default": "blue"}

    def test_a_union_has_its_discriminator(self) -> None:
        schema = payload(document(Annotated[Cat | Dog, Field(discriminator="kind")]), "X")
        assert schema["oneOf"] == [{"$ref": "#/components/schemas/Cat"}, {"$ref": "#/components/schemas/Dog"}]
        assert schema["x-discriminator"] == "kind"

    def test_a_model_may_contain_itself(self) -> None:
        schema = payload(document(Tree), "X")
        assert schema["properties"]["children"]["items"] == {"$ref": "#/components/schemas/Tree"}

    def test_a_generic_models_schema_has_a_legal_name(self) -> None:
        assert list(document(Page[int])["components"]["schemas"]) == ["Page_int_"]

    @pytest.mark.parametrize("annotation", [Point, Move])
    def test_dataclasses_and_typed_dicts_are_objects(self, annotation: Any) -> None:
        assert payload(document(annotation), "X")["type"] == "object"

    def test_two_models_of_one_name_are_two_schemas(self) -> None:
        class Inner(BaseModel):
            here: int

        def other() -> Any:
            class Inner(BaseModel):
                there: int

            return Inner

        handler = Handler()
        for event_type, annotation in (("A", Inner), ("B", other())):

            async def endpoint(event: Any) -> None: ...

            endpoint.__annotations__["event"] = annotation
            handler.event(event_type)(endpoint)
        found = document_of(one_consumer(handler))
        assert list(payload(found, "A")["properties"]) == ["here"]
        assert list(payload(found, "B")["properties"]) == ["there"]

    def test_computed_fields_are_in_sent_payloads_and_not_in_received_ones(self) -> None:
        class Line(BaseModel):
            price: int

            @computed_field
            def gross(self) -> int:
                return self.price * 2

        sender, app = Sender(), EVKafkaApp()

        async def send_x(event: Any) -> None: ...

        send_x.__annotations__["event"] = Line
        sender.event("X", topic="t")(send_x)
        app.add_producer({}, sender)
        assert list(payload(document_of(app), "X")["properties"]) == ["price", "gross"]
        assert list(payload(document(Line), "X")["properties"]) == ["price"]

    def test_a_type_without_json_schema_does_not_affect_the_others(self) -> None:
        class Odd(BaseModel):
            model_config = ConfigDict(arbitrary_types_allowed=True)
            call: Callable[[int], int]
            number: int

        assert payload(document(Odd), "X")["properties"]["number"]["type"] == "integer"


class TestEndpoints:
    def test_an_endpoint_that_admits_none_accepts_tombstones(self) -> None:
        assert message(document(Order | None), "X")["x-tombstone"] is True
        assert "x-tombstone" not in message(document(Order), "X")

    def test_a_batch_endpoints_message_is_one_record(self) -> None:
        handler = Handler()

        @handler.event("X", batch=True, max_records=50, max_wait_ms=20)
        async def on_x(events: list[dict[str, Any]], requests: list[Request]) -> None: ...

        found = document_of(one_consumer(handler))
        assert message(found, "X")["payload"]["type"] == "object"
        operation = found["operations"]["receive.billing.orders.X"]
        assert operation["x-batch"] == {"maxRecords": 50, "maxWaitMs": 20}

    def test_a_default_endpoints_message_may_be_of_any_type(self) -> None:
        handler = Handler()

        @handler.default()
        async def on_any(event: dict[str, Any]) -> None: ...

        found = message(document_of(one_consumer(handler)), "Any-other-event")
        assert "name" not in found
        assert "const" not in found["headers"]["properties"]["Event-Type"]

    def test_a_topic_whose_records_carry_no_type_does_not_require_the_header(self) -> None:
        handler = Handler()

        @handler.event("X")
        async def on_x(event: dict[str, Any]) -> None: ...

        found = document_of(one_consumer(handler, topics=[{"name": "xs", "event_type": "X"}]))
        assert "required" not in message(found, "X")["headers"]


class TestExamples:
    def test_the_types_own_examples_are_the_messages(self) -> None:
        assert message(document(Shown), "X")["examples"] == [{"payload": {"code": "A1"}}]

    def test_a_type_without_an_example_gets_one_from_the_schema(self) -> None:
        [example] = message(document(Order), "X")["examples"]
        assert example["summary"] == "Generated from the schema"
        Order.model_validate(example["payload"])

    def test_an_example_that_the_type_refuses_is_not_shown(self) -> None:
        assert "examples" not in message(document(Picky), "X")

    @pytest.mark.parametrize("annotation", [str, bytes, Any, dict, Custom])
    def test_a_payload_without_structure_has_no_example(self, annotation: Any) -> None:
        assert "examples" not in message(document(annotation), "X")

    def test_the_example_of_a_recursive_model_is_finite(self) -> None:
        [example] = message(document(Tree), "X")["examples"]
        Tree.model_validate(example["payload"])

    @pytest.mark.parametrize("annotation", [Point, Move, Page[int], Cat | Dog, list[Order], dict[str, int] | None])
    def test_a_generated_example_is_valid(self, annotation: Any) -> None:
        found = document(annotation)
        for example in message(found, "X").get("examples", []):
            assert example["payload"] not in (None, {})
        assert look_up(found, "#/components/messages/X")


class Nowhere(BaseModel):
    limit: float = Field(default=math.inf, le=math.inf)
    low: float = -math.inf


class WithPythonExamples(BaseModel):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"at": NEW_YEAR, "odd": [object(), b"\xff"], "sum": Decimal("1.10"), "in": {UUID(int=1): {1}}}]
        }
    )
    at: datetime


class WithExamples(BaseModel):
    at: datetime = Field(json_schema_extra={"example": NEW_YEAR})
    x: float = Field(examples=[math.nan, 1.5])
    raw: bytes = Field(json_schema_extra={"example": [b"a", "\udc80"]})  # type: ignore[dict-item]


class Undecodable(BaseModel):
    raw: bytes = Field(json_schema_extra={"example": b"\xff"})  # type: ignore[dict-item]


class Breaking(BaseModel):
    code: str

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: Any, handler: Any) -> Any:
        raise KeyError("a bug")


class TestPythonValues:
    """Python values in examples, defaults and bounds, which pydantic does not convert."""

    def read(self, annotation: Any) -> Any:
        """Parse the document with a strict JSON parser."""

        def refuse(constant: str) -> None:
            raise AssertionError(constant)

        text = app_of(annotation).asyncapi()
        text.encode()
        return json.loads(text, parse_constant=refuse)["components"]

    def test_infinite_defaults_are_text_and_infinite_bounds_are_none(self) -> None:
        properties = self.read(Nowhere)["schemas"]["Nowhere"]["properties"]
        assert properties["limit"] == {"default": "Infinity", "title": "Limit", "type": "number"}
        assert properties["low"]["default"] == "-Infinity"
        assert Nowhere.model_validate_json(b'{"limit": "Infinity", "low": "-Infinity"}') == Nowhere()

    def test_examples_of_a_type_are_written_as_json(self) -> None:
        [example] = self.read(WithPythonExamples)["messages"]["X"]["examples"]
        assert example["payload"] == {
            "at": "2020-01-01T00:00:00Z",
            "odd": ["<object>", "<bytes>"],
            "sum": "1.10",
            "in": {"00000000-0000-0000-0000-000000000001": [1]},
        }

    def test_examples_of_fields_are_written_as_json(self) -> None:
        properties = self.read(WithExamples)["schemas"]["WithExamples"]["properties"]
        assert properties["at"]["example"] == "2020-01-01T00:00:00Z"
        assert properties["x"]["examples"] == ["NaN", 1.5]
        assert properties["raw"]["example"] == ["a", "?"]

    @pytest.mark.parametrize(
        ("annotation", "said"),
        [(Breaking, "Breaking cannot be .*: KeyError"), (Undecodable, "Undecodable cannot be .*: UnicodeDecodeError")],
    )
    def test_a_type_that_cannot_be_described_is_named(self, annotation: Any, said: str) -> None:
        handler = Handler()

        @handler.event("Other")
        async def on_other(event: Order) -> None: ...

        async def on_x(event: Any) -> None: ...

        on_x.__annotations__["event"] = annotation
        handler.event("X")(on_x)
        with pytest.raises(ConfigError, match=f"the payload {said}"):
            one_consumer(handler).asyncapi()
