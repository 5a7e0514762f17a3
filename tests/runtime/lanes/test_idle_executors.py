"""Somebody cancels an executor between two attempts: it goes on, and its consumer is not rebuilt for that."""

from __future__ import annotations

import asyncio

from evkafka import Handler
from tests.support.engine import Bench, Gates


async def test_an_executor_that_is_cancelled_while_it_has_nothing_to_do_goes_on(
    bench: Bench, gates: Gates, handler: Handler
) -> None:
    gates.open_all()
    async with bench.running(handler):
        await bench.kafka.settle()
        [executor] = [task for task in asyncio.all_tasks() if task.get_name() == "evkafka-it-executor-0"]
        executor.cancel()
        await bench.send(b"0")
        await bench.kafka.settle()
        assert bench.consumer.status().rebuilds == 0
    assert gates.ended == [b"0"]
