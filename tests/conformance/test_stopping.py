"""Stops, members that join and leave, logs that change: what is committed, and what is handled again."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from evkafka import EVKafkaApp, Handler, Request, Skip
from evkafka.context import Context
from evkafka.exceptions import StopApp
from evkafka.middleware import Middleware
from evkafka.types import App
from tests.conformance.apps import Order
from tests.conformance.protocols import membership_matters
from tests.conformance.table import LANES, QUICK
from tests.support.backends import Backend, committed_is


class Worker:
    """An app that stores (partition, number), and waits at its gate with record 0 of partition 0."""

    def __init__(self, config: dict[str, Any], **app: Any) -> None:
        self.seen: list[tuple[int, int]] = []
        self.gate = asyncio.Event()
        handler = Handler()

        @handler.event("E")
        async def on_event(order: Order, request: Request) -> None:
            self.seen.append((request.partition, order.number))
            if (request.partition, order.number) == (0, 0):
                await self.gate.wait()

        self.app = EVKafkaApp(**app)
        self.app.add_consumer(config, handler)  # type: ignore[arg-type]


@membership_matters
@pytest.mark.parametrize("lanes", LANES)
class TestStop:
    async def test_a_record_in_flight_finishes_and_is_committed(self, backend: Backend, lanes: str) -> None:
        topic = await backend.topic()
        config = backend.config(topic, auto_commit_interval_ms=60_000, **LANES[lanes])
        await backend.send(topic, {"number": 0}, key=b"a")
        worker = Worker(config)
        async with backend.running(worker.app):
            await backend.until(lambda: worker.seen)
            worker.app.stop()
            await asyncio.sleep(0)
            worker.gate.set()
        assert await backend.committed(config, topic) == 1

    async def test_a_record_that_outlasts_the_drain_time_is_cancelled_and_handled_again(
        self, backend: Backend, lanes: str
    ) -> None:
        topic = await backend.topic()
        config = backend.config(topic, drain_timeout_ms=200, **LANES[lanes])
        for number in range(2):
            await backend.send(topic, {"number": number}, key=b"a")
        first, second = Worker(config), Worker(config)
        async with backend.running(first.app):
            await backend.until(lambda: (0, 0) in first.seen)
        assert await backend.committed(config, topic) == 0
        second.gate.set()
        async with backend.running(second.app):
            await committed_is(backend, config, topic, 2)
        finished = set(first.seen) - {(0, 0)}  # with one lane for each record, the second one was handled
        assert sorted(second.seen) == sorted({(0, 0), (0, 1)} - finished)


@membership_matters
class TestMembers:
    async def test_share_the_partitions_and_the_remaining_one_takes_over(self, backend: Backend) -> None:
        topic = await backend.topic(partitions=4)
        config = backend.config(topic)
        one, two = Worker(config), Worker(config)
        one.gate.set()
        two.gate.set()

        async def send_to_all(number: int) -> None:
            for partition in range(4):
                await backend.send(topic, {"number": number}, partition=partition)

        async def all_committed(offset: int) -> None:
            for partition in range(4):
                await committed_is(backend, config, topic, offset, partition)

        async with backend.running(one.app):
            async with backend.running(two.app):
                await backend.until(lambda: _partition_count(one.app) == _partition_count(two.app) == 2)
                await send_to_all(1)
                await all_committed(1)
            await send_to_all(2)
            await all_committed(2)
        assert sorted(one.seen + two.seen) == [(partition, number) for partition in range(4) for number in (1, 2)]
        assert len(two.seen) == 2


def _partition_count(app: EVKafkaApp) -> int:
    """Return the number of partitions of the app's consumer."""
    [consumer] = app.status().consumers
    return len(consumer.partitions)


@membership_matters
class TestLogs:
    async def test_a_position_deleted_by_retention_is_reset(self, backend: Backend) -> None:
        topic = await backend.topic()
        config = backend.config(topic)
        for number in range(1, 6):
            await backend.send(topic, {"number": number})
        await backend.delete_records(topic, before=3)
        worker = Worker(config)
        async with backend.running(worker.app):
            await committed_is(backend, config, topic, 5)
        assert [number for _, number in worker.seen] == [4, 5]

    async def test_a_committed_offset_deleted_while_no_member_ran_is_reset(self, backend: Backend) -> None:
        topic = await backend.topic()
        config = backend.config(topic)
        await backend.send(topic, {"number": 1})
        one, two = Worker(config), Worker(config)
        async with backend.running(one.app):
            await committed_is(backend, config, topic, 1)
        for number in range(2, 6):
            await backend.send(topic, {"number": number})
        await backend.delete_records(topic, before=3)
        async with backend.running(two.app):
            await committed_is(backend, config, topic, 5)
        assert [number for _, number in two.seen] == [4, 5]

    async def test_added_partitions_are_read_from_their_beginning(self, backend: Backend) -> None:
        topic = await backend.topic()
        config = backend.config(topic, auto_offset_reset="latest", metadata_max_age_ms=200)
        worker = Worker(config)
        async with backend.running(worker.app):
            await committed_is(backend, config, topic, 0)
            await backend.add_partitions(topic, 2)
            await backend.send(topic, {"number": 1}, partition=1)
            await committed_is(backend, config, topic, 1, 1)
        assert worker.seen == [(1, 1)]


class Suppress:
    """Middleware that suppresses all errors."""

    def __init__(self, app: App) -> None:
        self.app = app

    async def __call__(self, context: Context) -> Any:
        try:
            await self.app(context)
        except ValueError:
            return Skip("what a middleware returns is never read")


class ReturnNothing:
    """Middleware that does not return the endpoint's result."""

    def __init__(self, app: App) -> None:
        self.app = app

    async def __call__(self, context: Context) -> None:
        await self.app(context)


class TestMiddleware:
    async def test_that_suppresses_an_error_makes_the_record_done(self, backend: Backend) -> None:
        topic, handler, attempts = await backend.topic(), Handler(), list[int]()

        @handler.event("E")
        async def on_event(order: Order, request: Request) -> None:
            attempts.append(request.attempt)
            raise ValueError("swallowed")

        config = backend.config(topic, on_error=QUICK)
        app = EVKafkaApp(middleware=[Middleware(Suppress)])
        app.add_consumer(config, handler)  # type: ignore[arg-type]
        await backend.send(topic, {"number": 1})
        async with backend.running(app):
            await committed_is(backend, config, topic, 1)
        assert attempts == [1]

    async def test_that_returns_nothing_keeps_the_endpoints_outcome(self, backend: Backend) -> None:
        from evkafka import Retry

        topic, handler, attempts = await backend.topic(), Handler(), list[int]()

        @handler.event("E")
        async def on_event(order: Order, request: Request) -> Retry | None:
            attempts.append(request.attempt)
            return Retry(after_ms=10) if request.attempt < 3 else None

        config = backend.config(topic, on_error=QUICK)
        app = EVKafkaApp(middleware=[Middleware(ReturnNothing)])
        app.add_consumer(config, handler)  # type: ignore[arg-type]
        await backend.send(topic, {"number": 1})
        async with backend.running(app):
            await committed_is(backend, config, topic, 1)
        assert attempts == [1, 2, 3]


class TestStopByARecord:
    async def test_records_that_arrive_during_the_drain_are_not_committed(self, backend: Backend) -> None:
        """A poll still returns records for an idle partition and moves its position; they are dropped, not done."""
        topic = await backend.topic(partitions=3)
        policy = {"max_attempts": 1, "then": "stop"}
        config = backend.config(topic, concurrency=4, on_error=policy)
        seen: list[str] = []
        gate, handler = asyncio.Event(), Handler()

        @handler.event("E")
        async def on_event(name: str) -> None:
            seen.append(name)
            if name == "bad":
                raise ValueError
            if name == "slow":
                await gate.wait()

        app = EVKafkaApp()
        app.add_consumer(config, handler)  # type: ignore[arg-type]
        rounds = iter(range(60))  # a tenth of a second each in memory
        with pytest.raises(StopApp, match="attempt 1 of 1 failed"):  # noqa: PT012
            async with backend.running(app):
                await backend.send(topic, b"first", partition=1)
                await backend.send(topic, b"slow", partition=2)
                await backend.until(lambda: {"first", "slow"} <= set(seen))
                await committed_is(backend, config, topic, 1, partition=1)
                await backend.send(topic, b"bad", partition=0)
                await backend.until(lambda: "bad" in seen)
                await backend.send(topic, b"late", partition=1)
                await backend.until(lambda: next(rounds, None) is None)
                gate.set()
        assert "late" not in seen
        assert await backend.committed(config, topic, 1) == 1
