"""Plain `def` endpoints: in a thread, with the caller's contextvars, visible to the runtime until they end."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from evkafka import DecodeError, Handler, Request, Retry
from tests.support.endpoint_calls import Order, give, record, slot
from tests.support.waiting import eventually

tenant: contextvars.ContextVar[str] = contextvars.ContextVar("tenant", default="nobody")


@pytest.fixture
def opened() -> Iterator[threading.Event]:
    """Releases a waiting thread, at the latest at the end of the test."""
    event = threading.Event()
    yield event
    event.set()


class TestThreads:
    async def test_a_plain_endpoint_runs_in_the_slots_threads(self, stack: Any, threads: ThreadPoolExecutor) -> None:
        handler, seen = Handler(), list[Any]()

        @handler.event("A")
        def on_a(order: Order, request: Request) -> None:
            seen.append((threading.current_thread(), order.order_id, request.offset))

        await give(handler, record("A", b'{"order_id": "1"}'), middleware=stack, at=slot(threads=threads))
        [(thread, order_id, offset)] = seen
        assert thread is not threading.main_thread()
        assert (order_id, offset) == ("1", 7)

    async def test_without_a_pool_of_the_slot_it_runs_in_the_loops_pool(self, stack: Any) -> None:
        handler, seen, at = Handler(), list[Any](), slot()

        @handler.event("A")
        def on_a(value: bytes) -> None:
            seen.append(threading.current_thread())

        await give(handler, record("A"), middleware=stack, at=at)
        assert seen != [threading.main_thread()]
        assert at.thread_future is None  # it has come back

    async def test_it_sees_the_callers_contextvars_and_keeps_its_own_to_itself(
        self, stack: Any, threads: ThreadPoolExecutor
    ) -> None:
        handler, seen = Handler(), list[str]()

        @handler.event("A")
        def on_a(value: bytes) -> None:
            seen.append(tenant.get())
            tenant.set("changed")

        tenant.set("acme")
        at = slot(threads=threads)
        await give(handler, record("A"), middleware=stack, at=at)
        await give(handler, record("A"), middleware=stack, at=at)
        assert seen == ["acme", "acme"]
        assert tenant.get() == "acme"

    async def test_its_exceptions_and_results_are_those_of_the_attempt(
        self, stack: Any, threads: ThreadPoolExecutor
    ) -> None:
        handler = Handler()

        @handler.event("Raise")
        def raises(value: bytes) -> None:
            raise LookupError("mine")

        @handler.event("Return")
        def returns(value: bytes) -> Any:
            return Retry(after_ms=5)

        at = slot(threads=threads)
        with pytest.raises(LookupError, match="mine"):
            await give(handler, record("Raise"), middleware=stack, at=at)
        outcome = await give(handler, record("Return"), middleware=stack, at=at)
        assert isinstance(outcome, Retry)

    @pytest.mark.parametrize("own_pool", [True, False])
    async def test_a_stop_iteration_does_not_hang_the_attempt(
        self, stack: Any, threads: ThreadPoolExecutor, own_pool: bool
    ) -> None:
        handler = Handler()

        @handler.event("A")
        def on_a(value: bytes) -> None:
            next(iter(()))

        with pytest.raises(RuntimeError, match="StopIteration"):
            async with asyncio.timeout(5):
                await give(handler, record("A"), middleware=stack, at=slot(threads=threads if own_pool else None))

    async def test_a_value_that_cannot_be_decoded_uses_no_thread(self, stack: Any, threads: ThreadPoolExecutor) -> None:
        handler, at = Handler(), slot(threads=threads)

        @handler.event("A")
        def on_a(order: Order) -> None: ...

        with pytest.raises(DecodeError):
            await give(handler, record("A", b"no json"), middleware=stack, at=at)
        assert at.thread_future is None

    async def test_a_tombstone_reaches_one_that_admits_none(self, stack: Any, threads: ThreadPoolExecutor) -> None:
        handler, seen = Handler(), list[Any]()

        @handler.event("A")
        def on_a(order: Order | None) -> None:
            seen.append(order)

        await give(handler, record("A", None), middleware=stack, at=slot(threads=threads))
        assert seen == [None]

    async def test_a_coroutine_that_it_returns_is_awaited_on_the_loop(
        self, stack: Any, threads: ThreadPoolExecutor
    ) -> None:
        handler, seen = Handler(), list[Any]()

        async def work() -> None:
            seen.append(threading.current_thread())

        @handler.event("A")
        def on_a(value: bytes) -> Any:
            return work()

        await give(handler, record("A"), middleware=stack, at=slot(threads=threads))
        assert seen == [threading.main_thread()]

    async def test_a_plain_wrapper_around_a_plain_function_runs_in_a_thread(
        self, stack: Any, threads: ThreadPoolExecutor
    ) -> None:
        handler, seen = Handler(), list[Any]()

        def traced(function: Any) -> Any:
            @functools.wraps(function)
            def wrapper(*args: Any, **kwargs: Any) -> Any:
                return function(*args, **kwargs)

            return wrapper

        @handler.event("A")
        @traced
        def on_a(value: bytes) -> None:
            seen.append(threading.current_thread())

        await give(handler, record("A"), middleware=stack, at=slot(threads=threads))
        assert seen != [threading.main_thread()]


class TestCancellation:
    async def test_the_slot_shows_a_call_that_runs_after_its_attempt_was_cancelled(
        self, stack: Any, threads: ThreadPoolExecutor, opened: threading.Event
    ) -> None:
        handler, began, at = Handler(), threading.Event(), slot(threads=threads)

        @handler.event("A")
        def on_a(value: bytes) -> str:
            began.set()
            opened.wait(60)
            return "late"

        task = asyncio.create_task(give(handler, record("A"), middleware=stack, at=at))
        await eventually(began.is_set)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert at.thread_future is not None
        assert at.thread_future.running()
        opened.set()
        assert await asyncio.wrap_future(at.thread_future) == "late"

    async def test_a_call_that_has_not_begun_never_runs(
        self, stack: Any, threads: ThreadPoolExecutor, opened: threading.Event
    ) -> None:
        handler, seen, at = Handler(), list[Any](), slot(threads=threads)
        threads.submit(opened.wait, 10)  # its only thread is taken

        @handler.event("A")
        def on_a(value: bytes) -> None:
            seen.append(value)

        task = asyncio.create_task(give(handler, record("A"), middleware=stack, at=at))
        await eventually(lambda: at.thread_future is not None)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        opened.set()
        await asyncio.wrap_future(threads.submit(int))  # whatever was queued before has been run by now
        assert at.thread_future is None
        assert seen == []
