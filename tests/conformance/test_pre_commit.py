"""The delivery table, pre-commit: at most once."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from evkafka import EVKafkaApp, Handler, Retry, Skip
from evkafka.telemetry import RecordsLost
from tests.conformance.apps import Order, Seen, make_app
from tests.conformance.protocols import membership_matters
from tests.support.backends import Backend, committed_is, stopping_app

PRE: dict[str, Any] = {"auto_commit_mode": "pre-commit"}


@pytest.fixture(params=[100, 0], ids=["on-interval", "strict"])
def pre(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Both modes: commits at an interval, and a commit of every batch before it runs."""
    return {**PRE, "auto_commit_interval_ms": request.param}


class TestFailure:
    async def test_is_counted_and_the_next_record_runs(self, backend: Backend, pre: dict[str, Any]) -> None:
        topic, seen, handler = await backend.topic(), Seen(), Handler()

        @handler.event("E")
        async def on_event(order: Order) -> object:
            seen.append(order.number)
            match order.number:
                case 0:
                    raise ValueError("once is enough")
                case 1:
                    return Retry()
                case 2:
                    return Skip()
                case _:
                    return None

        config = backend.config(topic, **pre)
        for number in range(4):
            await backend.send(topic, {"number": number})
        await backend.send(topic, b"{no json")
        await backend.send(topic, {"number": 5})
        async with backend.running(make_app(config, handler, seen)):
            await backend.until(lambda: 5 in seen)
            await committed_is(backend, config, topic, 6)
        assert seen == [0, 1, 2, 3, 5]
        assert [event.decision for event in seen.failed] == ["finish", "finish"]

    async def test_with_a_fatal_exception_stops_the_app(self, backend: Backend, pre: dict[str, Any]) -> None:
        topic, seen, handler = await backend.topic(), Seen(), Handler()

        @handler.event("E")
        async def on_event(value: bytes) -> None:
            raise MemoryError

        config = backend.config(topic, **pre)
        await backend.send(topic, b"x")
        app = make_app(config, handler, seen)
        with stopping_app() as stopped:
            async with backend.running(app):
                await backend.until(lambda: app.service is not None and app.service.failure)
        assert isinstance(stopped[0].__cause__, MemoryError)


@membership_matters
class TestIntervalZero:
    async def test_a_batch_is_committed_before_its_first_record_runs(self, backend: Backend) -> None:
        topic, seen, handler = await backend.topic(), Seen(), Handler()
        gate = asyncio.Event()

        @handler.event("E")
        async def on_event(order: Order) -> None:
            seen.append(order.number)
            await gate.wait()

        config = backend.config(topic, **PRE, auto_commit_interval_ms=0)
        for number in range(3):
            await backend.send(topic, {"number": number})
        async with backend.running(make_app(config, handler, seen)):
            await backend.until(lambda: seen == [0])
            assert (await backend.committed(config, topic) or 0) >= 1
            gate.set()
            await committed_is(backend, config, topic, 3)


@membership_matters
class TestDrain:
    async def test_received_records_run_at_the_stop(self, backend: Backend, pre: dict[str, Any]) -> None:
        topic, seen, handler = await backend.topic(), Seen(), Handler()

        @handler.event("E")
        async def on_event(order: Order) -> None:
            seen.append(order.number)
            await asyncio.sleep(0)

        config = backend.config(topic, **pre)
        for number in range(20):
            await backend.send(topic, {"number": number})
        async with backend.running(make_app(config, handler, seen)):
            await backend.until(lambda: len(seen) >= 1)
        committed = await backend.committed(config, topic)
        assert seen == list(range(committed or 0))

    @pytest.mark.parametrize("batch", [False, True], ids=["single", "batch"])
    async def test_records_past_the_drain_time_are_lost_and_logged_by_address(
        self, backend: Backend, pre: dict[str, Any], batch: bool
    ) -> None:
        """The one whose attempt is cancelled, too."""
        topic, seen, handler, lost = await backend.topic(), Seen(), Handler(), list[RecordsLost]()

        async def on_event(order: Order) -> None:
            seen.append(order.number)
            await asyncio.Event().wait()

        async def on_batch(orders: list[Order]) -> None:
            await on_event(orders[0])

        if batch:
            handler.event("E", batch=True, max_records=2)(on_batch)
        else:
            handler.event("E")(on_event)

        config = backend.config(topic, **pre, drain_timeout_ms=200)
        for number in range(3):
            await backend.send(topic, {"number": number})
        app: EVKafkaApp = make_app(config, handler, seen)
        app.telemetry.listen(RecordsLost, lost.append)
        async with backend.running(app):
            await backend.until(lambda: seen == [0])
            await committed_is(backend, config, topic, 3)
        assert [address for event in lost for address in event.addresses] == [
            (topic, 0, 0),
            (topic, 0, 1),
            (topic, 0, 2),
        ]

    async def test_records_that_arrive_during_the_stop_run_or_are_left_to_the_next_member(
        self, backend: Backend, pre: dict[str, Any]
    ) -> None:
        topic, seen, handler = await backend.topic(), Seen(), Handler()

        @handler.event("E")
        async def on_event(order: Order) -> None:
            seen.append(order.number)

        config = backend.config(topic, **pre)
        await backend.send(topic, {"number": 0})
        app: EVKafkaApp = make_app(config, handler, seen)
        async with backend.running(app):
            await backend.until(lambda: seen == [0])
            await committed_is(backend, config, topic, 1)
            # The partition is revoked at once because it is idle; the running poll still waits for records.
            app.stop()
            await backend.send(topic, {"number": 1})
        committed = await backend.committed(config, topic)
        assert seen == list(range(committed or 0))
