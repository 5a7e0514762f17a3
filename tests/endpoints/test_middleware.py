"""Middleware: the stack around a handler, and what it may change."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
import json
import weakref
from typing import Any

import pytest

from evkafka import App, ConfigError, Context, DecodeError, Handler, Request, Skip
from evkafka.middleware import JsonTypedDecoderMiddleware, Middleware, type_header_name_of_stack
from evkafka.outcomes import Unmatched
from evkafka.service.dispatch import build_dispatch
from tests.support.endpoint_calls import Order, Through, give, no_endpoint, record, result_of, slot


class Noting:
    """Records when a record enters it and leaves it."""

    def __init__(self, app: App, label: str, notes: list[str]) -> None:
        self.app, self.label, self.notes = app, label, notes
        notes.append(f"made {label}")

    async def __call__(self, context: Context) -> None:
        self.notes.append(f"into {self.label}")
        await self.app(context)
        self.notes.append(f"out of {self.label}")


class Doing:
    """Changes the context, then calls the next app."""

    def __init__(self, app: App, what: Any) -> None:
        self.app, self.what = app, what

    async def __call__(self, context: Context) -> None:
        self.what(context)
        await self.app(context)


class OwnHeader(JsonTypedDecoderMiddleware):
    def __init__(self, app: App) -> None:
        super().__init__(app, "X-Type")


class OwnDefault(JsonTypedDecoderMiddleware):
    def __init__(self, app: App, type_header_name: str = "X-Type") -> None:
        super().__init__(app, type_header_name)


class WithoutBase(JsonTypedDecoderMiddleware):
    def __init__(self, app: App) -> None:
        self.app = app


def read_own_header(app: App) -> App:
    return JsonTypedDecoderMiddleware(app, "X-Type")


def doing(what: Any) -> list[Middleware]:
    return [Middleware(Doing, what)]


@pytest.fixture
def seen() -> list[Any]:
    return []


@pytest.fixture
def handler(seen: list[Any]) -> Handler:
    handler = Handler()

    @handler.event("Bytes")
    async def on_bytes(value: bytes) -> None:
        seen.append(value)

    @handler.event("Text")
    async def on_text(value: str) -> None:
        seen.append(value)

    @handler.event("Dict")
    async def on_dict(value: dict[str, Any]) -> None:
        seen.append(value)

    @handler.event("Order")
    async def on_order(order: Order) -> None:
        seen.append(order)

    @handler.event("Maybe")
    async def on_maybe(order: Order | None) -> None:
        seen.append(order)

    return handler


class TestStack:
    async def test_the_first_of_the_list_is_outermost_and_each_is_instantiated_once(self, handler: Handler) -> None:
        notes: list[str] = []
        stack = [Middleware(Noting, label="a", notes=notes), Middleware(Noting, "b", notes)]
        dispatch = build_dispatch(handler, stack)
        assert notes == ["made b", "made a"]
        notes.clear()
        for _ in range(2):
            await result_of(dispatch.call(record("Bytes"), slot()))
        assert notes == ["into a", "into b", "out of b", "out of a"] * 2

    async def test_each_attempt_has_a_new_context_and_state(self, handler: Handler) -> None:
        states: list[dict[str, Any]] = []

        def leave_a_mark(context: Context) -> None:
            states.append(dict(context.state))
            context.state["mark"] = 1

        dispatch, at = build_dispatch(handler, doing(leave_a_mark)), slot({"engine": 5})
        for _ in range(2):
            await result_of(dispatch.call(record("Bytes"), at))
        assert states == [{"engine": 5}, {"engine": 5}]

    @pytest.mark.parametrize("wrong", [Through, "Through", None])
    def test_a_list_item_that_is_no_middleware_is_refused(self, handler: Handler, wrong: Any) -> None:
        with pytest.raises(ConfigError, match=r"write Middleware\(cls, \*\*options\)"):
            build_dispatch(handler, [wrong])

    def test_options_that_its_class_does_not_take_are_refused(self, handler: Handler) -> None:
        wrong: Any = {"labl": "a"}
        with pytest.raises(ConfigError, match="middleware Noting cannot be created with its options"):
            build_dispatch(handler, [Middleware(Noting, **wrong)])

    @pytest.mark.parametrize("name", ["", 5, None])
    def test_a_type_header_must_have_a_name(self, handler: Handler, name: Any) -> None:
        with pytest.raises(ConfigError, match="type_header_name is the name of a header"):
            build_dispatch(handler, [Middleware(JsonTypedDecoderMiddleware, type_header_name=name)])

    def test_options_of_the_default_middleware_are_checked_too(self, handler: Handler) -> None:
        wrong: Any = {"header": "X"}
        with pytest.raises(ConfigError, match="cannot be created with its options"):
            build_dispatch(handler, [Middleware(JsonTypedDecoderMiddleware, **wrong)])


class TestEventType:
    async def test_the_handler_reads_the_header_if_no_middleware_does(self, handler: Handler, seen: list[Any]) -> None:
        await give(handler, record("Bytes", b"1"), middleware=[Middleware(Through)])
        assert seen == [b"1"]

    async def test_a_type_that_middleware_has_set_wins(self, handler: Handler, seen: list[Any]) -> None:
        def set_it(context: Context) -> None:
            context.message.event_type = "Text"

        await give(handler, record("Bytes", b"1"), middleware=doing(set_it))
        assert seen == ["1"]

    async def test_none_counts_as_set(self, handler: Handler, seen: list[Any]) -> None:
        def set_it(context: Context) -> None:
            context.message.event_type = None

        assert await give(handler, record("Bytes", b"1"), middleware=doing(set_it)) == Unmatched("no_type")
        assert seen == []

    async def test_the_default_middleware_renames_the_header_in_a_longer_stack(
        self, handler: Handler, seen: list[Any]
    ) -> None:
        stack = [Middleware(Through), Middleware(JsonTypedDecoderMiddleware, type_header_name="X-Type")]
        given = record("Bytes", b"1", headers=[("X-Type", b"Text")])
        await give(handler, given, middleware=stack)
        assert await give(handler, record("Bytes", b"1"), middleware=stack) == Unmatched("no_type")
        assert seen == ["1"]

    async def test_the_request_shows_it(self) -> None:
        handler, seen = Handler(), list[Any]()

        @handler.event("A")
        async def on_a(value: bytes, request: Request) -> None:
            seen.append((request.event_type, request.context.message.event_type))

        def set_it(context: Context) -> None:
            context.message.event_type = "A"

        await give(handler, record(None), middleware=doing(set_it))
        assert seen == [("A", "A")]

    def test_type_header_is_the_header_that_a_stack_reads(self) -> None:
        class Own(JsonTypedDecoderMiddleware): ...

        assert type_header_name_of_stack(None) == "Event-Type"
        assert type_header_name_of_stack([Middleware(Through)]) == "Event-Type"
        assert type_header_name_of_stack([Middleware(Own, type_header_name="A"), Middleware(Through)]) == "A"
        assert type_header_name_of_stack([Middleware(Own, "A"), Middleware(JsonTypedDecoderMiddleware, "B")]) == "B"

    def test_type_header_is_also_that_of_a_constructor_of_ones_own(self) -> None:
        for layer in (Middleware(OwnHeader), Middleware(OwnDefault)):
            assert type_header_name_of_stack([layer, Middleware(Through)]) == "X-Type"
        assert type_header_name_of_stack([Middleware(OwnDefault, type_header_name="Z")]) == "Z"
        assert type_header_name_of_stack([Middleware(OwnDefault, "Z")]) == "Z"
        assert type_header_name_of_stack([Middleware(WithoutBase)]) == "Event-Type"

    def test_type_header_of_a_function_is_known_when_the_app_has_called_it(self, handler: Handler) -> None:
        layer = Middleware(read_own_header)
        assert type_header_name_of_stack([layer]) == "Event-Type"
        build_dispatch(handler, [layer])
        assert type_header_name_of_stack([layer]) == "X-Type"

    def test_type_header_is_the_declared_one_if_a_constructor_needs_a_started_app(self) -> None:
        """`app.asyncapi()` and commands ask without an event loop."""

        class NeedsLoop(JsonTypedDecoderMiddleware):
            def __init__(self, app: App, type_header_name: str = "X-Type") -> None:
                super().__init__(app, type_header_name)
                self.loop = asyncio.get_running_loop()

        class PassesOptions(JsonTypedDecoderMiddleware):
            def __init__(self, app: App, **options: Any) -> None:
                super().__init__(app, **options)
                self.loop = asyncio.get_running_loop()

        class ClassAttribute(JsonTypedDecoderMiddleware):
            type_header_name = "X-Type"

            def __init__(self, app: App) -> None:
                super().__init__(app, {}[asyncio.get_running_loop()])

        def read_loop(app: App) -> App:
            return {}[asyncio.get_running_loop()]

        for layer, name in (
            (Middleware(NeedsLoop), "X-Type"),
            (Middleware(NeedsLoop, "Z"), "Z"),
            (Middleware(NeedsLoop, type_header_name="Z"), "Z"),
            (Middleware(functools.partial(NeedsLoop, type_header_name="Z")), "Z"),
            (Middleware(PassesOptions, type_header_name="Z"), "Z"),
            (Middleware(functools.partial(PassesOptions, type_header_name="Z")), "Z"),
            (Middleware(PassesOptions), "Event-Type"),
            (Middleware(ClassAttribute), "X-Type"),
            (Middleware(read_loop), "Event-Type"),
        ):
            assert type_header_name_of_stack([layer]) == name

    def test_type_header_is_that_of_a_class_in_a_partial(self) -> None:
        layer = Middleware(functools.partial(JsonTypedDecoderMiddleware, type_header_name="X-Type"))
        assert type_header_name_of_stack([layer]) == "X-Type"

    def test_keeps_no_instance_alive(self, handler: Handler) -> None:
        """The default stack is one object for all apps of a process."""

        class Target:
            async def __call__(self, context: Context) -> None: ...

        target = Target()
        dispatch = build_dispatch(target, None)
        gone = weakref.ref(target)
        del target, dispatch
        gc.collect()
        assert gone() is None

    def test_asking_for_the_type_header_of_a_built_stack_creates_nothing(self, handler: Handler) -> None:
        created: list[str] = []

        class Counted(JsonTypedDecoderMiddleware):
            def __init__(self, app: App) -> None:
                super().__init__(app, "X-Type")
                created.append("X-Type")

        middleware = [Middleware(Counted)]
        build_dispatch(handler, middleware)
        assert type_header_name_of_stack(middleware) == "X-Type"
        assert created == ["X-Type"]

    def test_asking_for_the_type_header_creates_no_other_middleware(self) -> None:
        created: list[str] = []
        middleware = [Middleware(OwnHeader), Middleware(Noting, "a", created)]
        assert [type_header_name_of_stack(middleware) for _ in range(2)] == ["X-Type", "X-Type"]
        assert created == []

    def test_a_type_header_of_a_middleware_that_cannot_be_created_is_an_error(self) -> None:
        wrong: Any = {"header": "X"}
        with pytest.raises(ConfigError, match="middleware OwnHeader cannot be created with its options"):
            type_header_name_of_stack([Middleware(OwnHeader, **wrong)])

    async def test_batches_are_chosen_by_the_header_of_a_constructor_of_ones_own(self) -> None:
        handler = Handler()

        @handler.event("Order", batch=True)
        async def on_orders(orders: list[Order]) -> None: ...

        limited_route = build_dispatch(handler, [Middleware(OwnHeader)]).limited_route
        assert limited_route is not None
        assert limited_route(record(None, headers=[("X-Type", b"Order")])) is handler.find_endpoint("Order")
        assert limited_route(record("Order")) is None


class TestValue:
    async def test_a_replaced_value_is_decoded(self, handler: Handler, seen: list[Any]) -> None:
        def replace(context: Context) -> None:
            context.message.value = b'{"order_id": "2"}'

        await give(handler, record("Order", b"encrypted"), middleware=doing(replace))
        assert seen == [Order(order_id="2")]

    async def test_a_value_replaced_by_none_is_a_tombstone(self, handler: Handler, seen: list[Any]) -> None:
        def replace(context: Context) -> None:
            context.message.value = None

        stack = doing(replace)
        assert await give(handler, record("Order", b"{}"), middleware=stack) == Unmatched("tombstone", "Order")
        assert await give(handler, record("Maybe", b"{}"), middleware=stack) is None
        assert seen == [None]

    async def test_the_request_shows_the_replaced_value(self) -> None:
        handler, seen = Handler(), list[Any]()

        @handler.event("A")
        async def on_a(value: dict[str, Any], request: Request) -> None:
            seen.append((value, request.value, await request.json()))

        def replace(context: Context) -> None:
            context.message.value = b'{"a": 1}'

        await give(handler, record("A", b"x"), middleware=doing(replace))
        assert seen == [({"a": 1}, b'{"a": 1}', {"a": 1})]


def decoded(what: Any) -> list[Middleware]:
    """A stack that sets `decoded_value_cb`."""

    def set_it(context: Context) -> None:
        async def value() -> Any:
            return what(context.message.value)

        context.message.decoded_value_cb = value

    return doing(set_it)


class TestDecodedValue:
    async def test_dict_and_model_payloads_are_made_from_it(self, handler: Handler, seen: list[Any]) -> None:
        stack = decoded(lambda value: {"order_id": value.decode()})
        await give(handler, record("Dict", b"7"), middleware=stack)
        await give(handler, record("Order", b"7"), middleware=stack)
        assert seen == [{"order_id": "7"}, Order(order_id="7")]

    async def test_bytes_and_str_payloads_are_not(self, handler: Handler, seen: list[Any]) -> None:
        stack = decoded(lambda value: {"order_id": "7"})
        await give(handler, record("Bytes", b"1"), middleware=stack)
        await give(handler, record("Text", b"2"), middleware=stack)
        assert seen == [b"1", "2"]

    async def test_it_is_not_awaited_if_no_endpoint_matches(self, handler: Handler) -> None:
        asked: list[Any] = []
        assert await give(handler, record("Other", b"1"), middleware=decoded(asked.append)) == no_endpoint("Other")
        assert asked == []

    async def test_it_is_not_awaited_for_a_tombstone(self, handler: Handler, seen: list[Any]) -> None:
        stack = decoded(json.loads)
        for event_type in ("Order", "Text", "Bytes"):
            outcome = await give(handler, record(event_type, None), middleware=stack)
            assert outcome == Unmatched("tombstone", event_type)
        await give(handler, record("Maybe", None), middleware=stack)
        assert seen == [None]

    @pytest.mark.parametrize("value", [b"hunter2", b'{"order_id": {"hunter2": 1}}'], ids=["no json", "no order"])
    async def test_a_fault_in_it_is_a_decode_error_without_the_value(self, handler: Handler, value: bytes) -> None:
        with pytest.raises(DecodeError) as caught:
            await give(handler, record("Order", value), middleware=decoded(json.loads))
        assert "hunter2" not in str(caught.value)
        assert caught.value.__context__ is None

    async def test_other_errors_of_it_are_raised(self, handler: Handler) -> None:
        def away(value: Any) -> Any:
            raise ConnectionError("the registry is away")

        with pytest.raises(ConnectionError):
            await give(handler, record("Order", b"{}"), middleware=decoded(away))


class TestOutcomes:
    async def test_the_return_value_of_a_middleware_is_ignored(self, handler: Handler) -> None:
        class Returning(Through):
            async def __call__(self, context: Any) -> Any:
                await self.app(context)
                return Skip()

        assert await give(handler, record("Bytes"), middleware=[Middleware(Returning)]) is None

    async def test_a_returned_outcome_passes_a_middleware_that_returns_nothing(self) -> None:
        handler = Handler()

        @handler.event("A")
        async def on_a(value: bytes) -> Skip:
            return Skip("old")

        outcome = await give(handler, record("A"), middleware=[Middleware(Through)])
        assert isinstance(outcome, Skip)
        assert outcome.reason == "old"

    @pytest.mark.parametrize("error", [ValueError("swallowed"), Skip()], ids=repr)
    async def test_a_middleware_that_swallows_an_exception_makes_the_record_done(self, error: Exception) -> None:
        handler = Handler()

        @handler.event("A")
        async def on_a(value: bytes) -> None:
            raise error

        class Swallowing(Through):
            async def __call__(self, context: Any) -> None:
                with contextlib.suppress(type(error)):
                    await self.app(context)
                    raise AssertionError("nothing was raised")

        assert await give(handler, record("A"), middleware=[Middleware(Swallowing)]) is None

    async def test_a_middleware_may_raise_an_outcome(self, handler: Handler, seen: list[Any]) -> None:
        def refuse(context: Context) -> None:
            raise Skip("not ours")

        with pytest.raises(Skip, match="not ours"):
            await give(handler, record("Bytes"), middleware=doing(refuse))
        assert seen == []

    async def test_a_middleware_that_does_not_call_the_next_app_makes_the_record_done(
        self, handler: Handler, seen: list[Any]
    ) -> None:
        class Stopping(Through):
            async def __call__(self, context: Any) -> None: ...

        assert await give(handler, record("Bytes"), middleware=[Middleware(Stopping)]) is None
        assert seen == []
