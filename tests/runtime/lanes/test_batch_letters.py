"""Batches with dead letters: the records behind one of them wait until it is written."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from pydantic import BaseModel

from evkafka import BatchError, DeadLetter, Handler
from evkafka.exceptions import StopApp
from evkafka.telemetry import RecordsProcessed
from tests.support.engine import GROUP, TOPIC, Bench

DLQ = f"{TOPIC}.{GROUP}.dlq"
TO_DLQ: dict[str, Any] = {"max_attempts": 1, "then": "dead_letter", "dead_letter_limit": None}


class Order(BaseModel):
    number: int


class Orders(list[list[int]]):
    """The records that a batch endpoint got, call by call; it returns DeadLetter for numbers below zero."""

    def __init__(self) -> None:
        super().__init__()
        self.handler = Handler()
        self.go = asyncio.Event()
        self.go.set()

        @self.handler.event("E", batch=True)
        async def on_orders(orders: list[Order]) -> None:
            self.append([order.number for order in orders])
            await self.go.wait()
            bad = {index: DeadLetter("below zero") for index, order in enumerate(orders) if order.number < 0}
            if bad:
                raise BatchError(bad)


@pytest.fixture
def orders() -> Orders:
    return Orders()


async def send(bench: Bench, *numbers: int | None, key: str | None = None) -> None:
    """Send orders with these numbers; None is one that cannot be decoded."""
    for number in numbers:
        await bench.send(b"no" if number is None else b'{"number": %d}' % number, key=key)


def unwritten(bench: Bench) -> object:
    return bench.consumer.status().partitions[0].unwritten


class TestBehindAnUndecodableRecord:
    async def test_no_record_of_its_lane_runs_before_the_dead_letter_is_written(
        self, bench: Bench, orders: Orders
    ) -> None:
        bench.kafka.fail_sends("refused", topic=DLQ)
        await send(bench, 1, None, 3)
        async with bench.running(orders.handler, on_error=TO_DLQ):
            await bench.until(lambda: unwritten(bench))
            assert orders == []

            await bench.until(lambda: bench.committed() == 3)
        assert orders == [[1, 3]]

    async def test_records_of_other_keys_and_without_a_key_continue(self, bench: Bench, orders: Orders) -> None:
        bench.kafka.fail_sends(*["refused"] * 1000, topic=DLQ)
        await send(bench, None, 1, key="a")
        await send(bench, 2, key="b")
        await send(bench, None, 3)
        async with bench.running(orders.handler, on_error=TO_DLQ, concurrency=2):
            await bench.until(lambda: unwritten(bench))
            await bench.kafka.advance(ms=10_000)
            assert orders == [[2, 3]]
            assert bench.consumer.in_flight == 0

    async def test_the_others_are_retried_without_its_lane_which_continues_separately(self, bench: Bench) -> None:
        handler, seen = Handler(), list[list[int]]()

        @handler.event("E", batch=True)
        async def on_orders(orders: list[Order]) -> None:
            seen.append([order.number for order in orders])
            if 2 in seen[-1]:
                raise ValueError("not yet")

        await send(bench, None, 1, key="a")
        await send(bench, 2, key="b")
        policy = {"backoff_ms": 60_000, "max_backoff_ms": 60_000, "jitter": 0, **TO_DLQ, "max_attempts": 2}
        async with bench.running(handler, on_error=policy, concurrency=2):
            await bench.until(lambda: seen == [[2], [1]], ms=10_000)
            await bench.until(lambda: bench.committed() == 3, ms=120_000)
        assert seen == [[2], [1], [2]]

    async def test_a_pause_during_the_write_runs_no_record_twice(self, bench: Bench, orders: Orders) -> None:
        orders.go.clear()
        await send(bench, None, 1, key="a")
        await send(bench, 2, key="b")
        async with bench.running(orders.handler, on_error=TO_DLQ, concurrency=2):
            with bench.kafka.latency(produce_ms=(1000, 1000)):
                await bench.until(lambda: orders == [[2]], ms=500)
                bench.app.consumer("it").pause(TOPIC, 0)
                await bench.until(lambda: bench.kafka.records(DLQ))
                await bench.kafka.advance(ms=2000)
            orders.go.set()
            await bench.kafka.advance(ms=1000)
            assert orders == [[2]]
            bench.app.consumer("it").resume(TOPIC, 0)
            await bench.until(lambda: bench.committed() == 3)
        assert orders == [[2], [1]]
        assert len(bench.kafka.records(DLQ)) == 1


class TestBehindADeadLetterByOutcome:
    async def test_records_of_its_lane_run_once_and_are_done_when_the_dead_letter_is_written(
        self, bench: Bench, orders: Orders
    ) -> None:
        statuses: list[str] = []
        bench.app.telemetry.listen(
            RecordsProcessed, lambda e: statuses.extend(s for (_, s), d in e.durations_s.items() for _ in d)
        )
        bench.kafka.fail_sends(*["refused"] * 2, topic=DLQ)
        await send(bench, 1, -2, 3, -4, 5)
        async with bench.running(orders.handler, on_error=TO_DLQ):
            await bench.until(lambda: unwritten(bench))
            assert statuses == ["ok"]
            await bench.until(lambda: bench.committed() == 5)
        assert sorted(statuses) == ["dead_lettered"] * 2 + ["ok"] * 3
        assert orders == [[1, -2, 3, -4, 5]]
        assert [record.offset for record in bench.kafka.records(DLQ)] == [0, 1]

    async def test_records_of_its_lane_are_handled_again_after_it_if_the_partition_is_revoked(
        self, bench: Bench, orders: Orders
    ) -> None:
        bench.kafka.fail_sends(*["refused"] * 2, topic=DLQ)
        await send(bench, 1, -2, 3)
        async with bench.running(orders.handler, on_error=TO_DLQ):
            await bench.until(lambda: unwritten(bench))
            bench.kafka.rebalance(GROUP)
            await bench.until(lambda: bench.committed() == 3)
        assert orders == [[1, -2, 3], [-2, 3]]

    async def test_no_record_of_its_lane_is_done_if_it_stops_the_app(self, bench: Bench, orders: Orders) -> None:
        await send(bench, 1, -2, -3, 4)
        with pytest.raises(StopApp, match="dead_letter_limit"):
            async with bench.running(
                orders.handler, on_error={**TO_DLQ, "dead_letter_limit": {"consecutive": 1, "ratio": 1, "window": 1000}}
            ):
                await bench.until(lambda: bench.app.service is not None and bench.app.service.failure)
        assert bench.committed() in (1, 2)
        assert orders == [[1, -2, -3, 4]]

    async def test_a_stop_waits_for_the_pending_dead_letter_and_commits_everything(
        self, bench: Bench, orders: Orders
    ) -> None:
        await send(bench, 1, -2, 3)
        with bench.kafka.latency(produce_ms=(1000, 1000)):
            async with bench.running(orders.handler, on_error=TO_DLQ):
                await bench.until(lambda: orders, ms=500)
        assert bench.committed() == 3
        assert orders == [[1, -2, 3]]


class TestBehindARecordThatFailed:
    """An endpoint that stops at the first failure does not know whether the policy retries that record."""

    @pytest.fixture
    def stopping(self) -> tuple[Handler, list[list[int]]]:
        handler, done = Handler(), list[list[int]]()

        @handler.event("E", batch=True)
        async def on_orders(orders: list[Order]) -> None:
            done.append([])
            for index, order in enumerate(orders):
                if order.number < 0:
                    raise BatchError({index: ValueError("below zero")})
                done[-1].append(order.number)

        return handler, done

    @pytest.mark.parametrize(
        "policy",
        [TO_DLQ, {**TO_DLQ, "retry_topics": [1000]}, {"max_attempts": 1, "then": "skip"}],
        ids=lambda p: str(p),
    )
    async def test_records_of_its_lane_run_after_it_whatever_its_verdict(
        self, bench: Bench, stopping: tuple[Handler, list[list[int]]], policy: dict[str, Any]
    ) -> None:
        handler, done = stopping
        await send(bench, 1, -2, 3, -4, 5)
        async with bench.running(handler, on_error=policy):
            await bench.until(lambda: bench.committed() == 5)
        assert [numbers for numbers in done if numbers] == [[1], [3], [5]]

    async def test_records_of_its_lane_run_after_the_dead_letter_and_those_of_other_keys_before(
        self, bench: Bench, stopping: tuple[Handler, list[list[int]]]
    ) -> None:
        handler, done = stopping
        bench.kafka.fail_sends("refused", topic=DLQ)
        await send(bench, 1, key="b")
        await send(bench, -2, 3, key="a")
        async with bench.running(handler, on_error=TO_DLQ, concurrency=2):
            await bench.until(lambda: unwritten(bench))
            await send(bench, 4, key="b")
            await bench.until(lambda: [4] in done)
            await bench.until(lambda: bench.committed() == 4)
        assert done == [[1], [4], [3]]

    async def test_at_most_once_they_do_not_run_again(
        self, bench: Bench, stopping: tuple[Handler, list[list[int]]]
    ) -> None:
        handler, done = stopping
        await send(bench, 1, -2, 3)
        async with bench.running(handler, auto_commit_mode="pre-commit"):
            await bench.until(lambda: done)
            await bench.kafka.advance(ms=5000)
        assert done == [[1]]
