"""Time slices: other tasks of the loop (heartbeats!) run although endpoints never await. Lanes
that wait for an executor: the one with the oldest record comes first, and nobody is kept waiting for ever.
"""

from __future__ import annotations

import asyncio
import time

from evkafka import Handler, Request, Retry
from evkafka.records import TopicPartition
from evkafka.runtime.clock import SystemClock
from evkafka.runtime.partition import Partition
from evkafka.runtime.scheduler import LaneScheduler
from evkafka.service.dispatch import build_dispatch
from tests.support.executors import OneRecord, executors, fail

CPU_S = 0.004


def burn_cpu(seconds: float) -> None:
    until_s = time.thread_time() + seconds
    while time.thread_time() < until_s:
        pass


class TestTheLoop:
    async def test_makes_rounds_between_short_lanes_of_many_executors_that_burn_cpu(self) -> None:
        lanes = LaneScheduler(SystemClock())
        partition = Partition(TopicPartition("t", 0), ordering="key")
        handler, handled = Handler(), list[int]()

        @handler.default()
        async def burn(value: bytes, request: Request) -> None:
            burn_cpu(CPU_S)
            handled.append(request.offset)

        at_work = executors(50, lanes, build_dispatch(handler, None))
        for one in at_work:
            one.start("executor", fail)
        await asyncio.sleep(0)
        lanes.add_records(partition, [OneRecord(offset) for offset in range(100)], 100)
        most = done = 0
        while len(handled) < 100:
            await asyncio.sleep(0)
            most, done = max(most, len(handled) - done), len(handled)
        for one in at_work:
            one.kill()
        assert most <= 6  # ten milliseconds' worth, and not fifty endpoints
        assert handled == sorted(handled)


def keyed(*keys: bytes) -> list[OneRecord]:
    """A record of each of these keys, in this order."""
    return [OneRecord(offset, key=key) for offset, key in enumerate(keys)]


class TestWhichLaneComesNext:
    """Of one partition. Records behind its oldest one are handled again after a crash, so that one comes first."""

    async def test_the_one_with_the_oldest_record(self) -> None:
        lanes = LaneScheduler(SystemClock())
        partition = Partition(TopicPartition("t", 0), ordering="key")
        lanes.add_records(partition, keyed(b"a", b"a", b"b", b"c"), 4)
        came = []
        while (lane := lanes.take_lane()) is not None:
            came.append(lane.queue.popleft().offset)
            lanes.release_lane(lane)
        assert came == [0, 1, 2, 3]

    async def test_a_lane_is_not_walked_to_its_end_while_older_records_wait(self) -> None:
        lanes = LaneScheduler(SystemClock())
        partition = Partition(TopicPartition("t", 0), ordering="key")
        handler, handled, through = Handler(), list[int](), asyncio.Event()

        @handler.default()
        async def slow(value: bytes, request: Request) -> None:
            burn_cpu(0.002)
            handled.append(request.offset)
            if len(handled) == 15:
                through.set()

        [one] = executors(1, lanes, build_dispatch(handler, None))
        one.start("executor", fail)
        lanes.add_records(partition, keyed(*[b"a", b"b", b"c"] * 5), 15)
        await through.wait()
        one.kill()
        assert handled == sorted(handled)

    async def test_keys_that_fail_repeatedly_at_once_starve_no_other(self) -> None:
        lanes = LaneScheduler(SystemClock())
        partition = Partition(TopicPartition("t", 0), ordering="key")
        handler, handled, attempts = Handler(), list[int](), list[int]()
        through = asyncio.Event()

        @handler.default()
        async def call(value: bytes, request: Request) -> object:
            attempts.append(request.offset)
            if len(handled) == 3 or len(attempts) == 2_000:
                through.set()
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            if request.offset < 8:
                return Retry(after_ms=0)
            handled.append(request.offset)
            return None

        at_work = executors(2, lanes, build_dispatch(handler, None))
        for one in at_work:
            one.start("executor", fail)
        lanes.add_records(
            partition, keyed(*[b"poison-%d" % number for number in range(8)], b"good", b"good", b"better"), 11
        )
        await through.wait()
        for one in at_work:
            one.kill()
        assert sorted(handled) == [8, 9, 10]
        assert {attempts.count(offset) for offset in range(8)} <= {attempts.count(0) + more for more in (-1, 0, 1)}
