"""Lanes: which records run concurrently, which stay in order, and which block others."""

from __future__ import annotations

import threading

import pytest

from evkafka import Handler, Request
from tests.support.engine import Bench, Gates


class TestKeyOrder:
    async def test_different_keys_run_concurrently(self, bench: Bench, gates: Gates, handler: Handler) -> None:
        await bench.send(b"a1", key="a")
        await bench.send(b"b1", key="b")
        async with bench.running(handler, concurrency=4):
            await bench.until(lambda: gates.running == {b"a1", b"b1"})
            gates.open_all()
            await bench.kafka.settle()
        assert bench.committed() == 2

    async def test_one_key_runs_one_after_the_other(self, bench: Bench, gates: Gates, handler: Handler) -> None:
        await bench.send(b"a1", b"a2", key="a")
        await bench.send(b"b1", key="b")
        async with bench.running(handler, concurrency=4):
            await bench.until(lambda: b"b1" in gates.begun)
            assert gates.running == {b"a1", b"b1"}
            gates.open(b"a1")
            await bench.until(lambda: b"a2" in gates.begun)
            gates.open_all()
            await bench.kafka.settle()
        assert gates.begun == [b"a1", b"b1", b"a2"]

    async def test_the_same_key_in_two_partitions_has_two_lanes(
        self, bench: Bench, gates: Gates, handler: Handler
    ) -> None:
        await bench.send(b"p0", key="a", partition=0)
        await bench.send(b"p1", key="a", partition=1)
        async with bench.running(handler, concurrency=4):
            await bench.until(lambda: gates.running == {b"p0", b"p1"})
            gates.open_all()

    async def test_records_without_a_key_need_no_order(self, bench: Bench, gates: Gates, handler: Handler) -> None:
        await bench.send(b"1", b"2", b"3")
        async with bench.running(handler, concurrency=4):
            await bench.until(lambda: gates.running == {b"1", b"2", b"3"})
            gates.open_all()

    async def test_an_empty_key_is_a_key(self, bench: Bench, gates: Gates, handler: Handler) -> None:
        await bench.send(b"1", b"2", key="")
        async with bench.running(handler, concurrency=4):
            await bench.until(lambda: gates.begun)
            await bench.kafka.advance(ms=1000)
            assert gates.running == {b"1"}
            gates.open_all()

    async def test_the_watermark_never_passes_an_unfinished_record(
        self, bench: Bench, gates: Gates, handler: Handler
    ) -> None:
        await bench.send(b"slow", key="a")
        await bench.send(b"b", key="b")
        await bench.send(b"c", key="c")
        async with bench.running(handler, concurrency=4):
            gates.open(b"b", b"c")
            await bench.until(lambda: gates.ended == [b"b", b"c"])
            await bench.kafka.advance(ms=1000)
            assert bench.committed() == 0
            gates.open(b"slow")
            await bench.until(lambda: bench.committed() == 3)


class TestOtherOrders:
    async def test_by_partition_other_keys_wait_and_other_partitions_do_not(
        self, bench: Bench, gates: Gates, handler: Handler
    ) -> None:
        await bench.send(b"a", key="a")
        await bench.send(b"b", key="b")
        await bench.send(b"p1", key="c", partition=1)
        async with bench.running(handler, concurrency=4, ordering="partition"):
            await bench.until(lambda: b"p1" in gates.begun)
            await bench.kafka.advance(ms=1000)
            assert gates.running == {b"a", b"p1"}
            gates.open_all()
            await bench.kafka.settle()
        assert bench.committed() == 2

    async def test_unordered_records_of_one_key_run_concurrently(
        self, bench: Bench, gates: Gates, handler: Handler
    ) -> None:
        await bench.send(b"1", b"2", b"3", key="a")
        async with bench.running(handler, concurrency=4, ordering="unordered"):
            await bench.until(lambda: gates.running == {b"1", b"2", b"3"})
            gates.open_all()
            await bench.kafka.settle()
        assert bench.committed() == 3

    @pytest.mark.parametrize("ordering", ["key", "partition", "unordered"])
    async def test_at_concurrency_one_every_partition_is_in_order(
        self, bench: Bench, gates: Gates, handler: Handler, ordering: str
    ) -> None:
        gates.open_all()
        values = [b"%d" % number for number in range(20)]
        for value in values:
            await bench.send(value, key=f"k{value[-1] % 3}")
        async with bench.running(handler, ordering=ordering):
            await bench.kafka.settle()
        assert gates.begun == values


class TestConcurrency:
    async def test_limits_the_records_in_flight(self, bench: Bench, gates: Gates, handler: Handler) -> None:
        await bench.send(*(b"%d" % number for number in range(10)))
        async with bench.running(handler, concurrency=3):
            await bench.until(lambda: len(gates.begun) == 3)
            await bench.kafka.advance(ms=1000)
            assert len(gates.running) == 3
            gates.open_all()
            await bench.kafka.settle()
        assert bench.committed() == 10

    async def test_plain_functions_run_in_that_many_threads(self, bench: Bench) -> None:
        handler, together = Handler(), threading.Barrier(4, timeout=20)
        names: list[str] = []

        @handler.event("E")
        def meet(value: bytes) -> None:
            names.append(threading.current_thread().name)
            together.wait()

        await bench.send(b"1", b"2", b"3", b"4")
        async with bench.running(handler, concurrency=4):
            await bench.kafka.settle()
        assert len(set(names)) == 4
        assert bench.committed() == 4


class TestFailures:
    async def test_a_failed_record_blocks_only_its_key(self, bench: Bench) -> None:
        handler, seen = Handler(), []

        @handler.event("E")
        async def fail_for_a(value: bytes, request: Request) -> None:
            seen.append((value, request.attempt))
            if value == b"a1" and request.attempt < 3:
                raise ValueError

        await bench.send(b"a1", b"a2", key="a")
        await bench.send(b"b1", key="b")
        await bench.send(b"free")
        async with bench.running(handler, concurrency=2, on_error={"backoff_ms": 1000, "jitter": 0}):
            await bench.until(lambda: (b"free", 1) in seen and (b"b1", 1) in seen)
            assert bench.committed() in (None, 0)
            await bench.kafka.settle()
        assert [one for one in seen if one[0].startswith(b"a")] == [(b"a1", 1), (b"a1", 2), (b"a1", 3), (b"a2", 1)]
        assert bench.committed() == 4

    async def test_a_record_that_waits_for_its_next_attempt_uses_no_executor(self, bench: Bench) -> None:
        handler, seen = Handler(), []

        @handler.event("E")
        async def fail_once(value: bytes, request: Request) -> None:
            seen.append(value)
            if request.attempt == 1 and value.startswith(b"bad"):
                raise ValueError

        await bench.send(b"bad1", b"bad2")
        await bench.send(b"good")
        keys = {"concurrency": 2, "on_error": {"backoff_ms": 30_000, "jitter": 0}}
        async with bench.running(handler, **keys):
            await bench.until(lambda: b"good" in seen, ms=1000)
            await bench.kafka.settle()
        assert sorted(seen) == [b"bad1", b"bad1", b"bad2", b"bad2", b"good"]

    async def test_at_concurrency_one_a_failed_record_blocks_only_its_partition(self, bench: Bench) -> None:
        handler, seen = Handler(), []

        @handler.event("E")
        async def fail_once(value: bytes, request: Request) -> None:
            seen.append(value)
            if request.attempt == 1 and value == b"bad":
                raise ValueError

        await bench.send(b"bad", b"behind")
        await bench.send(b"other", partition=1)
        async with bench.running(handler, on_error={"backoff_ms": 30_000, "jitter": 0}):
            await bench.until(lambda: b"other" in seen, ms=1000)
            assert b"behind" not in seen
            await bench.kafka.settle()
        assert [one for one in seen if one != b"other"] == [b"bad", b"bad", b"behind"]
