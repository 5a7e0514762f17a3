"""A rebalance that moves some partitions of a consumer: what does not move is not touched."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any

from evkafka import Handler, Request
from evkafka.exceptions import BrokerUnavailable
from evkafka.records import TopicPartition
from evkafka.runtime.commit_metadata import CommitMetadata, OwnerMark, Ownership, group_and_partition_text_for_checksum
from evkafka.telemetry import OffsetsCommitted, PartitionsAssigned, PartitionsRevoked
from tests.support.engine import GROUP, TOPIC, Bench, Gates

KEPT, MOVED = TopicPartition(TOPIC, 0), TopicPartition(TOPIC, 1)
PARALLEL: Any = {"concurrency": 4, "ordering": "partition"}


def revoke(bench: Bench, *partitions: TopicPartition) -> asyncio.Future[None]:
    """Begin to revoke these partitions, as the source does."""
    return asyncio.ensure_future(bench.consumer._rebalance_listener.on_revoked(partitions))


async def one_of_each(bench: Bench, gates: Gates) -> None:
    """Let a record of each partition be in flight."""
    await bench.send(b"kept", partition=0)
    await bench.send(b"moved", partition=1)
    await bench.until(lambda: gates.running == {b"kept", b"moved"})


class TestARevokeOfOnePartition:
    async def test_leaves_the_attempt_and_the_ledger_of_the_other(
        self, bench: Bench, gates: Gates, handler: Handler
    ) -> None:
        async with bench.running(handler, **PARALLEL):
            await one_of_each(bench, gates)
            before = bench.consumer._assignment.partitions[KEPT]
            revoking = revoke(bench, MOVED)
            gates.open(b"moved")
            await bench.until(revoking.done)
            assert bench.consumer.assigned_partitions == {KEPT}
            assert bench.consumer._assignment.partitions[KEPT] is before
            assert gates.running == {b"kept"}
            assert (bench.committed(0), bench.committed(1)) == (0, 1)
            gates.open(b"kept")
            await bench.until(lambda: bench.committed(0) == 1)
        assert sorted(gates.begun) == [b"kept", b"moved"]

    async def test_that_drains_lets_the_other_be_read_and_handled_and_committed(
        self, bench: Bench, gates: Gates, handler: Handler
    ) -> None:
        async with bench.running(handler, **PARALLEL):
            await one_of_each(bench, gates)
            revoking = revoke(bench, MOVED)
            gates.open(b"kept", b"later")
            await bench.send(b"later", partition=0)
            await bench.until(lambda: bench.committed(0) == 2, ms=5_000)
            assert not revoking.done()
            gates.open(b"moved")
            await revoking

    async def test_keeps_the_wait_of_the_other_for_its_next_attempt(self, bench: Bench) -> None:
        handler, attempts = Handler(), list[int]()

        @handler.event("E")
        async def on_e(value: bytes, request: Request) -> None:
            attempts.append(request.attempt)
            if request.attempt < 3:
                raise ValueError("by the test")

        async with bench.running(handler, on_error={"backoff_ms": 1_000, "jitter": 0}):
            await bench.send(b"0", partition=0)
            await bench.until(lambda: attempts == [1])
            await revoke(bench, MOVED)
            await bench.until(lambda: bench.committed(0) == 1)
        assert attempts == [1, 2, 3]

    async def test_keeps_the_other_paused(self, bench: Bench, gates: Gates, handler: Handler) -> None:
        async with bench.running(handler, **PARALLEL):
            bench.consumer.pause_partition(KEPT)
            await bench.send(b"kept", partition=0)
            await revoke(bench, MOVED)
            await bench.kafka.advance(ms=5_000)
            assert gates.begun == []
            bench.consumer.resume_partition(KEPT)
            gates.open_all()
            await bench.until(lambda: bench.committed(0) == 1)

    async def test_lets_the_other_gather_its_batch(self, bench: Bench) -> None:
        handler, batches = Handler(), list[list[bytes]]()

        @handler.event("E", batch=True, max_records=3, max_wait_ms=60_000)
        async def on_es(values: list[bytes]) -> None:
            batches.append(values)

        async with bench.running(handler, concurrency=4, ordering="unordered"):
            for partition in (0, 1):
                await bench.send(b"%d first" % partition, b"%d second" % partition, partition=partition)
            await bench.until(lambda: bench.consumer.pending == 4)
            await revoke(bench, MOVED)
            await bench.send(b"0 third", partition=0)
            await bench.until(lambda: bench.committed(0) == 3, ms=10_000)
            assert bench.committed(1) in (0, None)
        assert batches == [[b"0 first", b"0 second", b"0 third"]]

    async def test_commits_its_own_offsets_alone_after_a_commit_that_is_pending(
        self, bench: Bench, gates: Gates, handler: Handler
    ) -> None:
        commits = list[dict[TopicPartition, int]]()
        async with bench.running(handler, **PARALLEL, auto_commit_interval_ms=60_000):
            await bench.send(b"0", b"2", partition=0)
            await bench.send(b"1", b"3", partition=1)
            gates.open(b"0", b"1")
            await bench.until(lambda: gates.running == {b"2", b"3"})
            bench.app.telemetry.listen(OffsetsCommitted, lambda event: commits.append(dict(event.offsets)))
            with bench.kafka.latency(commit_ms=400):
                bench.consumer._assignment.commit_timer.due.set()
                await bench.kafka.advance(ms=100)
                gates.open(b"2", b"3")
                await bench.until(lambda: not gates.running)
                revoking = revoke(bench, MOVED)
                await bench.until(revoking.done)
            assert commits == [{KEPT: 1, MOVED: 1}, {MOVED: 2}]
        assert commits[2:] == [{KEPT: 2}]


class TestARevokeAfterASeek:
    async def test_waits_for_the_attempt_that_began_before_the_seek(
        self, bench: Bench, gates: Gates, handler: Handler
    ) -> None:
        """Its result does not count, but the next owner may not begin a record of its key before it has ended."""
        async with bench.running(handler, **PARALLEL):
            await one_of_each(bench, gates)
            bench.consumer.seek(MOVED, 0)
            revoking = revoke(bench, MOVED)
            await bench.kafka.advance(ms=1_000)
            assert not revoking.done()
            gates.open(b"moved")
            await bench.until(revoking.done)
            gates.open_all()

    async def test_cancels_it_at_the_end_of_the_drain_time(self, bench: Bench, gates: Gates, handler: Handler) -> None:
        async with bench.running(handler, **PARALLEL, revoke_drain_timeout_ms=500):
            await one_of_each(bench, gates)
            bench.consumer.seek(MOVED, 0)
            revoking = revoke(bench, MOVED)
            await bench.until(revoking.done, ms=1_000)
            assert [one.lane.partition.tp for one in bench.consumer.busy_executors if one.lane is not None] == [KEPT]
            gates.open_all()


class TestALostPartition:
    async def test_has_its_attempts_cancelled_at_once_and_nothing_committed(
        self, bench: Bench, gates: Gates, handler: Handler
    ) -> None:
        events = list[PartitionsRevoked]()
        bench.app.telemetry.listen(PartitionsRevoked, events.append)
        cancelled: list[bytes] = []

        @handler.event("C")
        async def on_c(value: bytes) -> None:
            try:
                await asyncio.Event().wait()
            finally:
                cancelled.append(value)

        async with bench.running(handler, concurrency=4, auto_commit_interval_ms=60_000):
            await bench.send(b"kept", partition=0)
            await bench.send(b"done", partition=1)
            gates.open(b"done")
            await bench.send(b"moved", partition=1, event_type="C")
            await bench.until(lambda: gates.ended == [b"done"] and len(bench.consumer.busy_executors) == 2)
            before = bench.consumer._assignment.partitions[KEPT]
            losing = asyncio.ensure_future(bench.consumer._rebalance_listener.on_lost([MOVED]))
            await asyncio.sleep(0)
            assert losing.done()
            [event] = events
            assert (event.partitions, event.abandoned, event.lost) == ((MOVED,), 1, True)
            await bench.until(lambda: cancelled == [b"moved"], ms=10)
            assert bench.consumer._assignment.partitions == {KEPT: before}
            gates.open(b"kept")
            await bench.until(lambda: gates.ended == [b"done", b"kept"])
        assert (bench.committed(0), bench.committed(1)) == (1, 0)

    async def test_ends_the_drain_of_its_revoke_without_a_commit(
        self, bench: Bench, gates: Gates, handler: Handler
    ) -> None:
        events = list[PartitionsRevoked]()
        bench.app.telemetry.listen(PartitionsRevoked, events.append)
        async with bench.running(handler, **PARALLEL):
            await one_of_each(bench, gates)
            revoking = revoke(bench, MOVED)
            await bench.kafka.advance(ms=100)
            losing = asyncio.ensure_future(bench.consumer._rebalance_listener.on_lost([MOVED]))
            await bench.until(revoking.done, ms=1_000)
            assert losing.done()
            assert [(event.partitions, event.lost) for event in events] == [((MOVED,), True)]
            gates.open_all()
        assert (bench.committed(0), bench.committed(1)) == (1, 0)


class TestAnAddedPartition:
    async def test_leaves_what_the_consumer_has(self, bench: Bench, gates: Gates, handler: Handler) -> None:
        events = list[PartitionsAssigned]()
        async with bench.running(handler, **PARALLEL):
            await one_of_each(bench, gates)
            assignment, listener = bench.consumer._assignment, bench.consumer._rebalance_listener
            before = assignment.partitions[KEPT]
            await listener.on_lost([MOVED])
            bench.app.telemetry.listen(PartitionsAssigned, events.append)
            await listener.on_assigned([MOVED])
            assert assignment.partitions[KEPT] is before
            assert [(event.partitions, event.total) for event in events] == [((MOVED,), 2)]
            assert b"kept" in gates.running
            gates.open_all()
            await bench.until(lambda: bench.committed(0) == 1)


class TestAStopDuringARevoke:
    async def test_commits_both_and_reports_each_partition_once(
        self, bench: Bench, gates: Gates, handler: Handler
    ) -> None:
        events = list[PartitionsRevoked]()
        bench.app.telemetry.listen(PartitionsRevoked, events.append)
        ending: list[Awaitable[None]] = []
        async with bench.running(handler, **PARALLEL):
            await one_of_each(bench, gates)
            ending.append(revoke(bench, MOVED))
            await bench.kafka.advance(ms=100)
            bench.consumer.stop()
            gates.open_all()
        await asyncio.gather(*ending)
        assert (bench.committed(0), bench.committed(1)) == (1, 1)
        assert sorted(tp for event in events for tp in event.partitions) == [KEPT, MOVED]


class TestARestartDuringARevoke:
    async def test_begins_with_new_ledgers_and_loses_nothing(
        self, bench: Bench, gates: Gates, handler: Handler
    ) -> None:
        async with bench.running(handler, **PARALLEL, revoke_drain_timeout_ms=500):
            await one_of_each(bench, gates)
            assignment = bench.consumer._assignment
            before = dict(assignment.partitions)
            revoking = revoke(bench, MOVED)
            bench.kafka.fail_polls(BrokerUnavailable("by the test"))
            await bench.until(lambda: all(partition.ledger.sealed for partition in before.values()))
            await revoking
            gates.open_all()
            await bench.until(lambda: (bench.committed(0), bench.committed(1)) == (1, 1))
            assert not set(before.values()) & set(assignment.partitions.values())


class TestPartitionsThatAreAssignedDuringAStop:
    async def test_are_given_up_with_the_source(self, bench: Bench, gates: Gates, handler: Handler) -> None:
        """The group may assign partitions between the stop's last commit and the end of the membership."""
        async with bench.running(handler):
            await bench.until(lambda: len(bench.consumer.assigned_partitions) == 2)
            assignment, listener = bench.consumer._assignment, bench.consumer._rebalance_listener
            assigning: list[Awaitable[None]] = []

            def assign_again(event: PartitionsRevoked) -> None:
                assigning.append(asyncio.ensure_future(listener.on_assigned([KEPT])))

            bench.app.telemetry.listen(PartitionsRevoked, assign_again)
        assert len(assigning) == 1
        assert assignment.partitions == {}

    async def test_begin_no_records_and_have_no_mark(self, bench: Bench, gates: Gates, handler: Handler) -> None:
        """The drain has begun without them, and would not end them: the next owner would take the mark for a death."""
        async with bench.running(handler, **PARALLEL):
            await bench.send(b"kept", partition=0)
            await bench.until(lambda: gates.running == {b"kept"})
            await revoke(bench, MOVED)
            bench.consumer.stop()
            await bench.until(lambda: bench.consumer._assignment.partitions[KEPT].is_being_revoked)
            await bench.consumer._rebalance_listener.on_assigned([MOVED])
            await bench.send(b"moved", partition=1)
            await bench.kafka.advance(ms=1_000)
            gates.open(b"kept")
        assert gates.begun == [b"kept"]
        assert (bench.committed(0), bench.committed(1)) == (1, 0)
        assert bench.kafka.committed_metadata(GROUP, TOPIC, 1) == ""


class TestAPartitionThatIsLostWhileItsRecordsAreHandledOneAtATime:
    async def test_is_read_when_it_is_assigned_again(self, bench: Bench, gates: Gates, handler: Handler) -> None:
        """An earlier owner has died; all its records have run alone, and more are waited for when it is lost."""
        mark = OwnerMark(Ownership.BEGUN, deaths=1, owner="another")
        text = CommitMetadata(0, bench.kafka.topics.topic_id(TOPIC), mark=mark).as_text(
            3_500, group_and_partition_text_for_checksum(GROUP, KEPT)
        )
        bench.kafka.commit(GROUP, TOPIC, KEPT.partition, offset=0, metadata=text)
        gates.open_all()
        await bench.send(b"alone", partition=0)
        async with bench.running(handler):
            await bench.until(lambda: gates.ended == [b"alone"] and bench.committed(0) == 1, ms=900)
            listener, assignment = bench.consumer._rebalance_listener, bench.consumer._assignment
            assert assignment.partitions[KEPT].is_held
            await listener.on_lost([KEPT])
            await listener.on_assigned([KEPT])
            await bench.kafka.advance(ms=3_000)
            await bench.send(b"later", partition=0)
            await bench.until(lambda: b"later" in gates.ended, ms=5_000)
