"""Plain `def` endpoints and the time limit: a thread cannot be cancelled, the middleware around it can."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest

from evkafka import EndpointTimeout, Handler
from evkafka.context import Context
from evkafka.middleware import Middleware
from evkafka.telemetry import EndpointOverran
from evkafka.types import App
from tests.conformance.apps import Seen, make_app
from tests.conformance.table import QUICK
from tests.support.backends import Backend, committed_is


@pytest.fixture
def opened() -> Iterator[threading.Event]:
    """An event that threads wait for; it is set at the end of the test."""
    event = threading.Event()
    yield event
    event.set()


class TestAThreadThatOverruns:
    async def test_is_logged_and_its_late_result_counts(self, backend: Backend, opened: threading.Event) -> None:
        topic, seen, handler = await backend.topic(), Seen(), Handler()
        overran: list[EndpointOverran] = []

        @handler.event("E")
        def on_event(value: bytes) -> None:
            seen.append(value)
            opened.wait(60)

        config = backend.config(topic, max_endpoint_exec_time_ms=50)
        await backend.send(topic, b"x")
        app = make_app(config, handler, seen)
        app.telemetry.listen(EndpointOverran, overran.append)
        async with backend.running(app):
            await backend.until(lambda: overran)
            opened.set()
            await committed_is(backend, config, topic, 1)
        assert seen == [b"x"]
        assert seen.failed == []
        assert [(event.topic, event.offset) for event in overran] == [(topic, 0)]


class Hanging:
    """Middleware that hangs before or after the endpoint in the first attempt."""

    def __init__(self, app: App, where: str) -> None:
        self.app, self.where, self.hung = app, where, False

    async def __call__(self, context: Context) -> None:
        if self.where == "before":
            await self.hang()
        await self.app(context)
        if self.where == "after":
            await self.hang()

    async def hang(self) -> None:
        if not self.hung:
            self.hung = True
            await asyncio.get_running_loop().create_future()


class TestMiddlewareAroundAPlainDef:
    @pytest.mark.parametrize("where", ["before", "after"])
    async def test_that_hangs_is_cancelled_at_the_time_limit(self, backend: Backend, where: str) -> None:
        topic, seen, handler = await backend.topic(), Seen(), Handler()

        @handler.event("E")
        def on_event(value: bytes) -> None:
            seen.append(value)

        config = backend.config(topic, max_endpoint_exec_time_ms=50, on_error=QUICK)
        await backend.send(topic, b"x")
        app = make_app(config, handler, seen, middleware=[Middleware(Hanging, where=where)])
        async with backend.running(app):
            await committed_is(backend, config, topic, 1)
        assert [type(failure.error) for failure in seen.failed] == [EndpointTimeout]
        assert len(seen) == (1 if where == "before" else 2)
