"""send_batch: the batches that an endpoint gets, and the outcome of each record."""

from __future__ import annotations

import asyncio
from typing import Any
from unittest import mock

import pytest
from pydantic import BaseModel

from evkafka import DeadLetter, DecodeError, EndpointTimeout, EVKafkaApp, Handler, Middleware, Request, Skip, TestClient
from evkafka.outcomes import BatchError
from evkafka.testing import AsyncTestClient
from tests.support.apps import app_of


class Order(BaseModel):
    number: int


def orders(*numbers: int) -> list[dict[str, int]]:
    return [{"number": number} for number in numbers]


class TestBatchEndpoints:
    def test_they_get_the_records_together_and_in_order(self) -> None:
        handler, seen = Handler(), mock.Mock()

        @handler.event("X", batch=True)
        async def on_x(batch: list[Order], requests: list[Request]) -> None:
            seen([order.number for order in batch], [(request.offset, request.key) for request in requests])

        with TestClient(app_of(handler)) as client:
            deliveries = client.send_batch(orders(1, 2, 3), "X", "t", key=lambda event: str(event["number"]))

        assert [one.outcome for one in deliveries] == ["done", "done", "done"]
        seen.assert_called_once_with([1, 2, 3], [(0, b"1"), (1, b"2"), (2, b"3")])

    def test_they_get_no_more_than_their_limit_at_once(self) -> None:
        handler, seen = Handler(), mock.Mock()

        @handler.event("X", batch=True, max_records=2)
        def on_x(batch: list[Order]) -> None:
            seen(len(batch))

        with TestClient(app_of(handler)) as client:
            client.send_batch(orders(1, 2, 3), "X", "t")

        assert seen.mock_calls == [mock.call(2), mock.call(1)]

    def test_a_single_event_is_a_batch_of_one(self) -> None:
        handler, seen = Handler(), mock.Mock()

        @handler.event("X", batch=True)
        async def on_x(batch: list[Order]) -> Skip:
            seen(batch)
            return Skip("seen")

        with TestClient(app_of(handler)) as client:
            assert client.send_event({"number": 1}, "X", "t").reason == "seen"

        seen.assert_called_once_with([Order(number=1)])

    def test_through_a_stack_of_ones_own(self) -> None:
        class Doubler:
            def __init__(self, app: Any) -> None:
                self.app = app

            async def __call__(self, context: Any) -> None:
                context.message.value = context.message.value.replace(b"1", b"11")
                await self.app(context)

        handler, seen = Handler(), mock.Mock()

        @handler.event("X", batch=True)
        async def on_x(batch: list[Order]) -> None:
            seen([order.number for order in batch])

        with TestClient(app_of(handler, middleware=[Middleware(Doubler)])) as client:
            client.send_batch(orders(1, 2), "X", "t")

        seen.assert_called_once_with([11, 2])

    def test_an_outcome_is_that_of_all(self) -> None:
        handler = Handler()

        @handler.event("X", batch=True)
        async def on_x(batch: list[Order]) -> Skip:
            return Skip

        with TestClient(app_of(handler)) as client:
            assert [one.outcome for one in client.send_batch(orders(1, 2), "X", "t")] == ["skip", "skip"]


class TestFailures:
    def _app(self, failed: dict[int, Any]) -> EVKafkaApp:
        handler = Handler()

        @handler.event("X", batch=True)
        async def on_x(batch: list[Order]) -> None:
            raise BatchError(failed)

        return app_of(handler)

    def test_a_batch_error_tells_of_each_record(self) -> None:
        error = ValueError()
        app = self._app({1: error, 2: DeadLetter("bad")})
        with TestClient(app, raise_endpoint_errors=False) as client:
            deliveries = client.send_batch(orders(1, 2, 3), "X", "t")
        assert [one.outcome for one in deliveries] == ["done", "failed", "dead_letter"]
        assert deliveries[1].error is error

    def test_a_batch_error_with_an_error_is_raised(self) -> None:
        error, letter = ValueError(), DeadLetter("bad")
        with TestClient(self._app({1: error, 2: letter})) as client, pytest.raises(BatchError) as raised:
            client.send_batch(orders(1, 2, 3), "X", "t")
        assert raised.value.failed == {1: error, 2: letter}
        assert raised.value.__cause__ is error

    def test_a_batch_error_with_outcomes_alone_is_not(self) -> None:
        with TestClient(self._app({0: Skip("old")})) as client:
            assert [one.outcome for one in client.send_batch(orders(1, 2), "X", "t")] == ["skip", "done"]

    def test_an_error_is_that_of_all_and_raised_itself(self) -> None:
        handler, error = Handler(), LookupError()

        @handler.event("X", batch=True)
        async def on_x(batch: list[Order]) -> None:
            raise error

        with TestClient(app_of(handler)) as client, pytest.raises(LookupError) as raised:
            client.send_batch(orders(1, 2), "X", "t")
        assert raised.value is error

        with TestClient(app_of(handler), raise_endpoint_errors=False) as client:
            assert [one.error for one in client.send_batch(orders(1, 2), "X", "t")] == [error, error]

    def test_a_value_that_cannot_be_decoded_fails_alone(self) -> None:
        handler, seen = Handler(), mock.Mock()

        @handler.event("X", batch=True)
        async def on_x(batch: list[Order]) -> None:
            seen([order.number for order in batch])

        events = [{"number": 1}, {}, {"number": 3}]
        with TestClient(app_of(handler), raise_endpoint_errors=False) as client:
            deliveries = client.send_batch(events, "X", "t")
        with TestClient(app_of(handler)) as client, pytest.raises(DecodeError):
            client.send_batch(events, "X", "t")

        assert [one.outcome for one in deliveries] == ["done", "failed", "done"]
        assert seen.mock_calls == [mock.call([1, 3]), mock.call([1, 3])]

    def test_the_time_limit_is_that_of_the_batch(self) -> None:
        handler = Handler()

        @handler.event("X", batch=True, max_records=1, timeout_ms=20)
        async def on_x(batch: list[Order]) -> None:
            await asyncio.Event().wait()

        with TestClient(app_of(handler), raise_endpoint_errors=False) as client:
            deliveries = client.send_batch(orders(1, 2), "X", "t")
        assert [type(one.error) for one in deliveries] == [EndpointTimeout, EndpointTimeout]


class TestOrdinaryEndpoints:
    def test_they_get_one_after_the_other(self) -> None:
        handler, seen = Handler(), mock.Mock()

        @handler.event("X")
        async def on_x(order: Order, request: Request) -> Skip | None:
            seen(order.number, request.offset)
            return Skip("odd") if order.number % 2 else None

        with TestClient(app_of(handler)) as client:
            deliveries = client.send_batch(orders(1, 2), "X", "t")

        assert [one.outcome for one in deliveries] == ["skip", "done"]
        assert seen.mock_calls == [mock.call(1, 0), mock.call(2, 1)]

    def test_records_after_one_that_raised_are_not_delivered(self) -> None:
        handler, seen = Handler(), mock.Mock()

        @handler.event("X")
        async def on_x(order: Order) -> None:
            seen(order.number)
            if order.number == 2:
                raise LookupError

        with TestClient(app_of(handler)) as client, pytest.raises(LookupError):
            client.send_batch(orders(1, 2, 3), "X", "t")
        assert seen.mock_calls == [mock.call(1), mock.call(2)]

    def test_without_raising_all_are_delivered(self) -> None:
        handler = Handler()

        @handler.event("X")
        async def on_x(order: Order) -> None:
            raise LookupError

        with TestClient(app_of(handler), raise_endpoint_errors=False) as client:
            assert [one.outcome for one in client.send_batch(orders(1, 2), "X", "t")] == ["failed", "failed"]

    async def test_in_an_async_test(self) -> None:
        handler, seen = Handler(), mock.Mock()

        @handler.event("X", batch=True)
        async def on_x(batch: list[Order]) -> None:
            seen(len(batch))

        async with AsyncTestClient(app_of(handler)) as client:
            assert len(await client.send_batch(orders(1, 2), "X", "t")) == 2
        seen.assert_called_once_with(2)
