"""An attempt that is cancelled: at its time limit, or because its partition is revoked."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, Any

import pytest

from evkafka import Depends, EndpointTimeout, EVKafkaApp, Handler, TestClient
from tests.support.endpoint_calls import give, record, slot
from tests.support.waiting import eventually


@pytest.fixture
def opened() -> Iterator[threading.Event]:
    """Releases a waiting thread, at the latest at the end of the test."""
    event = threading.Event()
    yield event
    event.set()


class TestCancelling:
    async def test_is_raised_in_open_dependencies(self, stack: Any) -> None:
        handler, events = Handler(), list[str]()

        async def on_loop() -> AsyncIterator[None]:
            try:
                yield
            except asyncio.CancelledError:
                events.append("on the loop")
                raise

        def in_thread() -> Iterator[None]:
            try:
                yield
            except asyncio.CancelledError:
                events.append("in a thread")
                raise

        @handler.event("A")
        async def on_a(
            value: bytes, one: Annotated[None, Depends(on_loop)], two: Annotated[None, Depends(in_thread)]
        ) -> None:
            events.append("waits")
            await asyncio.Event().wait()

        task = asyncio.create_task(give(handler, record("A"), middleware=stack))
        await eventually(lambda: events)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert events == ["waits", "in a thread", "on the loop"]

    async def test_while_a_thread_opens_a_dependency_waits_for_it_and_closes_it(
        self, stack: Any, threads: ThreadPoolExecutor, opened: threading.Event
    ) -> None:
        handler, events, began, at = Handler(), list[str](), threading.Event(), slot(threads=threads)

        def slowly() -> Iterator[None]:
            began.set()
            opened.wait(60)
            events.append("open")
            try:
                yield
            finally:
                events.append("closed")

        @handler.event("A")
        async def on_a(value: bytes, it: Annotated[None, Depends(slowly)]) -> None:
            events.append("endpoint")

        task = asyncio.create_task(give(handler, record("A"), middleware=stack, at=at))
        await eventually(began.is_set)
        task.cancel()
        await asyncio.wait([task], timeout=0.05)
        assert not task.done()
        opened.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert events == ["open", "closed"]
        assert at.thread_future is None

    async def test_twice_does_not_wait_for_the_thread(
        self, threads: ThreadPoolExecutor, opened: threading.Event
    ) -> None:
        handler, began, at = Handler(), threading.Event(), slot(threads=threads)

        def slowly() -> None:
            began.set()
            opened.wait(60)

        @handler.event("A")
        async def on_a(value: bytes, it: Annotated[None, Depends(slowly)]) -> None: ...

        task = asyncio.create_task(give(handler, record("A"), at=at))
        await eventually(began.is_set)
        task.cancel()
        await asyncio.wait([task], timeout=0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not opened.is_set()

    async def test_a_plain_endpoints_session_is_not_closed_while_its_thread_runs(
        self, stack: Any, threads: ThreadPoolExecutor, opened: threading.Event
    ) -> None:
        handler, events, began = Handler(), list[str](), threading.Event()

        async def session() -> AsyncIterator[None]:
            try:
                yield
            finally:
                events.append("closed")

        @handler.event("A")
        def on_a(value: bytes, it: Annotated[None, Depends(session)]) -> None:
            began.set()
            opened.wait(60)
            events.append("endpoint")

        task = asyncio.create_task(give(handler, record("A"), middleware=stack, at=slot(threads=threads)))
        await eventually(began.is_set)
        task.cancel()
        await asyncio.wait([task], timeout=0.05)
        opened.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert events == ["endpoint", "closed"]


class TestTimeLimit:
    @pytest.mark.parametrize("slow", ["start", "end"])
    def test_includes_making_and_closing_dependencies(self, slow: str) -> None:
        handler, events = Handler(), list[str]()

        async def session() -> AsyncIterator[None]:
            if slow == "start":
                await asyncio.Event().wait()
            yield
            events.append("endpoint is over")
            await asyncio.Event().wait()

        @handler.event("A", timeout_ms=50)
        async def on_a(value: bytes, it: Annotated[None, Depends(session)]) -> None: ...

        app = EVKafkaApp()
        app.add_consumer({"topics": ["orders"]}, handler)
        with TestClient(app) as client, pytest.raises(EndpointTimeout, match="on_a"):
            client.send_event(b"", "A", "orders")
        assert events == ([] if slow == "start" else ["endpoint is over"])
