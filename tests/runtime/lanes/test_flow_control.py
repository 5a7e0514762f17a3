"""Flow control: how much is read ahead, and that no partition starves another."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest

from evkafka import EVKafkaApp, Handler, Request
from evkafka.records import TopicPartition
from tests.support.engine import TOPIC, Bench, Gates

BOUNDED: dict[str, Any] = {"max_pending_records": 200, "max_poll_records": 50}  # 100 for each of two partitions


class TestFairness:
    async def test_a_busy_partition_starves_no_other(self, bench: Bench, gates: Gates, handler: Handler) -> None:
        await bench.send(b"first", b"second")
        await bench.send(*(b"hot%d" % number for number in range(500)))
        await bench.send(*(b"cold%d" % number for number in range(3)), partition=1)
        async with bench.running(handler, concurrency=2, **BOUNDED):
            await bench.until(lambda: bench.consumer.pending >= 103)  # the cold ones stand behind a hundred hot ones
            gates.open_all()
            await bench.until(lambda: b"cold2" in gates.ended)
            assert gates.begun.index(b"cold2") < 12
            await bench.kafka.settle()

    async def test_a_full_partition_is_not_polled_and_the_other_continues(
        self, bench: Bench, gates: Gates, handler: Handler
    ) -> None:
        await bench.send(*(b"hot%d" % number for number in range(500)))
        async with bench.running(handler, concurrency=2, ordering="partition", **BOUNDED):
            await bench.until(lambda: bench.consumer.pending >= 100)
            gates.open(*(b"cold%d" % number for number in range(3)))
            await bench.send(*(b"cold%d" % number for number in range(3)), partition=1)
            await bench.until(lambda: bench.committed(1) == 3)
            assert bench.consumer.pending == 100
            gates.open_all()


class TestBounds:
    async def test_a_full_partition_is_read_again_when_it_is_half_empty(
        self, bench: Bench, gates: Gates, handler: Handler
    ) -> None:
        await bench.send(*(b"%d" % number for number in range(500)))
        async with bench.running(handler, concurrency=2, ordering="partition", **BOUNDED):
            pending = bench.consumer._assignment.partitions
            await bench.until(lambda: bench.consumer.pending == 100)
            gates.open(*(b"%d" % number for number in range(50)))
            await bench.until(lambda: len(gates.ended) == 50)
            ledger = pending[TopicPartition(TOPIC, 0)].ledger
            assert ledger.oldest == 50
            assert ledger.unfinished_count == 50  # read again, but not before half was free
            gates.open(b"50")
            await bench.until(lambda: bench.consumer.pending > 90)
            gates.open_all()
            await bench.kafka.settle()

    async def test_one_blocked_record_does_not_limit_what_is_read_of_its_partition(
        self, bench: Bench, gates: Gates, handler: Handler
    ) -> None:
        gates.open(*(b"%d" % number for number in range(1, 500)))
        await bench.send(*(b"%d" % number for number in range(500)))
        async with bench.running(handler, concurrency=2, **BOUNDED):
            await bench.until(lambda: len(gates.ended) == 499)
            assert bench.consumer.pending == 1
            assert bench.committed() == 0
            gates.open_all()
            await bench.kafka.settle()
        assert bench.committed() == 500

    async def test_bytes_are_limited_too(self, bench: Bench, gates: Gates, handler: Handler) -> None:
        await bench.send(*(bytes([number]) * 1000 for number in range(100)))
        keys = {"max_pending_bytes": 20_000, "max_poll_records": 5}
        async with bench.running(handler, concurrency=2, **keys):
            await bench.until(lambda: gates.running)
            await bench.kafka.advance(ms=5000)
            assert bench.consumer.pending == 10
            gates.open_all()
            await bench.kafka.settle()
        assert bench.committed() == 100


class TestCommitMetadata:
    @pytest.mark.parametrize("share", [3, 5, 20])
    async def test_a_clean_stop_repeats_nothing_however_many_fail(self, bench: Bench, share: int) -> None:
        """A small limit and few records stand for 3,500 bytes and tens of thousands. Each record that succeeds while
        its neighbours fail or wait is a range of its own."""
        handled: Counter[int] = Counter()
        broken = True

        handler = Handler()

        @handler.event("E")
        async def on_e(value: bytes, request: Request) -> None:
            await asyncio.sleep(0)
            if broken and request.offset % share == 0:
                raise ValueError("by the test")
            handled[request.offset] += 1

        keys: dict[str, Any] = {"commit_metadata_max_bytes": 500, "max_poll_records": 50, "concurrency": 16}
        keys |= {"on_error": {"backoff_ms": 600_000, "max_backoff_ms": 600_000}}
        await bench.send(*(b"%d" % number for number in range(5_000)))
        async with bench.running(handler, **keys):
            await bench.until(lambda: partition_is_not_read(bench) and not bench.consumer.in_flight)
        assert handled
        broken = False
        bench.app = EVKafkaApp()
        async with bench.running(handler, **keys):
            await bench.until(lambda: len(handled) == 5_000)
        assert handled.total() == 5_000

    async def test_one_slow_key_stops_nothing_else(self, bench: Bench) -> None:
        """The records behind it are finished one after the other: they need no room for a range each."""
        handled: Counter[bytes] = Counter()
        released, handler = asyncio.Event(), Handler()

        @handler.event("E")
        async def on_e(value: bytes) -> None:
            if value == b"hot":
                await released.wait()
            handled[value] += 1

        await bench.send(*[b"hot"] * 400, key="hot")
        await bench.send(*[b"other"] * 4_000)
        async with bench.running(handler, commit_metadata_max_bytes=500, max_poll_records=50, concurrency=16):
            await bench.until(lambda: handled[b"other"] == 4_000)
            released.set()
            await bench.until(lambda: handled[b"hot"] == 400)

    async def test_a_burst_of_slow_records_behind_many_that_fail_stops_it_only_for_a_while(self, bench: Bench) -> None:
        """More than half of what one of two partitions may have fails for ever: it is not full, and is read again."""
        handled: Counter[bytes] = Counter()
        released, handler = asyncio.Event(), Handler()

        @handler.event("E")
        async def on_e(value: bytes) -> None:
            if value == b"bad":
                raise ValueError("by the test")
            if value == b"slow":
                await released.wait()
            handled[value] += 1

        keys: dict[str, Any] = {"commit_metadata_max_bytes": 500, "max_poll_records": 50, "concurrency": 16}
        keys |= {"max_pending_records": 2_400, "on_error": {"backoff_ms": 600_000, "max_backoff_ms": 600_000}}
        await bench.send(*[b"bad"] * 650, *[b"ok"] * 2_500, *[b"slow"] * 500, *[b"last"] * 500)
        async with bench.running(handler, **keys):
            await bench.until(lambda: handled[b"ok"] == 2_500)
            await bench.until(lambda: "forecast" in reasons_not_to_read(bench))
            released.set()
            await bench.until(lambda: handled[b"last"] == 500)

    async def test_that_is_too_short_leaves_out_few_records(
        self, bench: Bench, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Many records fail while those behind them succeed, which is one range. Then every second one succeeds: these
        ranges do not fit, and the long one behind them must not be left out for them."""
        handled: Counter[int] = Counter()
        failing = set(range(200))
        handler = Handler()

        @handler.event("E")
        async def on_e(value: bytes, request: Request) -> None:
            await asyncio.sleep(0)
            if request.offset in failing:
                raise ValueError("by the test")
            handled[request.offset] += 1

        keys: dict[str, Any] = {"commit_metadata_max_bytes": 150, "concurrency": 16, "on_error": {"backoff_ms": 10_000}}
        await bench.send(*(b"%d" % number for number in range(2_000)))
        async with bench.running(handler, **keys):
            await bench.until(lambda: len(handled) == 1_800)
            failing = set(range(0, 200, 2))
            await bench.until(lambda: len(handled) == 1_900)
        assert "do not all fit into the metadata of a commit (150 bytes)" in caplog.text
        failing = set()
        bench.app = EVKafkaApp()
        async with bench.running(handler, **keys):
            await bench.until(lambda: len(handled) == 2_000)
        assert {handled[offset] for offset in range(200, 2_000)} == {1}


def partition_is_not_read(bench: Bench) -> bool:
    """Whether it is not read any more, and all its records wait."""
    partition = bench.consumer._assignment.partitions[TopicPartition(TOPIC, 0)]
    waits = all(lane.reasons for lane in partition.lanes() if lane.queue)
    return waits and bool(reasons_not_to_read(bench))


def reasons_not_to_read(bench: Bench) -> frozenset[str]:
    return bench.consumer._assignment.flow.not_read_reasons(TopicPartition(TOPIC, 0))
