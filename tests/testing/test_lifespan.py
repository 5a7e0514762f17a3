"""The lifespan under a test client."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from unittest import mock

import pytest

from evkafka import ConfigError, EVKafkaApp, Handler, Request, TestClient
from tests.support.apps import app_of


class TestLifespan:
    def test_it_runs_around_the_deliveries_and_its_mapping_is_the_state(self) -> None:
        handler, calls = Handler(), mock.Mock()

        @asynccontextmanager
        async def lifespan() -> AsyncIterator[dict[str, Any]]:
            calls("begin")
            yield {"engine": 7}
            calls("end")

        @handler.event("X")
        async def on_x(event: dict[str, Any], request: Request) -> None:
            calls(request.state.engine)
            request.state.engine = "changed"  # a copy for each attempt

        with TestClient(app_of(handler, lifespan=lifespan)) as client:
            client.send_event({}, "X", "t")
            client.send_event({}, "X", "t")

        assert calls.mock_calls == [mock.call(word) for word in ("begin", 7, 7, "end")]

    def test_it_begins_and_ends_in_the_same_task(self) -> None:
        import asyncio

        tasks = []

        @asynccontextmanager
        async def lifespan() -> AsyncIterator[None]:
            async with asyncio.timeout(60):  # one task must enter and leave this
                tasks.append(asyncio.current_task())
                yield
                tasks.append(asyncio.current_task())

        with TestClient(app_of(Handler(), lifespan=lifespan)):
            pass
        assert tasks[0] is tasks[1]

    def test_endpoints_see_its_context_variables_and_the_tests_own_over_them(self) -> None:
        handler, seen = Handler(), mock.Mock()
        both: contextvars.ContextVar[str] = contextvars.ContextVar("both")
        both.set("before the client")

        @asynccontextmanager
        async def lifespan() -> AsyncIterator[None]:
            both.set("of the lifespan")
            yield

        @handler.event("X")
        async def on_x(event: dict[str, Any]) -> None:
            seen(both.get())

        with TestClient(app_of(handler, lifespan=lifespan)) as client:
            client.send_event({}, "X", "t")
            both.set("of the test")
            client.send_event({}, "X", "t")

        assert seen.mock_calls == [mock.call("of the lifespan"), mock.call("of the test")]

    @pytest.mark.parametrize("kind", [LookupError, KeyboardInterrupt])
    def test_its_exception_at_the_start_is_raised_itself(self, kind: type[BaseException]) -> None:
        error = kind("no database")

        @asynccontextmanager
        async def lifespan() -> AsyncIterator[None]:
            raise error
            yield

        with pytest.raises(kind) as raised, TestClient(app_of(Handler(), lifespan=lifespan)):
            pass
        assert raised.value is error
        assert "evkafka-test-client" not in [thread.name for thread in threading.enumerate()]

    def test_its_exception_at_the_end_is_raised_itself(self) -> None:
        error = LookupError("cannot close")

        @asynccontextmanager
        async def lifespan() -> AsyncIterator[None]:
            yield
            raise error

        with pytest.raises(LookupError) as raised, TestClient(app_of(Handler(), lifespan=lifespan)):
            pass
        assert raised.value is error

    def test_a_failing_test_is_not_its_concern(self) -> None:
        ends = mock.Mock()

        @asynccontextmanager
        async def lifespan() -> AsyncIterator[None]:
            yield
            ends()  # would not be reached if the test's error were thrown in

        with pytest.raises(AssertionError, match="the test's"), TestClient(app_of(Handler(), lifespan=lifespan)):
            raise AssertionError("the test's")
        ends.assert_called_once_with()

    def test_it_must_yield_a_mapping(self) -> None:
        @asynccontextmanager
        async def lifespan() -> AsyncIterator[Any]:
            yield 7

        with pytest.raises(ConfigError, match="yielded a int"), TestClient(app_of(Handler(), lifespan=lifespan)):
            pass

    def test_after_a_failed_start_the_client_can_be_entered_again(self) -> None:
        fails = [True]

        @asynccontextmanager
        async def lifespan() -> AsyncIterator[None]:
            if fails.pop():
                fails.append(False)
                raise LookupError
            yield

        client = TestClient(app_of(Handler(), lifespan=lifespan))
        with pytest.raises(LookupError), client:
            pass
        with client:
            pass


class TestInvalidLifespans:
    def test_one_with_an_app_parameter_is_refused_at_once(self) -> None:
        @asynccontextmanager
        async def lifespan(app: EVKafkaApp) -> AsyncIterator[None]:
            yield

        with pytest.raises(ConfigError, match=r"lifespan 'lifespan' asks for app; .* write `async def lifespan\(\):`"):
            EVKafkaApp(lifespan=lifespan)  # type: ignore[arg-type]  # that is what is refused

    def test_a_name_is_refused_with_how_it_is_written(self) -> None:
        with pytest.raises(ConfigError, match="not str: write `@asynccontextmanager"):
            EVKafkaApp(lifespan="lifespan")  # type: ignore[arg-type]  # that is what is refused

    def test_arguments_with_defaults_are_no_hindrance(self) -> None:
        @asynccontextmanager
        async def lifespan(url: str = "here") -> AsyncIterator[dict[str, str]]:
            yield {"url": url}

        assert EVKafkaApp(lifespan=lifespan)._lifespan is lifespan
