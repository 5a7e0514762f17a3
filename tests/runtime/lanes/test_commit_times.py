"""When finished records are committed, at an interval of a minute: soon while nothing waits, else on the interval."""

from __future__ import annotations

from typing import Any

from evkafka import Handler
from tests.support.engine import TOPIC, Bench, Gates

EARLY_MS, INTERVAL_MS = 6_000, 60_000
MINUTE: dict[str, Any] = {"auto_commit_interval_ms": INTERVAL_MS}


async def test_a_record_is_committed_early_if_none_waits(bench: Bench, gates: Gates, handler: Handler) -> None:
    gates.open_all()
    async with bench.running(handler, **MINUTE):
        await bench.send(b"0")
        await bench.kafka.advance(ms=EARLY_MS - 1_000)
        assert gates.ended == [b"0"]
        assert bench.committed() == 0  # the position that reading began at
        await bench.kafka.advance(ms=2_000)
        assert bench.committed() == 1


async def test_a_record_in_flight_does_not_hold_up_the_early_commit(
    bench: Bench, gates: Gates, handler: Handler
) -> None:
    gates.open(b"0")
    await bench.send(b"0", key="a")
    await bench.send(b"1", key="b")
    async with bench.running(handler, concurrency=2, **MINUTE):
        await bench.until(lambda: gates.ended == [b"0"])
        await bench.kafka.advance(ms=EARLY_MS + 1_000)
        assert bench.committed() == 1
        gates.open_all()


async def test_while_a_record_waits_for_an_executor_the_interval_counts(
    bench: Bench, gates: Gates, handler: Handler
) -> None:
    gates.open(b"0")
    for value in (b"0", b"1", b"2", b"3"):
        await bench.send(value, key=value.decode())
    async with bench.running(handler, concurrency=2, **MINUTE):
        await bench.until(lambda: gates.ended == [b"0"])
        await bench.kafka.advance(ms=INTERVAL_MS - 1_000)
        assert bench.committed() == 0
        await bench.kafka.advance(ms=2_000)
        assert bench.committed() == 1
        gates.open_all()


async def test_while_a_record_waits_behind_another_one_of_its_partition_the_interval_counts(
    bench: Bench, gates: Gates, handler: Handler
) -> None:
    async with bench.running(handler, **MINUTE):
        await bench.send(b"0", partition=1)
        await bench.until(lambda: gates.running == {b"0"})
        await bench.send(b"1", b"2", partition=0)
        await bench.kafka.advance(ms=1_000)
        gates.open(b"0")
        await bench.until(lambda: gates.running == {b"1"})
        await bench.kafka.advance(ms=INTERVAL_MS - 5_000)
        assert bench.committed(1) == 0
        await bench.kafka.advance(ms=5_000)
        assert bench.committed(1) == 1
        gates.open_all()


async def test_a_record_is_committed_although_the_next_one_of_its_lane_runs_long(
    bench: Bench, gates: Gates, handler: Handler
) -> None:
    gates.open(b"0")
    async with bench.running(handler, **MINUTE):
        await bench.send(b"0", b"1")
        await bench.until(lambda: gates.running == {b"1"})
        await bench.kafka.advance(ms=EARLY_MS + 1_000)
        assert bench.committed() == 1
        gates.open_all()


async def test_what_is_no_record_is_committed_though_none_ends(bench: Bench, gates: Gates, handler: Handler) -> None:
    gates.open_all()
    async with bench.running(handler, **MINUTE):
        await bench.send(b"0")
        await bench.kafka.settle()
        async with bench.kafka.transaction() as transaction:
            await transaction.send(TOPIC, b"x", "E", partition=0)
            transaction.abort()
        await bench.kafka.advance(ms=INTERVAL_MS + EARLY_MS + 1_000)
        assert bench.committed() == 3
