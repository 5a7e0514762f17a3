"""Declaring batch endpoints and an event type's own limits; one attempt at a batch, without Kafka."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import pytest
from pydantic import BaseModel

from evkafka import BatchError, ConfigError, Context, DeadLetter, DecodeError, EVKafkaApp, Handler, Request, Skip
from evkafka.middleware import JsonTypedDecoderMiddleware, Middleware
from evkafka.outcomes import Failed, PartialFailure
from evkafka.records import Record
from evkafka.service.dispatch import build_dispatch
from tests.support.endpoint_calls import FakeRecord, Through, give, record, slot


async def attempt(handler: Handler, records: Sequence[Record], middleware: list[Middleware] | None = None) -> Any:
    """Runs a batch as the runtime does; returns the result of the batch, or of each record."""
    dispatch = build_dispatch(handler, middleware)
    at = slot()
    assert dispatch.limited_route is not None
    at.route = dispatch.limited_route(records[0])
    batch = dispatch.open_batch(records, at)
    try:
        early = await batch.run_up_to_endpoint()
        result = await batch.run_endpoint([index for index in range(len(records)) if index not in early])
    finally:
        await batch.close()
    if not early:
        return result
    assert isinstance(result, PartialFailure) or result is None
    return PartialFailure({**early, **(result.ends if result else {})})  # type: ignore[dict-item]


def orders(*numbers: int) -> list[FakeRecord]:
    return [record("OrderPlaced", b'{"number": %d}' % number, offset=number) for number in numbers]


class Order(BaseModel):
    number: int


STACKS = [
    pytest.param(None, id="default"),
    pytest.param([Middleware(Through), Middleware(JsonTypedDecoderMiddleware)], id="own"),
]


class TestDeclaring:
    def test_keeps_its_options_also_when_included(self) -> None:
        inner, outer = Handler(), Handler()

        @inner.event("A", batch=True, max_records=10, max_wait_ms=0, concurrency=2)
        async def on_orders(orders: list[Order], requests: list[Request]) -> None: ...

        outer.include_handler(inner)
        [endpoint] = outer.endpoints
        assert endpoint.batch is not None
        assert (endpoint.batch.max_records, endpoint.batch.max_wait_s, endpoint.concurrency) == (10, 0, 2)
        assert endpoint.payload_type is Order

    def test_the_app_takes_the_same_options(self) -> None:
        app = EVKafkaApp({"topics": ["t"], "group_id": "g"})

        @app.event("A", batch=True, max_records=10, concurrency=2, timeout_ms=1000, on_error={"max_attempts": 2})
        async def on_orders(orders: list[Order]) -> None: ...

        assert app._handler is not None
        [endpoint] = app._handler.endpoints
        assert (endpoint.concurrency, endpoint.timeout_s, endpoint.on_error) == (2, 1.0, {"max_attempts": 2})

    @pytest.mark.parametrize("annotation", [Order, list[Order] | None, dict[str, Any]])
    def test_a_payload_that_is_no_list_is_refused(self, annotation: Any) -> None:
        async def on_orders(orders: Any) -> None: ...

        on_orders.__annotations__["orders"] = annotation
        with pytest.raises(ConfigError, match=r"'orders' is not a list.*orders: list\[Order\]"):
            Handler().event("A", batch=True)(on_orders)

    def test_a_request_that_is_no_list_is_refused(self) -> None:
        async def on_orders(orders: list[Order], request: Request) -> None: ...

        with pytest.raises(ConfigError, match="'request' is not a list"):
            Handler().event("A", batch=True)(on_orders)

    @pytest.mark.parametrize(
        ("options", "said"),
        [
            ({"max_records": 0}, "max_records of event type 'A' is a positive whole number"),
            ({"max_wait_ms": -1}, "max_wait_ms of event type 'A'"),
            ({"concurrency": 0}, "concurrency of event type 'A'"),
            ({"concurrency": True}, "concurrency of event type 'A'"),
        ],
    )
    def test_options_out_of_their_range_are_refused(self, options: dict[str, Any], said: str) -> None:
        with pytest.raises(ConfigError, match=said):
            Handler().event("A", batch=True, **options)


@pytest.mark.parametrize("middleware", STACKS)
class TestOneAttempt:
    async def test_gives_payloads_and_requests_in_order(self, middleware: list[Middleware] | None) -> None:
        handler, seen = Handler(), []

        @handler.event("OrderPlaced", batch=True)
        async def on_orders(requests: list[Request], orders: list[Order]) -> None:
            seen.extend(
                (order.number, request.offset, request.attempt) for order, request in zip(orders, requests, strict=True)
            )

        assert await attempt(handler, orders(1, 2, 3), middleware) in (None, PartialFailure({}))
        assert seen == [(1, 1, 1), (2, 2, 1), (3, 3, 1)]

    async def test_a_plain_def_runs_in_a_thread(self, middleware: list[Middleware] | None) -> None:
        handler, seen = Handler(), []

        @handler.event("OrderPlaced", batch=True)
        def on_orders(orders: list[Order]) -> None:
            seen.append(threading.current_thread() is threading.main_thread())

        await attempt(handler, orders(1, 2), middleware)
        assert seen == [False]

    async def test_records_that_cannot_be_decoded_end_before_the_others_are_run(
        self, middleware: list[Middleware] | None
    ) -> None:
        handler, seen = Handler(), []

        @handler.event("OrderPlaced", batch=True)
        async def on_orders(orders: list[Order]) -> None:
            seen.extend(order.number for order in orders)

        result = await attempt(handler, [*orders(1), record("OrderPlaced", b"no", offset=2), *orders(3)], middleware)
        assert seen == [1, 3]
        end = result.ends[1]
        assert isinstance(end, Failed)
        assert isinstance(end.error, DecodeError)
        assert (end.retriable, end.error.offset) == (False, 2)

    async def test_a_batch_error_fails_the_records_that_it_names(self, middleware: list[Middleware] | None) -> None:
        handler, fault = Handler(), ValueError("no")

        @handler.event("OrderPlaced", batch=True)
        async def on_orders(orders: list[Order]) -> None:
            raise BatchError({0: fault, 2: DeadLetter("bad"), 3: Skip})  # type: ignore[dict-item]

        result = await attempt(handler, orders(1, 2, 3, 4), middleware)
        assert set(result.ends) == {0, 2, 3}
        assert result.ends[0] == Failed(fault)
        assert result.ends[2].reason == "bad"
        assert isinstance(result.ends[3], Skip)

    @pytest.mark.parametrize("befell", [StopIteration(), StopAsyncIteration(), GeneratorExit(), StopIteration])
    async def test_a_batch_error_may_name_any_exception_for_a_record(
        self, middleware: list[Middleware] | None, befell: Any
    ) -> None:
        """Also one that a future refuses, and one that ends a generator; the other records are done."""
        handler = Handler()

        @handler.event("OrderPlaced", batch=True)
        async def on_orders(orders: list[Order]) -> None:
            raise BatchError({1: befell})

        result = await attempt(handler, orders(1, 2, 3), middleware)
        assert set(result.ends) == {1}
        assert isinstance(result.ends[1], Failed)

    async def test_any_other_exception_fails_the_whole_batch(self, middleware: list[Middleware] | None) -> None:
        handler = Handler()

        @handler.event("OrderPlaced", batch=True)
        async def on_orders(orders: list[Order]) -> None:
            raise ValueError("all of it")

        with pytest.raises(ValueError, match="all of it"):
            await attempt(handler, orders(1, 2), middleware)

    @pytest.mark.parametrize("failed", [{7: ValueError()}, {-1: ValueError()}, {"0": ValueError()}, {0: "bad"}])
    async def test_an_invalid_batch_error_fails_the_whole_batch(
        self, middleware: list[Middleware] | None, failed: Any
    ) -> None:
        handler = Handler()

        @handler.event("OrderPlaced", batch=True)
        async def on_orders(orders: list[Order]) -> None:
            raise BatchError(failed)

        with pytest.raises(TypeError, match="BatchError"):
            await attempt(handler, orders(1, 2), middleware)

    async def test_a_single_record_is_a_batch_of_one(self, middleware: list[Middleware] | None) -> None:
        handler, seen = Handler(), []

        @handler.event("OrderPlaced", batch=True)
        async def on_orders(orders: list[Order]) -> None:
            seen.append([order.number for order in orders])
            raise BatchError({0: Skip("not this one")})

        [one] = orders(5)
        result = await give(handler, one, middleware=middleware)
        assert seen == [[5]]
        assert isinstance(result, Skip)


class TestACustomStack:
    async def test_wraps_every_record_and_sees_its_result(self) -> None:
        handler, seen = Handler(), []

        class Watch(Through):
            async def __call__(self, context: Context) -> None:
                try:
                    await self.app(context)
                except ValueError:
                    seen.append((context.record.offset, "failed"))
                    raise
                seen.append((context.record.offset, "ended"))

        @handler.event("OrderPlaced", batch=True)
        async def on_orders(orders: list[Order]) -> None:
            seen.append((0, "run"))
            raise BatchError({1: ValueError()})

        result = await attempt(handler, orders(1, 2, 3), [Middleware(Watch)])
        assert seen == [(0, "run"), (1, "ended"), (2, "failed"), (3, "ended")]
        assert set(result.ends) == {1}

    async def test_one_that_swallows_the_failure_makes_its_record_done(self) -> None:
        handler = Handler()

        class Swallow(Through):
            async def __call__(self, context: Context) -> None:
                try:
                    await self.app(context)
                except ValueError:
                    if context.record.offset == 2:
                        return
                    raise

        @handler.event("OrderPlaced", batch=True)
        async def on_orders(orders: list[Order]) -> None:
            raise ValueError

        result = await attempt(handler, orders(1, 2, 3), [Middleware(Swallow)])
        assert set(result.ends) == {0, 2}

    async def test_one_that_does_not_call_the_next_app_leaves_its_record_out(self) -> None:
        handler, seen = Handler(), []

        class Odd(Through):
            async def __call__(self, context: Context) -> None:
                if context.record.offset % 2:
                    await self.app(context)

        @handler.event("OrderPlaced", batch=True)
        async def on_orders(orders: list[Order]) -> None:
            seen.extend(order.number for order in orders)

        result = await attempt(handler, orders(1, 2, 3), [Middleware(Odd)])
        assert seen == [1, 3]
        assert result.ends == {1: None}

    async def test_sets_the_values_that_payloads_are_decoded_from(self) -> None:
        handler, seen = Handler(), []

        class Decode(Through):
            async def __call__(self, context: Context) -> None:
                async def decoded() -> Any:
                    return {"number": context.record.offset * 10}

                context.message.decoded_value_cb = decoded
                await self.app(context)

        @handler.event("OrderPlaced", batch=True)
        async def on_orders(orders: list[Order]) -> None:
            seen.extend(order.number for order in orders)

        await attempt(handler, orders(1, 2), [Middleware(Decode)])
        assert seen == [10, 20]

    def test_that_sets_types_itself_gets_a_warning_about_batches_of_one(self, caplog: pytest.LogCaptureFixture) -> None:
        handler = Handler()

        @handler.event("OrderPlaced", batch=True)
        async def on_orders(orders: list[Order]) -> None: ...

        build_dispatch(handler, [Middleware(Through)])
        assert "are chosen by the header 'Event-Type'" in caplog.text
