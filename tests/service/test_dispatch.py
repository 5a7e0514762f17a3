"""The dispatch: it finds a record's endpoint, with the default stack and with others."""

from __future__ import annotations

import asyncio
import inspect
from typing import Any

import pytest

from evkafka import ConfigError, Context, DeadLetter, DecodeError, Handler, Request, Retry, Skip
from evkafka.formats import JsonSchema, SchemaRegistry
from evkafka.middleware import JsonTypedDecoderMiddleware, Middleware
from evkafka.outcomes import Unmatched
from evkafka.runtime.attempt import classify_result
from evkafka.serde.formats.consumer_formats import ConsumerFormats
from evkafka.serde.safe_text import NAME_CHARACTERS
from evkafka.service.dispatch import KEPT_TYPES, UnmatchedTypes, build_dispatch
from tests.support.endpoint_calls import FakeRecord, Order, Through, give, no_endpoint, record, result_of, slot


@pytest.fixture
def seen() -> list[Any]:
    return []


@pytest.fixture
def handler(seen: list[Any]) -> Handler:
    handler = Handler()

    @handler.event("A")
    async def on_a(value: bytes) -> None:
        seen.append(("A", value))

    @handler.event("B")
    async def on_b(value: bytes) -> None:
        seen.append(("B", value))

    return handler


class TestRouting:
    async def test_a_record_goes_to_the_endpoint_of_its_type(
        self, handler: Handler, seen: list[Any], stack: Any
    ) -> None:
        at = slot()
        assert await give(handler, record("B", b"1"), middleware=stack, at=at) is None
        assert seen == [("B", b"1")]
        assert at.route is not None
        assert at.route.event_type == "B"

    @pytest.mark.parametrize(
        ("headers", "outcome"),
        [
            ([], Unmatched("no_type")),
            ([("event-type", b"A")], Unmatched("no_type")),
            ([("Event-Type", None)], Unmatched("no_type")),
            ([("Event-Type", b"C")], no_endpoint("C")),
            ([("Event-Type", b"")], no_endpoint("")),
            ([("Event-Type", b"\xff")], no_endpoint("�")),
            ([("Event-Type", None), ("Event-Type", b"A")], Unmatched("no_type")),
            ([("Event-Type", b"C"), ("Event-Type", b"A")], no_endpoint("C")),
        ],
        ids=str,
    )
    async def test_a_record_that_no_endpoint_takes_is_unmatched_and_says_why(
        self, handler: Handler, seen: list[Any], headers: Any, outcome: Unmatched, stack: Any
    ) -> None:
        at = slot()
        assert await give(handler, FakeRecord(b"1", headers), middleware=stack, at=at) == outcome
        assert (seen, at.route) == ([], None)

    async def test_the_first_type_header_counts(self, handler: Handler, seen: list[Any], stack: Any) -> None:
        doubled = FakeRecord(b"1", [("x", b"B"), ("Event-Type", b"A"), ("Event-Type", b"B")])
        await give(handler, doubled, middleware=stack)
        assert seen == [("A", b"1")]

    @pytest.mark.parametrize(
        "value_format", [None, JsonSchema(SchemaRegistry("http://registry.invalid"), fallback="json")]
    )
    async def test_after_a_null_first_type_header_the_topics_type_counts(
        self, handler: Handler, seen: list[Any], value_format: Any, stack: Any
    ) -> None:
        formats = ConsumerFormats(value_format, {}, ["A", "B"]) if value_format is not None else None
        dispatch = build_dispatch(handler, stack, default_event_type_by_topic={"orders": "A"}, formats=formats)
        doubled = FakeRecord(b"1", [("Event-Type", None), ("Event-Type", b"B")])
        await result_of(dispatch.call(doubled, slot()))
        assert seen == [("A", b"1")]

    async def test_the_value_is_not_decoded_when_no_endpoint_matches(self, stack: Any) -> None:
        handler = Handler()

        @handler.event("A")
        async def on_a(order: Order) -> None: ...

        assert await give(handler, record("B", b"no json"), middleware=stack) == no_endpoint("B")

    @pytest.mark.parametrize("headers", [[], [("x", b"y")], [("Event-Type", None)]], ids=str)
    async def test_a_topics_own_type_is_that_of_its_records_without_one(
        self, handler: Handler, seen: list[Any], headers: Any, stack: Any
    ) -> None:
        types = {"orders": "A", "others": "B"}
        await give(handler, FakeRecord(b"1", headers), middleware=stack, default_event_type_by_topic=types)
        assert seen == [("A", b"1")]

    async def test_a_records_own_type_wins_over_its_topics(self, handler: Handler, seen: list[Any], stack: Any) -> None:
        await give(handler, record("B", b"1"), middleware=stack, default_event_type_by_topic={"orders": "A"})
        assert seen == [("B", b"1")]

    async def test_a_topics_type_without_an_endpoint_is_named(self, handler: Handler, stack: Any) -> None:
        types = {"orders": "C"}
        assert await give(
            handler, FakeRecord(b"1"), middleware=stack, default_event_type_by_topic=types
        ) == no_endpoint("C")


class TestSharedHeaders:
    """Neighbours in a log may have the very same tuple of headers."""

    async def test_have_the_same_route(self, handler: Handler, seen: list[Any]) -> None:
        dispatch = build_dispatch(handler, None).call
        shared, other = (("Event-Type", b"A"),), (("Event-Type", b"B"),)
        for value, headers in ((b"1", shared), (b"2", shared), (b"3", other), (b"4", shared), (b"5", ())):
            await result_of(dispatch(FakeRecord(value=value, headers=headers), slot()))
        assert seen == [("A", b"1"), ("A", b"2"), ("B", b"3"), ("A", b"4")]

    async def test_without_a_type_have_the_route_of_their_topic(self, handler: Handler, seen: list[Any]) -> None:
        dispatch = build_dispatch(handler, None, default_event_type_by_topic={"a": "A", "b": "B"}).call
        for topic in ("a", "b", "a", "none"):
            await result_of(dispatch(FakeRecord(topic=topic, value=b"1", headers=()), slot()))
        assert seen == [("A", b"1"), ("B", b"1"), ("A", b"1")]

    async def test_are_read_again_if_they_can_change(self, handler: Handler, seen: list[Any]) -> None:
        dispatch = build_dispatch(handler, None).call
        headers: Any = [("Event-Type", b"A")]
        await result_of(dispatch(FakeRecord(value=b"1", headers=headers), slot()))
        headers[0] = ("Event-Type", b"B")
        await result_of(dispatch(FakeRecord(value=b"2", headers=headers), slot()))
        assert seen == [("A", b"1"), ("B", b"2")]


class TestUnmatchedTypes:
    def test_keep_one_outcome_for_all_records_of_a_type(self) -> None:
        types = UnmatchedTypes()
        assert types[b"A", False] is types[b"A", False] == Unmatched("no_endpoint", "A")
        assert types[b"A", True] == Unmatched("tombstone", "A")
        assert types[None, False] == Unmatched("no_type")

    def test_keep_no_more_than_their_limit_and_no_long_text(self) -> None:
        types, long = UnmatchedTypes(), b"x" * (NAME_CHARACTERS + 1)
        assert types[long, False] == Unmatched("no_endpoint", long.decode())
        assert not types
        for number in range(KEPT_TYPES + 1):
            assert types[b"%d" % number, False] == Unmatched("no_endpoint", str(number))
        assert len(types) == KEPT_TYPES


class TestDefaultStack:
    @pytest.mark.parametrize(
        "middleware",
        [None, [], [Middleware(JsonTypedDecoderMiddleware)]],
        ids=["none", "empty", "default"],
    )
    async def test_returns_the_endpoints_own_coroutine(self, middleware: Any) -> None:
        handler = Handler()

        @handler.event("A")
        async def on_a(value: bytes) -> None: ...

        attempt = build_dispatch(handler, middleware).call(record("A"), slot())
        assert inspect.iscoroutine(attempt)
        assert attempt.cr_code is on_a.__code__
        await attempt

    @pytest.mark.parametrize("name", ["X-Type", "event-type"])
    @pytest.mark.parametrize("by_keyword", [True, False])
    async def test_reads_the_header_that_the_default_middleware_was_given(
        self, handler: Handler, seen: list[Any], name: str, by_keyword: bool
    ) -> None:
        renamed = (
            Middleware(JsonTypedDecoderMiddleware, type_header_name=name)
            if by_keyword
            else Middleware(JsonTypedDecoderMiddleware, name)
        )
        await give(handler, record("A", b"1", headers=[(name, b"B")]), middleware=[renamed])
        assert seen == [("B", b"1")]

    async def test_decode_errors_come_before_the_endpoint_runs(self) -> None:
        handler = Handler()

        @handler.event("A")
        async def on_a(order: Order) -> None: ...

        with pytest.raises(DecodeError):
            build_dispatch(handler, None).call(record("A", b"no json"), slot())

    async def test_a_value_error_of_the_endpoint_is_no_decode_error(self, stack: Any) -> None:
        handler = Handler()

        @handler.event("A")
        async def on_a(order: Order) -> None:
            raise ValueError("mine")

        with pytest.raises(ValueError, match=r"^mine$") as caught:
            await give(handler, record("A", b'{"order_id": "1"}'), middleware=stack)
        assert type(caught.value) is ValueError

    def test_annotations_that_cannot_be_resolved_are_an_error_when_it_is_built(self) -> None:
        handler = Handler()

        async def on_a(order: Nowhere) -> None: ...  # type: ignore[name-defined]  # noqa: F821

        handler.event("A")(on_a)
        with pytest.raises(ConfigError, match="'Nowhere'"):
            build_dispatch(handler, None)


class TestOutcomes:
    @pytest.mark.parametrize(
        "outcome", [Skip("old"), Retry(after_ms=5), DeadLetter("bad"), Skip, Retry, DeadLetter], ids=repr
    )
    @pytest.mark.parametrize("raised", [True, False], ids=["raised", "returned"])
    async def test_an_outcome_may_be_returned_or_raised_as_instance_or_class(
        self, outcome: Any, raised: bool, stack: Any
    ) -> None:
        handler = Handler()

        @handler.event("A")
        async def on_a(value: bytes) -> Any:
            if raised:
                raise outcome
            return outcome

        try:
            result = await give(handler, record("A"), middleware=stack)
        except (Skip, Retry, DeadLetter) as error:
            result = error
        kind = outcome if isinstance(outcome, type) else type(outcome)
        assert type(classify_result(result)) is kind
        if not isinstance(outcome, type):
            assert result is outcome

    @pytest.mark.parametrize("returned", [None, 1, "x", False, ValueError("returned"), [Skip()]], ids=repr)
    async def test_anything_else_that_is_returned_means_done(self, returned: Any, stack: Any) -> None:
        handler = Handler()

        @handler.event("A")
        async def on_a(value: bytes) -> Any:
            return returned

        assert classify_result(await give(handler, record("A"), middleware=stack)) is None

    async def test_a_cancelled_endpoint_is_cancelled(self, stack: Any) -> None:
        handler, began = Handler(), asyncio.Event()

        @handler.event("A")
        async def on_a(value: bytes) -> None:
            began.set()
            await asyncio.Event().wait()

        task = asyncio.create_task(give(handler, record("A"), middleware=stack))
        await began.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


class TestAppCallables:
    async def test_a_bare_callable_gets_every_record(self) -> None:
        seen: list[Any] = []

        async def catch_all(context: Context) -> None:
            seen.append((context.message.value, context.consumer.offset))

        for given in (record("A", b"1"), record(None, None)):
            assert await give(catch_all, given) is None
        assert seen == [(b"1", 7), (None, 7)]

    async def test_its_return_value_is_ignored(self) -> None:
        async def catch_all(context: Context) -> Any:
            return Skip()

        assert await give(catch_all, record("A")) is None

    async def test_its_exceptions_are_raised(self) -> None:
        async def catch_all(context: Context) -> None:
            raise Retry(after_ms=1)

        with pytest.raises(Retry):
            await give(catch_all, record("A"))

    @pytest.mark.parametrize("middleware", [None, [Middleware(JsonTypedDecoderMiddleware)]], ids=["default", "given"])
    async def test_the_default_middleware_wraps_it(self, middleware: Any) -> None:
        seen: list[str | None] = []

        async def catch_all(context: Context) -> None:
            seen.append(context.message.event_type)

        for given in (record("A"), record(None), FakeRecord(b"1", [("Event-Type", None)]), record(None, topic="bills")):
            await give(catch_all, given, middleware=middleware, default_event_type_by_topic={"bills": "BillSent"})
        assert seen == ["A", None, None, "BillSent"]

    async def test_a_given_stack_replaces_the_default_one(self) -> None:
        seen: list[str | None] = []

        async def catch_all(context: Context) -> None:
            seen.append(context.message.event_type)

        for middleware in (
            [],
            [Middleware(Through)],
            [Middleware(JsonTypedDecoderMiddleware, type_header_name="kind")],
        ):
            await give(catch_all, record("A", headers=[("kind", b"B")]), middleware=middleware)
        assert seen == [None, None, "B"]


class TestRoute:
    async def test_an_unmatched_record_clears_the_slots_route(self, handler: Handler, stack: Any) -> None:
        dispatch, at = build_dispatch(handler, stack), slot()
        await result_of(dispatch.call(record("A"), at))
        await result_of(dispatch.call(record("C"), at))
        assert at.route is None

    async def test_a_route_carries_the_event_types_own_limit_and_policy(self, stack: Any) -> None:
        handler, at = Handler(), slot()

        @handler.event("A", timeout_ms=250, on_error={"max_attempts": 2})
        async def on_a(value: bytes, request: Request) -> None: ...

        await give(handler, record("A"), middleware=stack, at=at)
        assert at.route is not None
        assert (at.route.timeout_s, at.route.on_error, at.route.threaded) == (0.25, {"max_attempts": 2}, False)
