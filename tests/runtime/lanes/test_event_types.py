"""Options of one event type: concurrency, time limit and error policy."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from evkafka import EVKafkaApp, Handler, Request
from tests.support.engine import GROUP, TOPIC, Bench, Gates


def bounded(gates: Gates, limit: int, *, batch: bool = False) -> Handler:
    """Type Few has its own concurrency, type E has not; both wait at the gates."""
    handler = Handler()
    handler.event("E")(gates.__call__)
    if batch:

        @handler.event("Few", concurrency=limit, batch=True, max_records=1)
        async def on_few_together(values: list[bytes]) -> None:
            await gates(values[0])
    else:
        handler.event("Few", concurrency=limit)(gates.__call__)
    return handler


class TestConcurrency:
    @pytest.mark.parametrize("batch", [False, True])
    async def test_limits_records_of_the_type_and_the_others_continue(
        self, bench: Bench, gates: Gates, batch: bool
    ) -> None:
        await bench.send(b"f1", b"f2", b"f3", b"f4", event_type="Few")
        await bench.send(b"e1", b"e2", b"e3")
        async with bench.running(bounded(gates, 2, batch=batch), concurrency=5):
            await bench.until(lambda: b"e3" in gates.begun)
            await bench.kafka.advance(ms=1000)
            assert gates.running == {b"f1", b"f2", b"e1", b"e2", b"e3"}  # what waits takes no slot
            gates.open(b"f2")
            await bench.until(lambda: b"f3" in gates.begun)
            gates.open_all()
            await bench.kafka.settle()
        assert bench.committed() == 7

    async def test_order_by_key_is_kept_between_types(self, bench: Bench, gates: Gates) -> None:
        await bench.send(b"other", event_type="Few")
        await bench.send(b"1", key="a", event_type="Few")
        await bench.send(b"2", key="a")
        await bench.send(b"3", key="a", event_type="Few")
        async with bench.running(bounded(gates, 1), concurrency=4):
            await bench.until(lambda: gates.begun)
            await bench.kafka.advance(ms=1000)
            assert gates.running == {b"other"}
            gates.open_all()
            await bench.kafka.settle()
        assert gates.ended == [b"other", b"1", b"2", b"3"]
        assert bench.committed() == 4

    async def test_another_type_in_the_same_lane_returns_the_permit(self, bench: Bench, gates: Gates) -> None:
        await bench.send(b"1", key="a", event_type="Few")
        await bench.send(b"2", key="a")
        await bench.send(b"free", event_type="Few")
        gates.open(b"1")
        async with bench.running(bounded(gates, 1), concurrency=4):
            await bench.until(lambda: gates.running == {b"2", b"free"})
            gates.open_all()

    async def test_at_concurrency_one_a_partition_without_a_permit_lets_the_others_run_first(
        self, bench: Bench, gates: Gates
    ) -> None:
        gates.open_all()
        await bench.send(b"1", b"2", b"3", event_type="Few")
        await bench.send(b"a", b"b", partition=1)
        async with bench.running(bounded(gates, 1)):
            await bench.kafka.settle()
        assert [value for value in gates.ended if value.isdigit()] == [b"1", b"2", b"3"]
        assert bench.committed(1) == 2

    async def test_a_record_that_waits_for_its_next_attempt_has_no_permit(self, bench: Bench) -> None:
        handler, seen = Handler(), []

        @handler.event("E", concurrency=1)
        async def fail_once(value: bytes, request: Request) -> None:
            seen.append(value)
            if value == b"bad" and request.attempt == 1:
                raise ValueError

        await bench.send(b"bad", b"good")
        async with bench.running(handler, concurrency=2, on_error={"backoff_ms": 30_000, "jitter": 0}):
            await bench.until(lambda: b"good" in seen, ms=1000)
            await bench.kafka.settle()
        assert seen == [b"bad", b"good", b"bad"]

    async def test_permits_are_returned_at_a_revoke(self, bench: Bench, gates: Gates) -> None:
        await bench.send(*(b"%d" % number for number in range(6)), event_type="Few")
        async with bench.running(bounded(gates, 2), concurrency=4, revoke_drain_timeout_ms=1000):
            await bench.until(lambda: len(gates.begun) == 2)
            await bench.kafka.rebalance(GROUP)
            gates.open_all()
            await bench.kafka.settle()
        assert bench.committed() == 6

    async def test_the_default_endpoint_can_be_limited(self, bench: Bench, gates: Gates) -> None:
        handler = Handler()
        handler.default(concurrency=1)(gates.__call__)
        await bench.send(b"1", b"2", event_type="Whatever")
        async with bench.running(handler, concurrency=4):
            await bench.until(lambda: gates.begun)
            await bench.kafka.advance(ms=1000)
            assert gates.running == {b"1"}
            gates.open_all()


class TestOtherOptions:
    @pytest.fixture(params=["handler", "included", "app"])
    def declare(self, request: pytest.FixtureRequest, bench: Bench) -> Any:
        """`(declaring decorator's owner, what runs)` by each way to declare an endpoint."""
        if request.param == "app":
            config: Any = {"topics": [TOPIC], "group_id": GROUP, "auto_offset_reset": "earliest"}
            app = bench.app = EVKafkaApp({**config, "auto_commit_interval_ms": 100}, "it")
            return app, lambda **keys: bench.kafka.running(app)
        inner, outer = Handler(), Handler()
        outer.include_handler(inner)
        runs = inner if request.param == "handler" else outer
        return inner, lambda **keys: bench.running(runs, **keys)

    async def test_its_own_time_limit_applies(self, bench: Bench, declare: Any) -> None:
        owner, running = declare
        attempts = []

        @owner.event("E", timeout_ms=100, on_error={"backoff_ms": 10, "jitter": 0})
        async def hang_once(value: bytes, request: Request) -> None:
            attempts.append(request.attempt)
            if request.attempt == 1:
                await asyncio.Event().wait()

        await bench.send(b"x")
        async with running():
            await bench.until(lambda: attempts == [1, 2], ms=2000)
            await bench.kafka.settle()

    async def test_its_own_policy_is_merged_over_the_consumers(self, bench: Bench, declare: Any) -> None:
        owner, running = declare

        @owner.event("E", on_error={"max_attempts": 1, "then": "dead_letter", "dead_letter_topic": "{event_type}.dlq"})
        async def fail(value: bytes) -> None:
            raise ValueError

        await bench.send(b"x")
        async with running():
            await bench.kafka.settle()
        assert [record.value for record in bench.kafka.records("E.dlq")] == [b"x"]
        assert bench.committed() == 1

    async def test_a_type_that_is_called_default_does_not_have_the_default_endpoints_policy(self, bench: Bench) -> None:
        handler, seen = Handler(), []

        @handler.default(on_error={"max_attempts": 1, "then": "skip"})
        async def on_anything(value: bytes) -> None:
            raise ValueError

        @handler.event("default")
        async def on_default(value: bytes, request: Request) -> None:
            seen.append(request.attempt)
            if request.attempt < 3:
                raise ValueError

        await bench.send(b"x", event_type="default")
        await bench.send(b"y", event_type="Whatever")
        async with bench.running(handler, on_error={"backoff_ms": 10}):
            await bench.kafka.settle()
        assert seen == [1, 2, 3]
        assert bench.committed() == 2
