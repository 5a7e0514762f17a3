"""Handlers: declaring endpoints, and including those of another handler."""

from __future__ import annotations

from typing import Any

import pytest

from evkafka import ConfigError, Handler, Request
from evkafka.service.dispatch import build_dispatch
from tests.support.endpoint_calls import Order, give, record


async def on_order(order: Order) -> None:
    """Bills an order."""


async def on_other(order: Order) -> None: ...


class TestEvent:
    def test_returns_the_function_unchanged_so_that_decorators_stack(self) -> None:
        handler = Handler()
        assert handler.event("A")(handler.event("B")(on_order)) is on_order
        assert [one.event_type for one in handler.endpoints] == ["B", "A"]

    def test_keeps_its_options(self) -> None:
        handler = Handler()
        handler.event("A", "sum", "what it does", ["x"], on_error={"max_attempts": 3}, timeout_ms=1500)(on_order)
        [endpoint] = handler.endpoints
        assert (endpoint.summary, endpoint.description, endpoint.tags) == ("sum", "what it does", ("x",))
        assert (endpoint.on_error, endpoint.timeout_s, endpoint.payload_type) == ({"max_attempts": 3}, 1.5, Order)
        assert endpoint.name == "tests.endpoints.test_handler.on_order"

    def test_takes_the_description_from_the_docstring(self) -> None:
        handler = Handler()
        handler.event("A")(on_order)
        assert handler.endpoints[0].description == "Bills an order."

    def test_a_second_endpoint_for_an_event_type_is_refused_at_registration_naming_both(self) -> None:
        handler = Handler()
        handler.event("A")(on_order)
        with pytest.raises(ConfigError, match=r"'A'.*test_handler\.on_order and .*test_handler\.on_other"):
            handler.event("A")(on_other)

    @pytest.mark.parametrize("event_type", ["", None, 5, on_order])
    def test_an_event_type_must_be_a_non_empty_string(self, event_type: Any) -> None:
        with pytest.raises(ConfigError, match="an event type is a non-empty string"):
            Handler().event(event_type)

    @pytest.mark.parametrize("timeout_ms", [0, -1, True, 1.5, "1"])
    def test_timeout_ms_must_be_a_positive_whole_number(self, timeout_ms: Any) -> None:
        with pytest.raises(ConfigError, match="timeout_ms of event type 'A'"):
            Handler().event("A", timeout_ms=timeout_ms)

    def test_registering_after_the_start_is_a_runtime_error(self) -> None:
        handler = Handler()
        build_dispatch(handler, None)
        with pytest.raises(RuntimeError, match="the app has started"):
            handler.event("A")(on_order)
        with pytest.raises(RuntimeError, match="the app has started"):
            handler.default()(on_order)
        with pytest.raises(RuntimeError, match="the app has started"):
            handler.include_handler(Handler())

    def test_one_handler_may_serve_several_consumers(self) -> None:
        handler = Handler()
        handler.event("A")(on_order)
        assert build_dispatch(handler, None) is not build_dispatch(handler, None)


class TestDefault:
    async def test_gets_the_records_that_no_endpoint_matches(self, stack: Any) -> None:
        handler = Handler()

        @handler.event("A")
        async def on_a(value: bytes) -> None: ...

        @handler.default()
        async def on_rest(value: bytes, request: Request) -> Any:
            seen.append((value, request.event_type))

        seen: list[Any] = []
        for given in (record("A", b"0"), record("B", b"1"), record(None, b"2"), record(b"\xff", b"3")):
            await give(handler, given, middleware=stack)
        assert seen == [(b"1", "B"), (b"2", None), (b"3", "�")]

    def test_a_second_default_is_refused_naming_both(self) -> None:
        handler = Handler()
        handler.default()(on_order)
        with pytest.raises(ConfigError, match=r"two default endpoints: .*on_order and .*on_other"):
            handler.default()(on_other)

    def test_is_the_last_of_the_endpoints(self) -> None:
        handler = Handler()
        handler.default()(on_order)
        handler.event("A")(on_other)
        assert [one.is_default for one in handler.endpoints] == [False, True]

    async def test_does_not_take_an_event_type_named_default(self) -> None:
        handler, seen = Handler(), list[str]()

        @handler.event("default")
        async def named(value: bytes) -> None:
            seen.append("named")

        @handler.default()
        async def rest(value: bytes) -> None:
            seen.append("rest")

        await give(handler, record("default"))
        await give(handler, record("other"))
        assert seen == ["named", "rest"]


class TestIncludeHandler:
    def test_includes_all_endpoints_of_the_other(self) -> None:
        other, handler = Handler(), Handler()
        other.event("A", "sum", "text", ["x"], on_error={"max_attempts": 3}, timeout_ms=1500)(on_order)
        other.default()(on_other)
        handler.include_handler(other)
        assert handler.endpoints == other.endpoints

    def test_includes_endpoints_that_the_other_declares_later(self) -> None:
        other, middle, handler = Handler(), Handler(), Handler()
        handler.include_handler(middle)
        middle.include_handler(other)
        other.event("A")(on_order)
        assert [one.event_type for one in handler.endpoints] == ["A"]

    def test_a_conflict_is_refused_and_changes_nothing(self) -> None:
        other, handler = Handler(), Handler()
        other.event("New")(on_other)
        other.event("A")(on_other)
        handler.event("A")(on_order)
        with pytest.raises(ConfigError, match="'A' has two endpoints"):
            handler.include_handler(other)
        assert [one.event_type for one in handler.endpoints] == ["A"]

    def test_a_later_conflict_is_refused_at_its_registration_and_changes_nothing(self) -> None:
        other, handler = Handler(), Handler()
        handler.include_handler(other)
        handler.event("A")(on_order)
        with pytest.raises(ConfigError, match="'A' has two endpoints"):
            other.event("A")(on_other)
        assert other.endpoints == ()

    def test_two_defaults_are_a_conflict(self) -> None:
        other, handler = Handler(), Handler()
        other.default()(on_other)
        handler.default()(on_order)
        with pytest.raises(ConfigError, match="two default endpoints"):
            handler.include_handler(other)

    def test_a_handler_cannot_include_itself(self) -> None:
        handler = Handler()
        with pytest.raises(ConfigError, match="cannot include itself"):
            handler.include_handler(handler)

    def test_handlers_that_include_each_other_share_their_endpoints(self) -> None:
        one, two = Handler(), Handler()
        one.include_handler(two)
        two.include_handler(one)
        one.event("A")(on_order)
        two.event("B")(on_other)
        assert {e.event_type for e in one.endpoints} == {e.event_type for e in two.endpoints} == {"A", "B"}

    def test_including_twice_is_the_same_as_once(self) -> None:
        other, handler = Handler(), Handler()
        other.event("A")(on_order)
        handler.include_handler(other)
        handler.include_handler(other)
        assert len(handler.endpoints) == 1

    def test_the_other_refuses_endpoints_once_the_including_one_has_started(self) -> None:
        other, handler = Handler(), Handler()
        handler.include_handler(other)
        build_dispatch(handler, None)
        with pytest.raises(RuntimeError, match="the app has started"):
            other.event("A")(on_order)

    def test_something_else_than_a_handler_is_refused(self) -> None:
        not_a_handler: Any = on_order
        with pytest.raises(ConfigError, match="takes a Handler"):
            Handler().include_handler(not_a_handler)
