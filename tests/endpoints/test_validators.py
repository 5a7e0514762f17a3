"""An exception of a decoder is a DecodeError of its record, single or in a batch, and never shows the value."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable
from typing import Annotated, Any, Literal

import attrs
import msgspec
import pytest
from pydantic import BaseModel, BeforeValidator, Discriminator, Tag, field_validator, model_validator
from typing_extensions import TypedDict

from evkafka import DeadLetter, DecodeError, EVKafkaApp, Handler, Retry, Skip
from evkafka.middleware import Middleware
from evkafka.outcomes import Failed, FailureOutcome, PartialFailure
from evkafka.service.dispatch import build_dispatch
from evkafka.testing import InMemoryKafka
from tests.support.endpoint_calls import STACKS, Through, give, record, slot

SECRET = "hunter2"


class Odd(Exception):
    """An error of the user's own."""


KINDS: list[Callable[[str], BaseException]] = [
    KeyError,
    TypeError,
    AttributeError,
    ZeroDivisionError,
    StopIteration,
    RecursionError,
    OSError,
    Odd,
    ValueError,
    AssertionError,
    asyncio.CancelledError,
    GeneratorExit,
    lambda text: ExceptionGroup(text, [KeyError(text)]),
]


def refuse(value: Any) -> Any:
    """Raises in a validator; `failing` is the way in which it fails."""
    if SECRET in str(value):
        raise failing(f"{value} is refused")
    return value


failing: Callable[[str], BaseException] = KeyError


class Field(BaseModel):
    x: str
    _x = field_validator("x")(refuse)


class Whole(BaseModel):
    x: str

    @model_validator(mode="after")
    def check(self) -> Whole:
        refuse(self.x)
        return self


class PostInit(BaseModel):
    x: str

    def model_post_init(self, context: Any, /) -> None:
        refuse(self.x)


@dataclasses.dataclass
class Data:
    x: str

    def __post_init__(self) -> None:
        refuse(self.x)


class Typed(TypedDict):
    x: Annotated[str, BeforeValidator(refuse)]


class Tagged(BaseModel):
    kind: Literal["a"] = "a"
    x: str


class Struct(msgspec.Struct):
    x: str

    def __post_init__(self) -> None:
        refuse(self.x)


@attrs.define
class Attrs:
    x: str = attrs.field(validator=lambda *given: refuse(given[-1]))


class WithModel(msgspec.Struct):
    inner: Field


def tag(value: Any) -> str:
    refuse(value)
    return "a"


PAYLOADS = {
    "field validator": Field,
    "model validator": Whole,
    "model_post_init": PostInit,
    "dataclass": Data,
    "TypedDict": Typed,
    "discriminator": Annotated[Annotated[Tagged, Tag("a")] | Annotated[Whole, Tag("b")], Discriminator(tag)],
    "Struct": Struct,
    "attrs": Attrs,
    "list": list[Field],
    "constrained str": Annotated[str, BeforeValidator(refuse)],
}


@pytest.fixture(params=KINDS, ids=lambda kind: kind.__name__)
def error(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "failing", request.param)


def value_of(name: str, x: str) -> bytes:
    match name:
        case "list":
            return b'[{"x": "%s"}]' % x.encode()
        case "constrained str":
            return x.encode()
        case _:
            return b'{"x": "%s"}' % x.encode()


def handler_of(payload: Any, *, batch: bool = False) -> tuple[Handler, list[Any]]:
    handler, seen = Handler(), []

    async def on_event(event: Any) -> None:
        seen.append(event)

    on_event.__annotations__["event"] = list[payload] if batch else payload
    handler.event("E", batch=batch)(on_event)
    return handler, seen


@pytest.mark.usefixtures("error")
@pytest.mark.parametrize("name", PAYLOADS)
class TestAnyError:
    async def test_of_a_single_record_is_its_decode_error(self, name: str, stack: Any) -> None:
        handler, _ = handler_of(PAYLOADS[name])
        with pytest.raises(DecodeError) as caught:
            await give(handler, record("E", value_of(name, SECRET)), middleware=stack)
        assert SECRET not in str(caught.value)
        assert caught.value.__context__ is None

    async def test_in_a_batch_is_that_records_alone(self, name: str, stack: Any) -> None:
        handler, seen = handler_of(PAYLOADS[name], batch=True)
        ends = await ends_of(handler, [value_of(name, x) for x in ("a", SECRET, "b")], stack)
        assert len(seen[0]) == 2
        [(index, end)] = ends.items()
        assert index == 1
        assert isinstance(end, Failed)
        assert isinstance(end.error, DecodeError)
        assert not end.retriable
        assert SECRET not in str(end.error)


@pytest.mark.usefixtures("error")
async def test_of_a_request_taking_endpoint_is_its_decode_error(stack: Any) -> None:
    from evkafka import Request

    handler = Handler()

    @handler.event("E")
    async def on_event(event: Field, request: Request) -> None: ...

    with pytest.raises(DecodeError):
        await give(handler, record("E", value_of("", SECRET)), middleware=stack)


async def test_the_error_names_the_validator_and_its_line() -> None:
    handler, _ = handler_of(Field)
    with pytest.raises(DecodeError, match=r"expects: KeyError in refuse \(test_validators.py:\d+\)$"):
        await give(handler, record("E", value_of("", SECRET)))


@pytest.mark.usefixtures("error")
async def test_of_a_model_inside_a_struct_is_its_decode_error(stack: Any) -> None:
    handler, _ = handler_of(WithModel)
    with pytest.raises(DecodeError) as caught:
        await give(handler, record("E", b'{"inner": {"x": "hunter2"}}'), middleware=stack)
    assert SECRET not in str(caught.value)


async def ends_of(handler: Handler, values: list[bytes], middleware: Any) -> dict[int, FailureOutcome | None]:
    """The failures of a batch's records."""
    dispatch, records = build_dispatch(handler, middleware), [record("E", value) for value in values]
    at = slot()
    at.route = dispatch.limited_route(records[0]) if dispatch.limited_route is not None else None
    batch = dispatch.open_batch(records, at)
    ends = dict(await batch.run_up_to_endpoint())
    result = await batch.run_endpoint([index for index in range(len(values)) if index not in ends])
    await batch.close()
    return {**ends, **(result.ends if isinstance(result, PartialFailure) else {})}


class TestOutcomesInAValidator:
    @pytest.mark.parametrize("outcome", [Skip, Retry])
    async def test_decide_about_a_single_record(
        self, outcome: type[Exception], stack: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(globals(), "failing", lambda text: outcome())
        handler, _ = handler_of(Field)
        with pytest.raises(outcome):
            await give(handler, record("E", value_of("", SECRET)), middleware=stack)

    async def test_decide_about_that_record_of_a_batch(self, stack: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(globals(), "failing", Skip)
        handler, seen = handler_of(Field, batch=True)
        ends = await ends_of(handler, [value_of("", x) for x in ("a", SECRET)], stack)
        assert {index: type(end) for index, end in ends.items()} == {1: Skip}
        assert seen == [[Field(x="a")]]

    async def test_have_no_context_of_another_record_of_the_batch(
        self, stack: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(globals(), "failing", DeadLetter)
        handler, _ = handler_of(Field, batch=True)
        ends = await ends_of(handler, [b"no JSON", value_of("", SECRET)], stack)
        outcome = ends[1]
        assert isinstance(outcome, DeadLetter)
        assert outcome.__context__ is None

    async def test_a_memory_error_is_no_decode_error(self, stack: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(globals(), "failing", MemoryError)
        handler, _ = handler_of(Field)
        with pytest.raises(MemoryError):
            await give(handler, record("E", value_of("", SECRET)), middleware=stack)
        batches, _ = handler_of(Field, batch=True)
        with pytest.raises(MemoryError):
            await ends_of(batches, [value_of("", SECRET)], stack)


class TestDecodedValue:
    """`decoded_value_cb`, which may decode, and may ask a server for a schema."""

    @pytest.mark.parametrize("batch", [False, True], ids=["one", "batch"])
    async def test_an_error_out_of_it_is_a_decode_error(self, batch: bool) -> None:
        end = await self.end(KeyError(SECRET), batch=batch)
        assert isinstance(end, DecodeError)
        assert SECRET not in str(end)

    @pytest.mark.parametrize("batch", [False, True], ids=["one", "batch"])
    async def test_an_os_error_is_no_decode_error(self, batch: bool) -> None:
        error = ConnectionError("the registry is away")
        assert await self.end(error, batch=batch) is error

    async def end(self, error: Exception, *, batch: bool) -> BaseException | None:
        class Decoding(Through):
            async def __call__(self, context: Any) -> None:
                async def decoded() -> Any:
                    raise error

                context.message.decoded_value_cb = decoded
                await self.app(context)

        handler, _ = handler_of(Field, batch=batch)
        stack = [*(STACKS["stacked"] or ()), Middleware(Decoding)]
        if not batch:
            with pytest.raises((DecodeError, type(error))) as caught:
                await give(handler, record("E", b"{}"), middleware=stack)
            return caught.value
        [end] = (await ends_of(handler, [b"{}"], stack)).values()
        assert isinstance(end, Failed)
        return end.error


@pytest.mark.parametrize("then", ["skip", "dead_letter"])
async def test_the_good_records_of_a_batch_are_handled(then: str) -> None:
    handler, seen = handler_of(Field, batch=True)
    app = EVKafkaApp()
    policy = {"max_attempts": 3, "backoff_ms": 10, "then": then}
    app.add_consumer({"topics": ["t"], "group_id": "g", "on_error": policy, "auto_offset_reset": "earliest"}, handler)
    async with InMemoryKafka(partitions=1) as kafka:
        for x in ("a", SECRET, "b", "c"):
            await kafka.send("t", {"x": x}, event_type="E")
        async with kafka.running(app):
            await kafka.settle()
        letters = kafka.records("t.g.dlq") if then == "dead_letter" else []
    assert [event.x for events in seen for event in events] == ["a", "b", "c"]
    assert [dict(letter.headers)["evkafka-dlq-error-type"] for letter in letters] == (
        [b"evkafka.exceptions.DecodeError"] if then == "dead_letter" else []
    )
