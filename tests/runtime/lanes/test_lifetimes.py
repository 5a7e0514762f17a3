"""What exists for a record, and for how long: no task, a lane while it has records, one consumer for many topics."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from evkafka import Handler, Request
from evkafka.records import TopicPartition
from evkafka.runtime.clock import SystemClock
from evkafka.runtime.partition import Partition
from evkafka.runtime.scheduler import LaneScheduler
from evkafka.service.dispatch import build_dispatch
from tests.support.engine import TOPIC, Bench, Gates
from tests.support.executors import OneRecord, executors, fail


class TestATask:
    @pytest.mark.parametrize("ordering", ["key", "partition", "unordered"])
    async def test_is_created_for_no_record_and_no_lane(self, ordering: str) -> None:
        lanes = LaneScheduler(SystemClock())
        partition = Partition(TopicPartition("t", 0), ordering=ordering)
        handler, handled, through = Handler(), list[int](), asyncio.Event()

        @handler.default()
        async def on_any(value: bytes, request: Request) -> None:
            await asyncio.sleep(0)
            handled.append(request.offset)
            if len(handled) == 300:
                through.set()

        at_work = executors(4, lanes, build_dispatch(handler, None))
        for one in at_work:
            one.start("executor", fail)
        made: list[str] = []

        def factory(loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, Any], **more: Any) -> Any:
            made.append(coroutine.__qualname__)
            return asyncio.Task(coroutine, loop=loop, **more)

        asyncio.get_running_loop().set_task_factory(factory)
        lanes.add_records(partition, [OneRecord(offset, key=b"%d" % (offset % 50)) for offset in range(300)], 300)
        await through.wait()
        asyncio.get_running_loop().set_task_factory(None)
        for one in at_work:
            one.kill()
        assert sorted(handled) == list(range(300))
        assert made == []


class TestALane:
    async def test_exists_while_its_key_has_records(self, bench: Bench, gates: Gates, handler: Handler) -> None:
        for number in range(30):
            await bench.send(b"%d" % number, key=f"k{number % 10}")
        await bench.send(b"free")
        async with bench.running(handler, concurrency=4):
            await bench.until(lambda: len(gates.running) == 4)
            partition = bench.consumer._assignment.partitions[TopicPartition(TOPIC, 0)]
            assert len(list(partition.lanes())) == 11
            gates.open(*(b"%d" % number for number in range(30) if number % 10))
            gates.open(b"free")
            await bench.until(lambda: len(gates.ended) == 28)
            assert [lane.key for lane in partition.lanes()] == [(TopicPartition(TOPIC, 0), b"k0")]
            gates.open_all()
            await bench.kafka.settle()
            assert list(partition.lanes()) == []

    async def test_at_concurrency_one_is_one_for_each_assigned_partition(
        self, bench: Bench, gates: Gates, handler: Handler
    ) -> None:
        for number in range(10):
            await bench.send(b"%d" % number, key=f"k{number}")
        async with bench.running(handler):
            await bench.until(lambda: gates.running)
            partition = bench.consumer._assignment.partitions[TopicPartition(TOPIC, 0)]
            [lane] = partition.lanes()
            gates.open_all()
            await bench.kafka.settle()
            assert list(partition.lanes()) == [lane]


class TestOneConsumer:
    @pytest.mark.parametrize("mode", ["post-commit", "pre-commit"])
    @pytest.mark.parametrize("ordering", ["key", "partition", "unordered"])
    async def test_reads_any_number_of_topics(
        self, bench: Bench, gates: Gates, handler: Handler, ordering: str, mode: str
    ) -> None:
        topics = ["orders", "returns", "refunds"]
        for topic in topics:
            for number in range(2):
                await bench.kafka.send(topic, f"{topic} {number}".encode(), "E", key="one", partition=0)
        keys = {"topics": topics, "concurrency": 8, "ordering": ordering, "auto_commit_mode": mode}
        async with bench.running(handler, **keys):
            firsts = {f"{topic} 0".encode() for topic in topics}
            await bench.until(lambda: gates.running >= firsts)
            if ordering != "unordered":  # the same key in another topic is another lane
                assert gates.running == firsts
            [consumer] = bench.app.status().consumers
            assert {partition.topic for partition in consumer.partitions} == set(topics)
            gates.open_all()
            await bench.kafka.settle()
        for topic in topics:
            bench.kafka.assert_committed(group="g", topic=topic, partition=0, offset=2)
            assert [value for value in gates.begun if value.startswith(topic.encode())] == [
                f"{topic} {number}".encode() for number in range(2)
            ]
