"""An attempt that is past its time limit is cancelled and retried; any other is not."""

from __future__ import annotations

from typing import Any

from evkafka import Handler
from tests.support.engine import Bench, Gates

AGAIN: Any = {"backoff_ms": 100, "max_backoff_ms": 100, "jitter": 0}


async def test_a_record_whose_attempt_is_cancelled_is_retried_and_then_committed(
    bench: Bench, gates: Gates, handler: Handler
) -> None:
    await bench.send(b"0")
    async with bench.running(handler, max_endpoint_exec_time_ms=1_000, on_error=AGAIN):
        await bench.until(lambda: gates.begun == [b"0", b"0"], ms=5_000)
        assert gates.ended == []
        assert bench.consumer.status().rebuilds == 0
        gates.open_all()
        await bench.kafka.settle()
    assert gates.ended == [b"0"]
    assert bench.committed() == 1


async def test_an_attempt_within_its_limit_is_not_cancelled(bench: Bench, gates: Gates, handler: Handler) -> None:
    await bench.send(b"0")
    async with bench.running(handler, max_endpoint_exec_time_ms=10_000, on_error=AGAIN):
        await bench.until(lambda: gates.begun)
        await bench.kafka.advance(ms=9_000)
        assert gates.begun == [b"0"]
        gates.open_all()
        await bench.kafka.settle()
    assert gates.ended == [b"0"]
