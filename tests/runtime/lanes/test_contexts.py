"""Each attempt has its own context variables: no other attempt sees what one sets."""

from __future__ import annotations

import asyncio
import decimal
from collections.abc import AsyncIterator, Iterator
from contextvars import ContextVar
from typing import Annotated, Any

import pytest

from evkafka import Depends, EVKafkaApp, Handler, Middleware, Request
from evkafka.context import App, Context
from evkafka.middleware import JsonTypedDecoderMiddleware
from evkafka.testing import AsyncTestClient
from tests.support.engine import Bench

tenant: ContextVar[str] = ContextVar("tenant", default="nobody")
incomparable: ContextVar[Any] = ContextVar("incomparable", default=None)

ORDERS = [
    pytest.param({}, id="in order"),
    pytest.param({"concurrency": 4}, id="by key"),
    pytest.param({"concurrency": 4, "ordering": "partition"}, id="by partition"),
]
AGAIN: Any = {"backoff_ms": 10, "max_backoff_ms": 10}


class Incomparable:
    """As a numpy array: comparing two of them has no truth value."""

    def __eq__(self, other: object) -> bool:
        raise ValueError("the truth value is ambiguous")

    __hash__ = None  # type: ignore[assignment]


async def all_are_handled(bench: Bench, handler: Handler, keys: dict[str, Any], count: int = 4) -> None:
    await bench.send(*(b"%d" % number for number in range(count)), key="k")
    async with bench.running(handler, **keys):
        await bench.until(lambda: bench.committed() == count)


@pytest.mark.parametrize("keys", ORDERS)
class TestWhatAnAttemptSets:
    async def test_no_later_record_sees(self, bench: Bench, keys: dict[str, Any]) -> None:
        handler, seen = Handler(), list[str]()

        @handler.event("E")
        async def on_e(value: bytes) -> None:
            seen.append(tenant.get())
            tenant.set("acme")
            await asyncio.sleep(0)

        await all_are_handled(bench, handler, keys)
        assert set(seen) == {"nobody"}

    @pytest.mark.parametrize("used_before", [False, True])
    async def test_of_its_decimals_no_later_record_sees(
        self, bench: Bench, keys: dict[str, Any], used_before: bool
    ) -> None:
        handler, seen = Handler(), list[tuple[int, str]]()

        @handler.event("E")
        async def on_e(value: bytes) -> None:
            context = decimal.getcontext()
            seen.append((context.prec, context.rounding))
            context.prec = 3
            context.rounding = decimal.ROUND_UP
            assert str(decimal.Decimal(2) / 3) == "0.667"
            assert str(decimal.Decimal(1) / 3) == "0.334"

        if used_before:
            assert decimal.getcontext().prec == 28
        await all_are_handled(bench, handler, keys)
        assert set(seen) == {(28, decimal.ROUND_HALF_EVEN)}

    async def test_the_next_attempt_at_its_record_does_not_see(self, bench: Bench, keys: dict[str, Any]) -> None:
        handler, seen = Handler(), list[str]()

        @handler.event("E")
        async def on_e(value: bytes, request: Request) -> None:
            seen.append(tenant.get())
            tenant.set("acme")
            if request.attempt == 1:
                raise ValueError("by the test")

        await all_are_handled(bench, handler, {**keys, "on_error": AGAIN})
        assert seen == ["nobody"] * 8

    async def test_may_be_something_that_cannot_be_compared(self, bench: Bench, keys: dict[str, Any]) -> None:
        handler, seen = Handler(), list[object]()

        @handler.event("E")
        async def on_e(value: bytes) -> None:
            seen.append(incomparable.get())
            incomparable.set(Incomparable())

        incomparable.set(Incomparable())
        await all_are_handled(bench, handler, keys)
        assert len({id(one) for one in seen}) == 1

    async def test_its_own_tasks_and_time_limits_see(self, bench: Bench, keys: dict[str, Any]) -> None:
        handler, seen = Handler(), list[str]()

        @handler.event("E")
        async def on_e(value: bytes) -> None:
            tenant.set(value.decode())

            async def child() -> None:
                seen.append(tenant.get())

            async with asyncio.timeout(3600), asyncio.TaskGroup() as group:
                group.create_task(child())

        await all_are_handled(bench, handler, keys)
        assert seen == ["0", "1", "2", "3"]

    async def test_no_later_batch_sees(self, bench: Bench, keys: dict[str, Any]) -> None:
        handler, seen = Handler(), list[str]()

        @handler.event("E", batch=True, max_records=2, max_wait_ms=10)
        async def on_es(values: list[bytes]) -> None:
            seen.append(tenant.get())
            tenant.set("acme")

        await all_are_handled(bench, handler, keys)
        assert set(seen) == {"nobody"}

    async def test_a_dependency_that_yields_sees_at_its_end(self, bench: Bench, keys: dict[str, Any]) -> None:
        """It begins and ends in one context, so it can reset its variable."""
        handler, seen = Handler(), list[tuple[str, str]]()

        async def scoped() -> AsyncIterator[str]:
            token = tenant.set("acme")
            yield tenant.get()
            tenant.reset(token)

        def scoped_in_thread() -> Iterator[str]:
            token = tenant.set("in a thread")
            yield tenant.get()
            tenant.reset(token)

        @handler.event("E")
        async def on_e(
            value: bytes,
            scope: Annotated[str, Depends(scoped)],
            other: Annotated[str, Depends(scoped_in_thread)],
        ) -> None:
            seen.append((scope, other))

        await all_are_handled(bench, handler, keys)
        assert set(seen) == {("acme", "in a thread")}

    async def test_in_a_middleware_no_later_record_sees(self, bench: Bench, keys: dict[str, Any]) -> None:
        handler, seen = Handler(), list[str]()

        class Binds:
            def __init__(self, app: App) -> None:
                self.app = app

            async def __call__(self, context: Context) -> None:
                seen.append(tenant.get())
                tenant.set("acme")
                await self.app(context)

        @handler.event("E")
        async def on_e(value: bytes) -> None:
            assert tenant.get() == "acme"

        bench.app = EVKafkaApp(middleware=[Middleware(Binds), Middleware(JsonTypedDecoderMiddleware)])
        await all_are_handled(bench, handler, keys)
        assert seen == ["nobody"] * 4

    async def test_in_a_thread_no_later_record_sees(self, bench: Bench, keys: dict[str, Any]) -> None:
        handler, seen = Handler(), list[str]()

        @handler.event("E")
        def on_e(value: bytes) -> None:
            seen.append(tenant.get())
            tenant.set("acme")

        await all_are_handled(bench, handler, keys)
        assert seen == ["nobody"] * 4


class TestDecimals:
    async def test_that_are_used_and_not_changed_need_no_new_task(self, bench: Bench) -> None:
        """Each attempt that sets a variable needs a new task; arithmetic sets one if there is none."""
        handler, tasks = Handler(), set[object]()

        @handler.event("E")
        async def on_e(value: bytes) -> None:
            tasks.add(asyncio.current_task())
            assert decimal.Decimal("1.1") + decimal.Decimal(value.decode()) > 1

        await all_are_handled(bench, handler, {})
        assert len(tasks) == 1


class TestWhatWasSetBeforeTheStart:
    async def test_every_attempt_sees(self, bench: Bench) -> None:
        handler, seen = Handler(), list[str]()

        @handler.event("E")
        async def on_e(value: bytes) -> None:
            seen.append(tenant.get())
            tenant.set("acme")

        tenant.set("of the process")
        await all_are_handled(bench, handler, {})
        assert seen == ["of the process"] * 4


class TestTheTestClient:
    async def test_also_gives_each_record_its_own_context(self) -> None:
        handler, seen = Handler(), list[str]()

        @handler.event("E")
        async def on_e(value: bytes) -> None:
            seen.append(tenant.get())
            tenant.set("acme")

        app = EVKafkaApp()
        app.add_consumer({"topics": ["t"], "group_id": "g", "bootstrap_servers": "nobody:1"}, handler)
        async with AsyncTestClient(app) as client:
            await client.send_event(b"0", "E", "t")
            await client.send_batch([b"1", b"2"], "E", "t")
        assert seen == ["nobody"] * 3

    @pytest.mark.parametrize("doing", ["cancels itself", "exits its generator"])
    async def test_distinguishes_a_cancelled_endpoint_from_a_cancelled_test(self, doing: str) -> None:
        handler = Handler()

        @handler.event("E")
        async def on_e(value: bytes) -> None:
            if doing == "exits its generator":
                raise GeneratorExit
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
            await asyncio.Event().wait()

        app = EVKafkaApp()
        app.add_consumer({"topics": ["t"], "group_id": "g", "bootstrap_servers": "nobody:1"}, handler)
        async with AsyncTestClient(app, raise_endpoint_errors=False) as client:
            assert (await client.send_event(b"0", "E", "t")).outcome == "failed"
