"""Flow control: how much is read ahead, and that no partition starves another."""

from __future__ import annotations

from typing import Any

from evkafka import Handler
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
