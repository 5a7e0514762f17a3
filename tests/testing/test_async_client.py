"""AsyncTestClient runs in the test's own event loop."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from unittest import mock

import pytest

from evkafka import EndpointTimeout, EVKafkaProducer, Handler, Request, Retry, Sender
from evkafka.testing import AsyncTestClient
from tests.support.apps import app_of


class TestAsyncTestClient:
    async def test_endpoints_run_in_the_tests_loop_with_its_context(self) -> None:
        handler, variable = Handler(), contextvars.ContextVar[str]("variable")
        seen = mock.Mock()

        @handler.event("X")
        async def on_x(event: dict[str, Any], request: Request) -> Retry:
            seen(event, variable.get(), asyncio.get_running_loop() is loop, request.state.a)
            return Retry(after_ms=5)

        @asynccontextmanager
        async def lifespan() -> AsyncIterator[dict[str, Any]]:
            yield {"a": 1}

        loop = asyncio.get_running_loop()
        async with AsyncTestClient(app_of(handler, lifespan=lifespan)) as client:
            variable.set("of the test")
            delivery = await client.send_event({"n": 1}, "X", "t")

        assert (delivery.outcome, delivery.after_ms) == ("retry", 5)
        seen.assert_called_once_with({"n": 1}, "of the test", True, 1)

    async def test_the_exception_of_an_endpoint_is_raised_itself(self) -> None:
        handler, error = Handler(), LookupError()

        @handler.event("X")
        def on_x(event: dict[str, Any]) -> None:
            raise error

        async with AsyncTestClient(app_of(handler)) as client:
            with pytest.raises(LookupError) as raised:
                await client.send_event({}, "X", "t")
        async with AsyncTestClient(app_of(handler), raise_endpoint_errors=False) as client:
            delivery = await client.send_event({}, "X", "t")

        assert raised.value is error
        assert delivery.error is error

    async def test_sends_are_recorded_from_endpoints_threads_and_the_test(self) -> None:
        handler, sender = Handler(), Sender()
        app = app_of(handler)
        app.add_producer({"topic": "out"}, sender)

        @sender.event("Sent")
        async def send(event: dict[str, Any]) -> None: ...

        @handler.event("X")
        async def on_x(event: dict[str, Any]) -> None:
            await send({"from": "endpoint"})

        @handler.event("Y")
        def on_y(event: dict[str, Any]) -> None:
            send.from_thread({"from": "thread"})

        async with AsyncTestClient(app) as client:
            await client.send_event({}, "X", "t")
            await client.send_event({}, "Y", "t")
            await send({"from": "test"})
            async with EVKafkaProducer({"bootstrap_servers": "kafka.invalid:9092"}) as producer:
                await producer.send_event({"from": "producer"}, "Sent", "out")

        assert [one.event["from"] for one in client.sent] == ["endpoint", "thread", "test", "producer"]

    async def test_deliveries_may_run_side_by_side(self) -> None:
        handler, both = Handler(), asyncio.Barrier(2)

        @handler.event("X")
        async def on_x(event: dict[str, Any]) -> None:
            await both.wait()

        async with AsyncTestClient(app_of(handler)) as client:
            done = await asyncio.gather(*(client.send_event({}, "X", "t") for _ in range(2)))
        assert [one.outcome for one in done] == ["done", "done"]

    async def test_the_time_limit_holds(self) -> None:
        handler = Handler()

        @handler.event("X", timeout_ms=20)
        async def on_x(event: dict[str, Any]) -> None:
            await asyncio.Event().wait()

        async with AsyncTestClient(app_of(handler)) as client:
            with pytest.raises(EndpointTimeout):
                await client.send_event({}, "X", "t")

    async def test_a_test_that_is_cancelled_takes_the_endpoint_with_it(self) -> None:
        handler, began, ended = Handler(), asyncio.Event(), mock.Mock()

        @handler.event("X")
        async def on_x(event: dict[str, Any]) -> None:
            began.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                ended()
                raise

        async with AsyncTestClient(app_of(handler)) as client:
            sending = asyncio.ensure_future(client.send_event({}, "X", "t"))
            await began.wait()
            sending.cancel()
            with pytest.raises(asyncio.CancelledError):
                await sending
        ended.assert_called_once_with()

    async def test_an_exit_is_raised_and_the_loop_lives(self) -> None:
        handler = Handler()

        @handler.event("X")
        async def on_x(event: dict[str, Any]) -> None:
            raise SystemExit(3)

        async with AsyncTestClient(app_of(handler), raise_endpoint_errors=False) as client:
            with pytest.raises(SystemExit):
                await client.send_event({}, "X", "t")

    async def test_outside_of_async_with_it_says_how_to_open_it(self) -> None:
        with pytest.raises(RuntimeError, match=r"async with AsyncTestClient\(app\) as client"):
            await AsyncTestClient(app_of(Handler())).send_event({}, "X", "t")

    async def test_a_failing_lifespan_is_raised_itself(self) -> None:
        error = LookupError()

        @asynccontextmanager
        async def lifespan() -> AsyncIterator[None]:
            raise error
            yield

        with pytest.raises(LookupError) as raised:
            async with AsyncTestClient(app_of(Handler(), lifespan=lifespan)):
                pass
        assert raised.value is error


class TestLifespan:
    async def test_it_is_left_in_the_task_that_entered_it_wherever_the_client_is_closed(self) -> None:
        tasks = []

        @asynccontextmanager
        async def lifespan() -> AsyncIterator[None]:
            async with asyncio.TaskGroup():  # no other task may leave it
                tasks.append(asyncio.current_task())
                yield
                tasks.append(asyncio.current_task())

        client = AsyncTestClient(app_of(Handler(), lifespan=lifespan))
        await asyncio.create_task(client.__aenter__())
        await asyncio.create_task(client.__aexit__(None, None, None))
        assert tasks[0] is tasks[1]

    async def test_its_exception_at_the_end_is_raised_itself(self) -> None:
        error = LookupError()

        @asynccontextmanager
        async def lifespan() -> AsyncIterator[None]:
            yield
            raise error

        with pytest.raises(LookupError) as raised:
            async with AsyncTestClient(app_of(Handler(), lifespan=lifespan)):
                pass
        assert raised.value is error

    async def test_endpoints_see_its_context_variables_and_the_tests_own_over_them(self) -> None:
        handler, seen = Handler(), mock.Mock()
        variable = contextvars.ContextVar("variable", default="unset")

        @asynccontextmanager
        async def lifespan() -> AsyncIterator[None]:
            variable.set("of the lifespan")
            yield

        @handler.event("X")
        async def on_x(event: dict[str, Any]) -> None:
            seen(variable.get())

        async with AsyncTestClient(app_of(handler, lifespan=lifespan)) as client:
            await client.send_event({}, "X", "t")
            variable.set("of the test")
            await client.send_event({}, "X", "t")
        assert seen.mock_calls == [mock.call("of the lifespan"), mock.call("of the test")]

    async def test_a_test_that_is_cancelled_while_it_begins_ends_it(self) -> None:
        begins, ends = asyncio.Event(), mock.Mock()

        @asynccontextmanager
        async def lifespan() -> AsyncIterator[None]:
            try:
                begins.set()
                await asyncio.Event().wait()
                yield
            finally:
                ends()

        opening = asyncio.ensure_future(AsyncTestClient(app_of(Handler(), lifespan=lifespan)).__aenter__())
        await begins.wait()
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening
        ends.assert_called_once_with()
