"""Dependencies in a running consumer: when offsets are committed, and which attempts are retried."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Annotated, Any

import pytest

from evkafka import Depends, EVKafkaApp, Handler, Request, Skip
from evkafka.testing import InMemoryKafka


def app_of(handler: Handler, **config: Any) -> EVKafkaApp:
    app = EVKafkaApp()
    app.add_consumer(
        {
            "topics": ["orders"],
            "group_id": "billing",
            "auto_offset_reset": "earliest",
            "auto_commit_interval_ms": 0,
            **config,  # type: ignore[typeddict-item]
        },
        handler,
    )
    return app


class TestAnAttempt:
    @pytest.mark.parametrize("plainly", [False, True])
    @pytest.mark.parametrize("batch", [False, True])
    async def test_whose_exit_fails_is_retried(self, plainly: bool, batch: bool) -> None:
        handler, events = Handler(), list[str]()

        async def commit(request: Request) -> AsyncIterator[None]:
            events.append(f"begin {request.attempt}")
            yield
            if request.attempt < 3:
                raise ConnectionError("the database is away")
            events.append("commit")

        async def on_loop(value: bytes, it: Annotated[None, Depends(commit)]) -> None: ...
        async def on_batch(values: list[bytes], it: Annotated[None, Depends(commit)]) -> None: ...
        def in_thread(value: bytes, it: Annotated[None, Depends(commit)]) -> None: ...
        def on_batch_in_thread(values: list[bytes], it: Annotated[None, Depends(commit)]) -> None: ...

        if batch:
            handler.event("OrderPlaced", batch=True)(on_batch_in_thread if plainly else on_batch)
        else:
            handler.event("OrderPlaced")(in_thread if plainly else on_loop)
        async with InMemoryKafka(seed=1) as kafka, kafka.running(app_of(handler)):
            await kafka.send("orders", b"x", event_type="OrderPlaced")
            await kafka.settle()
        assert events == ["begin 1", "begin 2", "begin 3", "commit"]
        kafka.assert_committed(group="billing", topic="orders", partition=0, offset=1)

    async def test_is_not_committed_before_its_dependencies_have_ended(self) -> None:
        handler, ending, go_on = Handler(), asyncio.Event(), asyncio.Event()

        async def slow() -> AsyncIterator[None]:
            yield
            ending.set()
            await go_on.wait()

        @handler.event("OrderPlaced")
        async def on_order(value: bytes, it: Annotated[None, Depends(slow)]) -> None: ...

        async with InMemoryKafka(seed=1) as kafka, kafka.running(app_of(handler)):
            await kafka.send("orders", b"x", event_type="OrderPlaced")
            await kafka.advance(ms=100)
            await ending.wait()
            with pytest.raises(AssertionError):
                kafka.assert_committed(group="billing", topic="orders", partition=0, offset=1)
            go_on.set()
            await kafka.settle()
        kafka.assert_committed(group="billing", topic="orders", partition=0, offset=1)

    async def test_that_was_skipped_by_raising_is_rolled_back_and_done(self) -> None:
        handler, events = Handler(), list[str]()

        async def transaction() -> AsyncIterator[None]:
            try:
                yield
                events.append("commit")
            except BaseException:
                events.append("roll back")
                raise

        @handler.event("OrderPlaced")
        async def on_order(value: bytes, it: Annotated[None, Depends(transaction)]) -> None:
            raise Skip("a test order")

        async with InMemoryKafka(seed=1) as kafka, kafka.running(app_of(handler)):
            await kafka.send("orders", b"x", event_type="OrderPlaced")
            await kafka.settle()
        assert events == ["roll back"]
        kafka.assert_committed(group="billing", topic="orders", partition=0, offset=1)

    async def test_that_exceeds_its_time_limit_at_the_exit_is_retried(self) -> None:
        handler, attempts = Handler(), list[int]()

        async def hangs_once(request: Request) -> AsyncIterator[None]:
            attempts.append(request.attempt)
            yield
            if request.attempt == 1:
                await asyncio.Event().wait()

        @handler.event("OrderPlaced", timeout_ms=100)
        async def on_order(value: bytes, it: Annotated[None, Depends(hangs_once)]) -> None: ...

        async with InMemoryKafka(seed=1) as kafka, kafka.running(app_of(handler)):
            await kafka.send("orders", b"x", event_type="OrderPlaced")
            await kafka.settle()
        assert attempts == [1, 2]
        kafka.assert_committed(group="billing", topic="orders", partition=0, offset=1)

    async def test_cut_while_a_thread_opens_a_dependency_closes_it_before_the_next_one_begins(self) -> None:
        handler, events, go_on = Handler(), list[str](), threading.Event()

        def slowly(request: Request) -> Iterator[None]:
            events.append(f"opens {request.attempt}")
            if request.attempt == 1:
                go_on.wait(60)
            try:
                yield
            finally:
                events.append("closed")

        @handler.event("OrderPlaced", timeout_ms=50)
        async def on_order(value: bytes, it: Annotated[None, Depends(slowly)]) -> None:
            events.append("endpoint")

        async with InMemoryKafka(seed=1) as kafka, kafka.running(app_of(handler)):
            await kafka.send("orders", b"x", event_type="OrderPlaced")
            await kafka.advance(ms=100)  # it has been told to end, and waits for its thread
            assert events == ["opens 1"]
            go_on.set()
            await kafka.settle()
        assert events == ["opens 1", "closed", "opens 2", "endpoint", "closed"]
