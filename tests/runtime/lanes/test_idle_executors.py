"""Executors that wait for a lane: when they are woken, and that a cancellation does not end them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from evkafka import Handler
from evkafka.records import TopicPartition
from evkafka.runtime.clock import SystemClock
from evkafka.runtime.partition import Partition
from evkafka.runtime.scheduler import LaneScheduler
from tests.support.engine import Bench, Gates
from tests.support.executors import OneRecord


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


class Waiting:
    """Four executors that wait, and three lanes that become ready."""

    def __init__(self) -> None:
        self.lanes = LaneScheduler(SystemClock())
        self.executors = [asyncio.ensure_future(self.lanes.wait_for_lane()) for _ in range(4)]

    async def make_ready(self) -> None:
        await self.rounds(1)
        partition = Partition(TopicPartition("t", 0), ordering="unordered")
        self.lanes.add_records(partition, [OneRecord(offset) for offset in range(3)], 3)

    async def rounds(self, count: int) -> None:
        for _ in range(count):
            await asyncio.sleep(0)

    def woken(self) -> list[bool]:
        return [executor.done() for executor in self.executors]


@pytest.fixture
async def waiting() -> AsyncIterator[Waiting]:
    waiting = Waiting()
    yield waiting
    for executor in waiting.executors:
        executor.cancel()


class TestWaking:
    async def test_one_is_woken_if_it_takes_all_lanes_at_once(self, waiting: Waiting) -> None:
        await waiting.make_ready()
        while waiting.lanes.take():
            pass
        await waiting.rounds(10)
        assert waiting.woken() == [True, False, False, False]
        await waiting.make_ready()
        await waiting.rounds(10)
        assert waiting.woken() == [True] * 4

    async def test_each_wakes_two_more_while_lanes_are_ready(self, waiting: Waiting) -> None:
        await waiting.make_ready()
        await asyncio.gather(*waiting.executors)

    async def test_one_that_is_cancelled_when_it_was_woken_wakes_others(self, waiting: Waiting) -> None:
        await waiting.make_ready()
        waiting.executors[0].cancel()
        await asyncio.gather(*waiting.executors[1:])
        assert waiting.executors[0].cancelled()
