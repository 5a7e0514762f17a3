"""A record that stops the app: from the moment of that verdict, no record behind it begins."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from evkafka import DeadLetter, Handler, Request
from evkafka.exceptions import StopApp
from evkafka.records import TopicPartition
from evkafka.runtime.clock import SystemClock, sleep
from evkafka.runtime.partition import Partition
from evkafka.runtime.scheduler import LaneScheduler
from evkafka.service.dispatch import build_dispatch
from tests.support.engine import Bench, Gates
from tests.support.executors import OneRecord, executors
from tests.support.executors import fail as fail_the_test

ORDERS = [
    pytest.param({}, id="in order"),
    pytest.param({"concurrency": 8}, id="by key"),
    pytest.param({"concurrency": 8, "ordering": "partition"}, id="by partition"),
]
STOP: Any = {"max_attempts": 1, "then": "stop"}
LIMIT: Any = {"consecutive": 1}
RECORDS, BAD = 60, 7
FETCH_S = 0.1


async def fail() -> None:
    raise ValueError("by the test")


async def run_out_of_memory() -> None:
    raise MemoryError


async def exit_the_process() -> None:
    raise SystemExit(1)


async def give_it_up() -> None:
    raise DeadLetter("by the test")


FATAL = [
    pytest.param(fail, {"on_error": STOP}, id="then=stop"),
    pytest.param(run_out_of_memory, {}, id="MemoryError"),
    pytest.param(exit_the_process, {}, id="SystemExit"),
    pytest.param(give_it_up, {"on_error": {"dead_letter_limit": LIMIT}}, id="dead_letter_limit"),
]


@pytest.mark.parametrize("order", ORDERS)
class TestBehindARecordThatStopsTheApp:
    """A running poll returns the next records at the moment of the verdict."""

    @pytest.mark.parametrize(("befalls", "keys"), FATAL)
    async def test_no_record_of_its_key_begins(
        self, bench: Bench, order: dict[str, Any], befalls: Any, keys: dict[str, Any]
    ) -> None:
        handler, begun = Handler(), list[int]()

        @handler.event("E")
        async def on_e(value: bytes, request: Request) -> None:
            begun.append(request.offset)
            if request.offset == BAD or (befalls is give_it_up and request.offset == BAD - 1):
                await sleep(bench.kafka.clock, FETCH_S)
                await befalls()

        await self._runs_until_it_stops(bench, handler, {**order, **keys})
        assert begun == list(range(BAD + 1))
        assert bench.committed() == BAD

    async def test_that_no_endpoint_takes_no_record_of_its_key_begins(
        self, bench: Bench, order: dict[str, Any]
    ) -> None:
        handler, begun = Handler(), list[int]()

        @handler.event("E")
        async def on_e(value: bytes, request: Request) -> None:
            begun.append(request.offset)
            await sleep(bench.kafka.clock, FETCH_S)

        await self._runs_until_it_stops(bench, handler, {**order, "unmatched": "stop"}, bad="Unknown")
        assert begun == list(range(BAD))
        assert bench.committed() == BAD

    @pytest.mark.parametrize(("befalls", "keys"), FATAL[:3])
    async def test_no_batch_of_its_key_begins(
        self, bench: Bench, order: dict[str, Any], befalls: Any, keys: dict[str, Any]
    ) -> None:
        handler, begun = Handler(), list[list[int]]()

        @handler.event("E", batch=True, max_records=2, max_wait_ms=0)
        async def on_es(values: list[bytes], requests: list[Request]) -> None:
            offsets = [request.offset for request in requests]
            begun.append(offsets)
            if BAD in offsets:
                await sleep(bench.kafka.clock, FETCH_S)
                await befalls()

        await self._runs_until_it_stops(bench, handler, {**order, **keys})
        assert BAD in begun[-1]
        assert bench.committed() == begun[-1][0]

    @staticmethod
    async def _runs_until_it_stops(bench: Bench, handler: Handler, keys: dict[str, Any], bad: str = "E") -> None:
        for number in range(RECORDS):
            await bench.send(b"", key="k", event_type=bad if number == BAD else "E")
        fetch_ms = FETCH_S * 1000
        with pytest.raises(StopApp), bench.kafka.latency(fetch_ms=(fetch_ms, fetch_ms)):
            async with bench.running(handler, max_poll_records=2, **keys):
                await bench.until(lambda: bench.consumer.status().stopping or not _runs(bench))


def _runs(bench: Bench) -> bool:
    assert bench.app.service is not None
    return bench.app.service.failure is None


class TestARecordOfAnotherKey:
    async def test_whose_retry_is_due_when_the_app_stops_is_not_retried(self, bench: Bench) -> None:
        handler, begun, both = Handler(), list[tuple[bytes | None, int]](), asyncio.Event()

        @handler.event("E")
        async def on_e(value: bytes, request: Request) -> None:
            begun.append((request.key, request.attempt))
            if len(begun) == 2:
                both.set()
            await both.wait()
            if request.key == b"stops":
                raise MemoryError
            await asyncio.sleep(0)
            raise ValueError("by the test")

        await bench.send(b"", key="fails")
        await bench.send(b"", key="stops")
        with pytest.raises(StopApp):
            async with bench.running(handler, concurrency=4, on_error={"backoff_ms": 0, "max_backoff_ms": 0}):
                await bench.until(lambda: not _runs(bench))
        assert sorted(begun) == [(b"fails", 1), (b"stops", 1)]


class TestAPartitionWhoseRecordStopsTheApp:
    @pytest.mark.parametrize("ordering", ["key", "partition", "unordered"])
    async def test_begins_no_record_that_was_read(self, ordering: str) -> None:
        """Not even of other keys, because the consumer stops some rounds of the loop later."""
        lanes = LaneScheduler(SystemClock())
        partition = Partition(TopicPartition("t", 0), ordering=ordering)
        handler, begun, failed = Handler(), list[int](), asyncio.Event()

        @handler.default()
        async def on_any(value: bytes, request: Request) -> None:
            begun.append(request.offset)
            raise MemoryError

        [executor] = executors(1, lanes, build_dispatch(handler, None), on_failure=lambda _: failed.set())
        lanes.add_records(partition, [OneRecord(offset, key=b"%d" % (offset % 3)) for offset in range(9)], 9)
        executor.start("executor", fail_the_test)
        await failed.wait()
        for _ in range(10):
            await asyncio.sleep(0)
        executor.kill()
        assert begun == [0]
        assert partition.ledger.committable() is None

    async def test_drops_the_records_of_a_running_poll(self, bench: Bench, gates: Gates, handler: Handler) -> None:
        async with bench.running(handler):
            await bench.until(lambda: bench.consumer.status().membership == "steady")
            assignment, tp = bench.consumer._assignment, TopicPartition("t", 0)
            assignment.close_partition_after_failed_record(assignment.partitions[tp])
            await bench.send(b"0", b"1")
            await bench.kafka.advance(ms=5_000)
            assert assignment.partitions[tp].ledger.unfinished_count == 0
        assert gates.begun == []
        assert not bench.committed()
