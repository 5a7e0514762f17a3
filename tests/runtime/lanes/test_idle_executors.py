"""An executor that is cancelled between two attempts continues, and its consumer is not restarted."""

from __future__ import annotations

import asyncio

from evkafka import Handler
from tests.support.engine import Bench, Gates


async def test_an_idle_executor_that_is_cancelled_continues(bench: Bench, gates: Gates, handler: Handler) -> None:
    gates.open_all()
    async with bench.running(handler):
        await bench.kafka.settle()
        [executor] = [task for task in asyncio.all_tasks() if task.get_name() == "evkafka-it-executor-0"]
        executor.cancel()
        await bench.send(b"0")
        await bench.kafka.settle()
        assert bench.consumer.status().rebuilds == 0
    assert gates.ended == [b"0"]
