"""Every open offset is in exactly one place, which is checked once a second."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from evkafka import Handler
from evkafka.records import TopicPartition
from evkafka.runtime.lost_or_doubled_records import OffsetMisplaced
from evkafka.runtime.partition import Partition
from tests.support.engine import Bench, Gates

KINDS = [
    pytest.param({}, id="in order"),
    pytest.param({"concurrency": 4}, id="by key"),
    pytest.param({"concurrency": 4, "ordering": "unordered"}, id="unordered"),
]


def partition_of(bench: Bench) -> Partition:
    return bench.consumer._assignment.partitions[TopicPartition("t", 0)]


def lose_one(partition: Partition) -> int:
    """Remove a record from its lane, as a defect of the engine would."""
    lane = next(lane for lane in partition.lanes() if lane.queue)
    return lane.queue.pop().offset


class TestARecordThatIsNowhere:
    @pytest.mark.parametrize("keys", KINDS)
    async def test_fails_the_consumer_which_reads_the_record_again(
        self, bench: Bench, gates: Gates, handler: Handler, keys: dict[str, Any], caplog: pytest.LogCaptureFixture
    ) -> None:
        await bench.send(*(b"%d" % number for number in range(9)), key="k")
        async with bench.running(handler, **keys):
            await bench.until(lambda: bool(gates.running))
            lost = lose_one(partition_of(bench))
            with pytest.raises(OffsetMisplaced, match=rf"in neither \[{lost}\]"):
                bench.consumer.check_no_record_lost_or_doubled()
            with caplog.at_level(logging.WARNING, "evkafka"):
                gates.open_all()
                await bench.until(lambda: bench.consumer.status().rebuilds == 1)
            assert f"in neither [{lost}]" in caplog.text
            await bench.until(lambda: bench.committed() == 9)
        assert set(gates.ended) == {b"%d" % number for number in range(9)}


class TestARecordInTwoPlaces:
    async def test_fails_the_consumer(self, bench: Bench, gates: Gates, handler: Handler) -> None:
        await bench.send(b"0", b"1", b"2")
        async with bench.running(handler):
            await bench.until(lambda: gates.running == {b"0"})
            [lane] = [lane for lane in partition_of(bench).lanes() if lane.queue]
            lane.queue.append(lane.queue[0])
            with pytest.raises(OffsetMisplaced, match=r"in both or twice \[1\]"):
                bench.consumer.check_no_record_lost_or_doubled()
            await bench.until(lambda: bench.consumer.status().rebuilds == 1)
            gates.open_all()
            await bench.until(lambda: bench.committed() == 3)


class TestNothingIsMisplaced:
    @pytest.mark.parametrize("keys", KINDS)
    async def test_while_records_run_wait_and_are_written_elsewhere(
        self, bench: Bench, gates: Gates, handler: Handler, keys: dict[str, Any]
    ) -> None:
        @handler.event("F")
        async def fails(value: bytes) -> None:
            raise ValueError("by the test")

        control = bench.app.consumer
        await bench.send(b"f", key="f", event_type="F", partition=1)
        await bench.send(*(b"%d" % number for number in range(9)), key="k")
        async with bench.running(handler, **keys):
            await bench.until(lambda: bool(gates.running) and bench.consumer.status().partitions[1].retrying == 1)
            bench.consumer.check_no_record_lost_or_doubled()
            control("it").pause("t", 0)
            bench.consumer.check_no_record_lost_or_doubled()
            await bench.kafka.advance(ms=2_000)
            control("it").resume("t", 0)
            bench.consumer.check_no_record_lost_or_doubled()
            gates.open_all()
            await bench.until(lambda: bench.committed() == 9)
            assert bench.consumer.status().rebuilds == 0


class TestATimerThatRaises:
    async def test_fails_the_consumer(
        self, bench: Bench, gates: Gates, handler: Handler, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A lane whose timer has failed would wait for ever."""
        fail_once = FailsOnce()
        handler.event("F")(fail_once.__call__)
        await bench.send(b"0", event_type="F")
        async with bench.running(handler):
            await bench.until(lambda: fail_once.calls == 1)
            honest = bench.consumer._assignment.scheduler.make_ready

            def raising(*_: object) -> None:
                monkeypatch.setattr(bench.consumer._assignment.scheduler, "make_ready", honest)
                raise KeyError("by the test")

            monkeypatch.setattr(bench.consumer._assignment.scheduler, "make_ready", raising)
            await bench.until(lambda: bench.consumer.status().rebuilds == 1)
            await bench.until(lambda: bench.committed() == 1)


class FailsOnce:
    def __init__(self) -> None:
        self.calls = 0

    async def __call__(self, value: bytes) -> None:
        self.calls += 1
        if self.calls == 1:
            raise ValueError("by the test")
