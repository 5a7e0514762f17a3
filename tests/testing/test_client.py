"""TestClient delivers an event through the consumer's own middleware, once, and returns the outcome."""

from __future__ import annotations

import asyncio
import contextvars
import threading
import time
import traceback
from typing import Any
from unittest import mock

import pytest
from pydantic import BaseModel

from evkafka import (
    App,
    ConfigError,
    DeadLetter,
    DecodeError,
    EndpointTimeout,
    EVKafkaApp,
    Handler,
    Middleware,
    Request,
    Retry,
    Skip,
    TestClient,
)
from evkafka.exceptions import EncodeError
from evkafka.middleware import JsonTypedDecoderMiddleware
from tests.support.apps import app_of


class Order(BaseModel):
    order_id: str


class TestDelivering:
    def test_an_endpoint_gets_the_event_and_the_record_behind_it(self) -> None:
        handler, seen = Handler(), mock.Mock()

        @handler.event("OrderPlaced")
        async def on_order(order: Order, request: Request) -> None:
            seen(order, request.key, request.headers["trace"], request.partition, request.timestamp_ms, request.topic)

        with TestClient(app_of(handler)) as client:
            delivery = client.send_event(
                Order(order_id="7"),
                "OrderPlaced",
                "orders",
                key="k",
                partition=3,
                timestamp_ms=12,
                headers={"trace": "t", "none": None},
            )

        assert (delivery.outcome, delivery.error) == ("done", None)
        seen.assert_called_once_with(Order(order_id="7"), b"k", b"t", 3, 12, "orders")

    @pytest.mark.parametrize(
        ("event", "value"),
        [
            ({"a": 1}, b'{"a": 1}'),
            ("text", b"text"),
            (b"\xff", b"\xff"),
            (Order(order_id="1"), b'{"order_id":"1"}'),
            ([1, 2], b"[1,2]"),
        ],
    )
    def test_events_become_the_bytes_that_a_producer_would_send(self, event: Any, value: bytes) -> None:
        handler, seen = Handler(), mock.Mock()

        @handler.event("X")
        async def on_x(raw: bytes) -> None:
            seen(raw)

        with TestClient(app_of(handler)) as client:
            client.send_event(event, "X", "orders")

        seen.assert_called_once_with(value)

    def test_offsets_count_up_in_each_partition_and_the_timestamp_is_now(self) -> None:
        handler = Handler()
        seen: list[tuple[str, int, int]] = []
        stamps: list[int] = []

        @handler.event("X")
        async def on_x(event: dict[str, Any], request: Request) -> None:
            seen.append((request.topic, request.partition, request.offset))
            stamps.append(request.timestamp_ms)

        before_ms = int(time.time() * 1000)
        with TestClient(app_of(handler)) as client:
            client.send_event({}, "X", "orders")
            client.send_event({}, "X", "orders", partition=1)
            client.send_event({}, "X", "orders")
            client.send_event({}, "X", "other")

        assert seen == [("orders", 0, 0), ("orders", 1, 0), ("orders", 0, 1), ("other", 0, 0)]
        assert all(before_ms <= stamp <= time.time() * 1000 for stamp in stamps)

    def test_the_type_is_in_the_header_that_the_middleware_reads(self) -> None:
        handler, seen = Handler(), mock.Mock()

        @handler.event("X")
        async def on_x(event: dict[str, Any], request: Request) -> None:
            seen(request.headers)

        renamed = [Middleware(JsonTypedDecoderMiddleware, type_header_name="X-Type")]
        with TestClient(app_of(handler, middleware=renamed)) as client:
            assert client.send_event({}, "X", "orders", headers={"X-Type": b"Y", "a": b"b"}).outcome == "done"

        seen.assert_called_once_with({"X-Type": b"X", "a": b"b"})

    def test_the_header_of_a_subclass_with_its_own_constructor_is_used_everywhere(self) -> None:
        created: list[App] = []

        class OwnHeader(JsonTypedDecoderMiddleware):
            def __init__(self, app: App) -> None:
                super().__init__(app, "X-Type")
                created.append(app)

        handler, seen = Handler(), mock.Mock()
        handler.event("X")(_calling(seen))
        app = app_of(handler, middleware=[Middleware(OwnHeader)])
        with TestClient(app) as client:
            assert client.send_event({}, "X", "orders").outcome == "done"
        assert "X-Type" in app.asyncapi()
        assert "Event-Type" not in app.asyncapi()
        assert len(created) == 1

    def test_a_consumers_own_stack_decides_about_its_header(self) -> None:
        handler, seen = Handler(), mock.Mock()

        @handler.event("X")
        async def on_x(event: dict[str, Any], request: Request) -> None:
            seen(request.context.consumer.name, *request.headers)

        app = EVKafkaApp()
        renamed = [Middleware(JsonTypedDecoderMiddleware, type_header_name="X-Type")]
        app.add_consumer({"topics": ["t"]}, handler, name="renamed", middleware=renamed)
        app.add_consumer({"topics": ["t"]}, handler, name="plain")
        with TestClient(app) as client:
            client.send_event({}, "X", "t", consumer_name="renamed")
            client.send_event({}, "X", "t", consumer_name="plain")

        assert seen.mock_calls == [mock.call("renamed", "X-Type"), mock.call("plain", "Event-Type")]

    def test_a_record_without_a_type_has_its_topics(self) -> None:
        handler, seen = Handler(), mock.Mock()
        handler.event("Row")(_calling(seen))
        app = EVKafkaApp()
        app.add_consumer({"topics": [{"name": "rows", "event_type": "Row"}]}, handler)

        with TestClient(app) as client:
            assert client.send_event({"n": 1}, None, "rows").outcome == "done"
            assert client.send_event({"n": 1}, None, "elsewhere").reason == "no_type"

        seen.assert_called_once_with({"n": 1})

    def test_a_plain_def_endpoint_runs_in_a_thread_of_the_consumers(self) -> None:
        handler, seen = Handler(), mock.Mock()

        @handler.event("X")
        def on_x(event: dict[str, Any]) -> None:
            seen(threading.current_thread().name)

        with TestClient(app_of(handler)) as client:
            client.send_event({}, "X", "orders")

        [call] = seen.mock_calls
        assert call.args[0].startswith("evkafka-consumer-1")

    def test_an_app_callable_is_a_consumer_too(self) -> None:
        seen = mock.AsyncMock()

        with TestClient(app_of(seen)) as client:
            assert client.send_event({}, "X", "orders").outcome == "done"

        assert seen.await_args is not None
        assert seen.await_args.args[0].message.value == b"{}"

    def test_a_pre_commit_consumer_is_called_as_any(self) -> None:
        handler, seen = Handler(), mock.Mock()
        handler.event("X")(_calling(seen))
        app = EVKafkaApp()
        app.add_consumer({"topics": ["t"], "auto_commit_mode": "pre-commit"}, handler)

        with TestClient(app) as client:
            client.send_event({}, "X", "t")

        seen.assert_called_once_with({})


def _calling(seen: mock.Mock) -> Any:
    async def endpoint(event: dict[str, Any]) -> None:
        seen(event)

    return endpoint


class TestOutcomes:
    @pytest.mark.parametrize("raised", [True, False])
    @pytest.mark.parametrize(
        ("outcome", "name", "reason", "after_ms"),
        [
            (Skip("old"), "skip", "old", None),
            (Skip, "skip", "", None),
            (Retry(after_ms=500), "retry", "", 500),
            (Retry, "retry", "", None),
            (DeadLetter("bad"), "dead_letter", "bad", None),
            (DeadLetter, "dead_letter", "", None),
        ],
    )
    def test_an_outcome_is_returned_and_not_raised(
        self, outcome: Any, name: str, reason: str, after_ms: int | None, raised: bool
    ) -> None:
        handler = Handler()

        @handler.event("X")
        async def on_x(event: dict[str, Any]) -> Any:
            if raised:
                raise outcome
            return outcome

        with TestClient(app_of(handler)) as client:
            delivery = client.send_event({}, "X", "orders")

        assert (delivery.outcome, delivery.error) == (name, None)
        assert (delivery.reason, delivery.after_ms) == (reason, after_ms)

    @pytest.mark.parametrize(
        ("event", "event_type", "reason"), [({}, "Y", "no_endpoint"), ({}, None, "no_type"), (None, "X", "tombstone")]
    )
    def test_an_event_without_an_endpoint_is_unmatched(self, event: Any, event_type: str | None, reason: str) -> None:
        handler = Handler()
        handler.event("X")(_calling(mock.Mock()))

        with TestClient(app_of(handler)) as client:
            delivery = client.send_event(event, event_type, "orders")

        assert (delivery.outcome, delivery.error, delivery.reason) == ("unmatched", None, reason)

    def test_a_tombstone_is_none_for_an_endpoint_that_admits_it(self) -> None:
        handler, seen = Handler(), mock.Mock()

        @handler.event("X")
        async def on_x(order: Order | None) -> None:
            seen(order)

        with TestClient(app_of(handler)) as client:
            assert client.send_event(None, "X", "orders", key="1").outcome == "done"

        seen.assert_called_once_with(None)

    def test_a_middlewares_outcome_is_returned_as_well(self) -> None:
        class Bouncer:
            def __init__(self, app: Any) -> None:
                self.app = app

            async def __call__(self, context: Any) -> None:
                raise Skip("bounced")

        handler, seen = Handler(), mock.Mock()
        handler.event("X")(_calling(seen))
        with TestClient(app_of(handler, middleware=[Middleware(Bouncer)])) as client:
            assert client.send_event({}, "X", "orders").outcome == "skip"

        seen.assert_not_called()


class TestErrors:
    def test_the_exception_of_an_endpoint_is_raised_itself_with_its_line(self) -> None:
        handler, error = Handler(), LookupError("no such order")

        @handler.event("X")
        async def on_x(event: dict[str, Any]) -> None:
            raise error

        with TestClient(app_of(handler)) as client, pytest.raises(LookupError) as raised:
            client.send_event({}, "X", "orders")

        assert raised.value is error
        assert "raise error" in "".join(traceback.format_exception(error))

    def test_errors_are_left_in_the_delivery_where_the_test_asks_for_it(self) -> None:
        handler, error = Handler(), LookupError("no such order")

        @handler.event("X")
        def on_x(event: dict[str, Any]) -> None:
            raise error

        with TestClient(app_of(handler), raise_endpoint_errors=False) as client:
            delivery = client.send_event({}, "X", "orders")

        assert delivery.outcome == "failed"
        assert delivery.error is error

    def test_the_option_goes_by_its_other_name_too(self) -> None:
        handler = Handler()

        @handler.event("X")
        async def on_x(event: dict[str, Any]) -> None:
            raise ValueError

        with TestClient(app_of(handler), raise_handler_errors=False) as client:
            assert client.send_event({}, "X", "orders").outcome == "failed"

    def test_a_value_that_is_not_the_payload_is_a_decode_error(self) -> None:
        handler = Handler()

        @handler.event("X")
        async def on_x(order: Order) -> None: ...

        with TestClient(app_of(handler)) as client, pytest.raises(DecodeError, match="order_id: Field required"):
            client.send_event({}, "X", "orders")

    def test_an_endpoint_that_runs_past_its_time_limit_is_cut(self) -> None:
        handler, cut = Handler(), mock.Mock()

        @handler.event("X")
        async def on_x(event: dict[str, Any]) -> None:
            try:
                await asyncio.Event().wait()
            finally:
                cut()

        app = EVKafkaApp()
        app.add_consumer({"topics": ["t"], "max_endpoint_exec_time_ms": 30}, handler)
        with (
            TestClient(app) as client,
            pytest.raises(EndpointTimeout, match=r"exceeded its time limit of 0\.03 s") as raised,
        ):
            client.send_event({}, "X", "t")

        cut.assert_called_once()
        assert "Event().wait()" in "".join(traceback.format_exception(raised.value))

    def test_an_event_types_own_time_limit_counts_before_the_consumers(self) -> None:
        handler = Handler()

        @handler.event("X", timeout_ms=30)
        async def on_x(event: dict[str, Any]) -> None:
            await asyncio.Event().wait()

        with TestClient(app_of(handler)) as client, pytest.raises(EndpointTimeout, match=r"0\.03 s"):
            client.send_event({}, "X", "orders")

    def test_a_thread_that_overruns_is_waited_for_and_its_result_counts(self) -> None:
        handler, warned = Handler(), threading.Event()

        @handler.event("X", timeout_ms=20)
        def on_x(event: dict[str, Any]) -> Any:
            assert warned.wait(60)
            return Skip("late")

        logged = mock.patch("evkafka.service.single_attempt.logger.warning", side_effect=lambda *_: warned.set())
        with TestClient(app_of(handler)) as client, logged:
            assert client.send_event({}, "X", "orders").reason == "late"

    @pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, MemoryError])
    @pytest.mark.parametrize("threaded", [True, False])
    def test_an_exception_that_would_end_the_app_is_always_raised_and_the_client_stays_usable(
        self, kind: type[BaseException], threaded: bool
    ) -> None:
        handler = Handler()

        def plain(event: dict[str, Any]) -> None:
            raise kind

        async def on_loop(event: dict[str, Any]) -> None:
            raise kind

        handler.event("X")(plain if threaded else on_loop)
        handler.event("Y")(_calling(mock.Mock()))
        with TestClient(app_of(handler), raise_endpoint_errors=False) as client:
            with pytest.raises(kind):
                client.send_event({}, "X", "orders")
            assert client.send_event({}, "Y", "orders").outcome == "done"

    def test_an_endpoints_own_cancelled_error_is_a_failure(self) -> None:
        handler = Handler()

        @handler.event("X")
        async def on_x(event: dict[str, Any]) -> None:
            raise asyncio.CancelledError

        with TestClient(app_of(handler), raise_endpoint_errors=False) as client:
            delivery = client.send_event({}, "X", "orders")

        assert delivery.outcome == "failed"
        assert isinstance(delivery.error, asyncio.CancelledError)

    def test_an_event_that_cannot_be_encoded_is_named(self) -> None:
        handler = Handler()
        handler.event("X")(_calling(mock.Mock()))

        with (
            TestClient(app_of(handler)) as client,
            pytest.raises(EncodeError, match=r"event 'X' \(dict\) cannot be encoded"),
        ):
            client.send_event({"a": object()}, "X", "orders")


class TestConsumers:
    def _app(self, *names: str) -> EVKafkaApp:
        app = EVKafkaApp()
        for name in names:
            app.add_consumer({"topics": [name]}, Handler(), name=name)
        return app

    def test_with_several_the_name_is_asked_for(self) -> None:
        with (
            TestClient(self._app("one", "two")) as client,
            pytest.raises(ConfigError, match="choose one: 'one', 'two'"),
        ):
            client.send_event({}, "X", "one")

    def test_an_unknown_name_is_answered_with_those_there_are(self) -> None:
        with TestClient(self._app("one", "two")) as client, pytest.raises(ConfigError, match=r"'tow'.*'one', 'two'"):
            client.send_event({}, "X", "one", consumer_name="tow")

    def test_an_app_without_a_consumer_says_so(self) -> None:
        with TestClient(self._app()) as client, pytest.raises(ConfigError, match="has no consumer"):
            client.send_event({}, "X", "one")


class TestContextVariables:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")

    @pytest.mark.parametrize("threaded", [True, False])
    def test_an_endpoint_sees_the_tests(self, threaded: bool) -> None:
        handler, seen = Handler(), mock.Mock()

        def plain(event: dict[str, Any]) -> None:
            seen(self.variable.get())

        handler.event("X")(plain if threaded else _asynchronous(plain))
        with TestClient(app_of(handler)) as client:
            token = self.variable.set("of the test")
            client.send_event({}, "X", "orders")
            self.variable.reset(token)
            client.send_event({}, "X", "orders")

        assert seen.mock_calls == [mock.call("of the test"), mock.call("unset")]


def _asynchronous(function: Any) -> Any:
    async def endpoint(event: dict[str, Any]) -> None:
        function(event)

    return endpoint


class TestUse:
    def test_outside_of_with_it_says_how_to_open_it(self) -> None:
        with pytest.raises(RuntimeError, match=r"with TestClient\(app\) as client"):
            TestClient(app_of(Handler())).send_event({}, "X", "orders")

    async def test_in_an_async_test_it_points_to_the_async_client(self) -> None:
        with pytest.raises(RuntimeError, match=r"async with AsyncTestClient\(app\)"), TestClient(app_of(Handler())):
            pass

    def test_it_takes_an_app_and_nothing_else(self) -> None:
        with pytest.raises(ConfigError, match="not Handler"):
            TestClient(Handler())  # type: ignore[arg-type]

    def test_a_client_can_be_entered_again_with_a_fresh_state(self) -> None:
        handler, offsets = Handler(), []

        @handler.event("X")
        async def on_x(event: dict[str, Any], request: Request) -> None:
            offsets.append(request.offset)

        client = TestClient(app_of(handler))
        for _ in range(2):
            with client:
                client.send_event({}, "X", "orders")
        assert offsets == [0, 0]

    def test_it_leaves_no_thread_behind(self) -> None:
        handler = Handler()

        @handler.event("X")
        def on_x(event: dict[str, Any]) -> None: ...

        before = set(threading.enumerate())
        with TestClient(app_of(handler)) as client:
            client.send_event({}, "X", "orders")
        client_threads = [t for t in set(threading.enumerate()) - before if not t.name.startswith("evkafka-consumer")]
        assert client_threads == []

    def test_pytest_does_not_take_it_for_a_test(self) -> None:
        assert TestClient.__test__ is False

    def test_declarations_after_the_start_are_refused(self) -> None:
        app = app_of(Handler())
        with TestClient(app), pytest.raises(RuntimeError, match="has started"):
            app.add_consumer({"topics": ["t"]}, Handler())
