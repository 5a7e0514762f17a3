"""A partition that is revoked: who may still run its records, and until when."""

from __future__ import annotations

import asyncio
import threading
from contextlib import AsyncExitStack
from typing import Any

import pytest

from evkafka import EVKafkaApp, Handler, Request
from evkafka.records import TopicPartition
from evkafka.runtime.clock import SystemClock, sleep
from evkafka.runtime.partition import Partition
from evkafka.runtime.scheduler import LaneScheduler
from evkafka.telemetry import RecordsProcessed, ResultDropped
from tests.support.engine import GROUP, TOPIC, Bench, Gates
from tests.support.executors import OneRecord


def member(handler: Handler, **keys: Any) -> EVKafkaApp:
    app = EVKafkaApp()
    config: Any = {
        "topics": [TOPIC],
        "group_id": GROUP,
        "auto_offset_reset": "earliest",
        "auto_commit_interval_ms": 100,
        "max_endpoint_exec_time_ms": 3_600_000,
        **keys,
    }
    app.add_consumer(config, handler, "it")
    return app


class TestAnAttemptThatIsCut:
    async def test_ends_before_another_member_gets_its_record(self, bench: Bench) -> None:
        """An endpoint's clean-up has one second: until then no other member has the record."""
        at_work: dict[int, int] = {}
        begun: list[int] = []
        both_at_once: list[tuple[int, int]] = []

        def handler_of(number: int) -> Handler:
            handler = Handler()

            @handler.event("E")
            async def on_e(value: bytes, request: Request) -> None:
                if request.partition in at_work:
                    both_at_once.append((at_work[request.partition], number))
                at_work[request.partition] = number
                begun.append(number)
                try:
                    await asyncio.Event().wait()
                finally:
                    await sleep(bench.kafka.clock, 0.5)
                    del at_work[request.partition]

            return handler

        quick: Any = {"revoke_drain_timeout_ms": 100, "drain_timeout_ms": 100}
        await bench.send(b"0", partition=0)
        await bench.send(b"1", partition=1)
        async with AsyncExitStack() as members:
            await members.enter_async_context(bench.kafka.running(member(handler_of(1), concurrency=2, **quick)))
            await bench.until(lambda: begun == [1, 1])
            await members.enter_async_context(bench.kafka.running(member(handler_of(2), **quick), joined=False))
            await bench.until(lambda: 2 in begun)
        assert both_at_once == []


class TestAnAttemptThatSucceedsWhenItsPartitionHasGone:
    async def test_is_reported_and_not_counted(self, bench: Bench) -> None:
        first, second = list[int](), list[int]()
        ended, dropped = list[RecordsProcessed](), list[ResultDropped]()
        go_on = threading.Event()
        handler, other = Handler(), Handler()

        @handler.event("E")
        def on_e(value: bytes, request: Request) -> None:
            first.append(request.partition)
            go_on.wait(60)

        @other.event("E")
        async def on_other(value: bytes, request: Request) -> None:
            second.append(request.partition)

        quick: Any = {"revoke_drain_timeout_ms": 100, "drain_timeout_ms": 100}
        await bench.send(b"0", partition=0)
        await bench.send(b"1", partition=1)
        app = member(handler, concurrency=2, ordering="partition", **quick)
        app.telemetry.listen(RecordsProcessed, ended.append)
        app.telemetry.listen(ResultDropped, dropped.append)
        async with AsyncExitStack() as members:
            await members.enter_async_context(bench.kafka.running(app))
            await bench.until(lambda: sorted(first) == [0, 1])
            await members.enter_async_context(bench.kafka.running(member(other, **quick), joined=False))
            await bench.until(lambda: len(second) == 1)
            go_on.set()
            await bench.until(lambda: bench.committed(1 - second[0]) == 1)
            await bench.until(lambda: len(ended) == 1 and len(dropped) == 2)  # two threads end in any order
        assert sorted(event.partition for event in dropped) == [0, 1]
        assert [len(durations_s) for event in ended for durations_s in event.durations_s.values()] == [1]


class TestAnAttemptThatFailsWhenItsPartitionHasGone:
    @pytest.mark.parametrize("batch", [False, True])
    async def test_is_not_retried_here(self, bench: Bench, batch: bool) -> None:
        """A thread cannot be cancelled, and its record is another member's by the time it fails."""
        first, second = list[tuple[int, int]](), list[int]()
        dropped = list[ResultDropped]()
        go_on = threading.Event()
        handler, other = Handler(), Handler()

        def fail(request: Request) -> None:
            first.append((request.partition, request.attempt))
            go_on.wait(60)
            raise ValueError("by the test")

        if batch:

            @handler.event("E", batch=True, max_wait_ms=0)
            def on_es(values: list[bytes], requests: list[Request]) -> None:
                fail(requests[0])
        else:

            @handler.event("E")
            def on_e(value: bytes, request: Request) -> None:
                fail(request)

        @other.event("E")
        async def on_other(value: bytes, request: Request) -> None:
            second.append(request.offset)

        quick: Any = {"revoke_drain_timeout_ms": 100, "drain_timeout_ms": 100, "on_error": {"backoff_ms": 1}}
        await bench.send(b"0", partition=0)
        await bench.send(b"1", partition=1)
        app = member(handler, concurrency=2, ordering="partition", **quick)
        app.telemetry.listen(ResultDropped, dropped.append)
        async with AsyncExitStack() as members:
            await members.enter_async_context(bench.kafka.running(app))
            await bench.until(lambda: sorted(first) == [(0, 1), (1, 1)])
            await members.enter_async_context(bench.kafka.running(member(other, **quick), joined=False))
            await bench.until(lambda: len(second) == 1)
            left = app.service.consumers["it"]  # type: ignore[union-attr]
            assert len(left.assigned_partitions) == 1
            mine = next(iter(left.assigned_partitions)).partition
            go_on.set()
            await bench.until(lambda: (mine, 3) in first)
            assert [attempt for partition, attempt in first if partition != mine] == [1]
            assert sorted(event.partition for event in dropped) == [0, 1], "both were revoked, and one came back"
            await bench.until(lambda: bench.committed(1 - mine) == 1)


class TestAnAttemptThatFailsDuringTheDrain:
    async def test_is_the_last_one_here_and_counts_for_the_next_owner(self, bench: Bench) -> None:
        """Another attempt would make the drain longer, and with it the rebalance of the whole group."""
        attempts = list[tuple[str, int, int]]()
        released = asyncio.Event()
        handler, other = Handler(), Handler()

        @handler.event("E")
        async def on_e(value: bytes, request: Request) -> None:
            attempts.append(("first", request.partition, request.attempt))
            await released.wait()
            raise ValueError("by the test")

        @other.event("E")
        async def on_other(value: bytes, request: Request) -> None:
            attempts.append(("other", request.partition, request.attempt))

        keys: Any = {"revoke_drain_timeout_ms": 20_000, "drain_timeout_ms": 100, "on_error": {"backoff_ms": 1}}
        await bench.send(b"0", partition=0)
        await bench.send(b"1", partition=1)
        app = member(handler, concurrency=2, ordering="partition", **keys)
        async with AsyncExitStack() as members:
            await members.enter_async_context(bench.kafka.running(app))
            await bench.until(lambda: len(attempts) == 2)
            left = app.service.consumers["it"]  # type: ignore[union-attr]
            await members.enter_async_context(bench.kafka.running(member(other, **keys), joined=False))
            await bench.until(lambda: any(one.is_being_revoked for one in left._assignment.partitions.values()))
            assert sorted(attempts) == [("first", 0, 1), ("first", 1, 1)]
            before_ms = bench.kafka.clock.now() * 1000
            released.set()
            await bench.until(lambda: any(who == "other" for who, *_ in attempts))
            assert bench.kafka.clock.now() * 1000 - before_ms < 10_000, "the drain ends with the attempt"
        [(_, moved, attempt)] = [one for one in attempts if one[0] == "other"]
        assert attempt == 2
        assert [one for one in attempts if one[:2] == ("first", moved)] == [("first", moved, 1)]


class TestRecordsThatHaveFailedInSeveralLanes:
    async def test_continue_with_their_own_counts_in_the_next_owners_only_lane(self, bench: Bench) -> None:
        """A deployment lowers the concurrency: what were lanes of their own are now in one."""
        attempts: list[tuple[int, int]] = []
        handler = Handler()

        @handler.event("E")
        async def on_e(value: bytes, request: Request) -> None:
            attempts.append((request.offset, request.attempt))
            raise ValueError

        policy = {"backoff_ms": 4000, "backoff_multiplier": 1, "jitter": 0, "max_attempts": 4, "then": "skip"}
        for key in "abc":
            await bench.send(b"v", key=key)
        async with bench.kafka.running(member(handler, concurrency=8, on_error=policy)):
            await bench.kafka.advance(ms=6000)
        async with bench.kafka.running(member(handler, on_error=policy)):
            await bench.kafka.settle()
        assert sorted(attempts) == [(offset, attempt) for offset in range(3) for attempt in (1, 2, 3, 4)]


class TestAPartitionThatIsLostAndAssignedAgain:
    async def test_begins_with_a_new_ledger(self, bench: Bench, gates: Gates, handler: Handler) -> None:
        await bench.send(b"0", b"1")
        async with bench.running(handler):
            await bench.until(lambda: gates.running == {b"0"})
            assignment, tp = bench.consumer._assignment, TopicPartition(TOPIC, 0)
            old = assignment.partitions[tp]
            listener = bench.consumer._rebalance_listener
            await listener.on_lost([tp])
            await listener.on_assigned([tp])
            assert old.ledger.sealed
            assert assignment.partitions[tp] is not old
            assert not old.ledger.finish(0)


class TestAStop:
    async def test_waits_for_a_poll_that_is_being_handed_over(self, bench: Bench) -> None:
        """At most once: the record's commit is pending, so it is not read again, and must run."""
        handler, ran = Handler(), list[bytes]()

        @handler.event("E")
        async def on_e(value: bytes) -> None:
            ran.append(value)

        keys: Any = {"auto_commit_mode": "pre-commit", "auto_commit_interval_ms": 0}
        with bench.kafka.latency(commit_ms=(500, 500)):
            async with bench.running(handler, **keys):
                await bench.until(lambda: bench.consumer.status().membership == "steady")
                await bench.kafka.advance(ms=2_000)
                await bench.send(b"0", b"1", b"2")
                await bench.until(lambda: bench.consumer._assignment.committing_polled.locked())
                bench.consumer.stop()
                await bench.kafka.advance(ms=5_000)
        assert bench.committed() == len(ran) == 3


class TestALaneThatWaitsForAStraggler:
    async def test_runs_records_that_arrive_after_it_was_cleared(self) -> None:
        """An attempt of the earlier assignment runs; the records that waited for it are cleared; then more arrive."""
        lanes, tp = LaneScheduler(SystemClock()), TopicPartition("t", 0)
        before = Partition(tp, ordering="key")
        lanes.add_records(before, [OneRecord(0, key=b"k")], 1)
        straggler = lanes.take_lane()
        assert straggler is not None
        straggler.queue.popleft()
        lanes.end_partition(before)
        after = Partition(tp, ordering="key")
        lanes.add_records(after, [OneRecord(0, key=b"k")], 1)
        assert lanes.take_lane() is None
        lanes.drop_unbegun_records(after)
        lanes.release_lane(straggler)
        lanes.add_records(after, [OneRecord(1, key=b"k")], 2)
        lane = lanes.take_lane()
        assert lane is not None
        assert [record.offset for record in lane.queue] == [1]
