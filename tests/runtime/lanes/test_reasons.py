"""Why a lane is blocked: one set of reasons, each with one owner (the table in `scheduler.py`)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import permutations
from typing import Any, get_args

import pytest

from evkafka import Handler
from evkafka.records import TopicPartition
from evkafka.runtime.admission import Admission
from evkafka.runtime.partition import Batch, BlockReason, Lane, LaneState, Partition
from evkafka.runtime.ports import BatchLimits
from evkafka.runtime.scheduler import LaneScheduler
from tests.support.engine import TOPIC, Bench, Gates
from tests.support.executors import OneRecord

REASONS: tuple[BlockReason, ...] = get_args(BlockReason)
PAIRS = list(permutations(REASONS, 2))
PLAIN, FEW, MANY = b"plain", b"few", b"many"


class Timers:
    """A clock whose timers are due when the test says so."""

    def __init__(self) -> None:
        self._calls: list[Callable[[], object]] = []

    def now(self) -> float:
        return 0.0

    def timestamp_ms(self) -> int:
        return 0

    def call_later(self, _delay_s: float, call: Callable[[], object]) -> Any:
        self._calls.append(call)
        return self

    def cancel(self) -> None:
        self._calls.clear()

    def fire(self) -> None:
        calls, self._calls = self._calls, []
        for call in calls:
            call()


@dataclass(eq=False)
class Bounded:
    """The part of a route that the admission uses."""

    concurrency: int | None = None
    batch: BatchLimits | None = None


@dataclass(eq=False)
class OneWrite:
    """The part of a write that the scheduler uses."""

    lane: Lane
    record: OneRecord
    has_failed: bool = False

    @property
    def partition(self) -> Partition:
        return self.lane.partition

    def abandon(self) -> None:
        self.lane.writes = ()


@dataclass
class Engine:
    """Lanes and their admission: the key b"few" has one record at a time, b"many" is handled in batches."""

    timers: Timers = field(default_factory=Timers)

    def __post_init__(self) -> None:
        few, many = Bounded(concurrency=1), Bounded(batch=BatchLimits(10, 1.0))
        limited_route: dict[bytes | None, Any] = {FEW: few, MANY: many}
        self.lanes = LaneScheduler(self.timers, Admission(lambda record: limited_route.get(record.key)))

    def partition(self, number: int = 0, **keys: Any) -> Partition:
        return Partition(TopicPartition("t", number), ordering="key", **keys)

    def take(self) -> Lane:
        lane = self.lanes.take_lane()
        assert lane is not None
        return lane

    def is_blocked(self, lane: Lane, *reasons: BlockReason) -> bool:
        """Whether the lane is blocked by these reasons, and no executor gets it."""
        return lane.reasons == set(reasons) and lane.state is LaneState.BLOCKED and self.lanes.take_lane() is None


@pytest.fixture
def engine() -> Engine:
    return Engine()


def records(key: bytes, *offsets: int) -> list[OneRecord]:
    return [OneRecord(offset, key=key) for offset in offsets]


def offsets(lane: Lane) -> list[int]:
    return [record.offset for record in lane.queue]


class TestAnyReason:
    @pytest.mark.parametrize("reason", REASONS)
    def test_keeps_a_lane_from_executors_until_it_is_removed(self, engine: Engine, reason: BlockReason) -> None:
        lane = engine.partition().new_lane_without_order()
        engine.lanes.block_lane(lane, reason)
        engine.lanes.append_records_to_lane(lane, records(PLAIN, 0))
        assert engine.is_blocked(lane, reason)
        engine.lanes.unblock_lane(lane, reason)
        assert engine.lanes.take_lane() is lane

    @pytest.mark.parametrize("reason", REASONS)
    def test_that_is_added_to_a_ready_lane_applies_at_once(self, engine: Engine, reason: BlockReason) -> None:
        lane = engine.partition().new_lane_without_order()
        engine.lanes.append_records_to_lane(lane, records(PLAIN, 0))
        engine.lanes.block_lane(lane, reason)
        assert engine.is_blocked(lane, reason)
        engine.lanes.unblock_lane(lane, reason)
        assert engine.lanes.take_lane() is lane
        assert engine.lanes.take_lane() is None

    @pytest.mark.parametrize("reason", REASONS)
    def test_that_is_added_to_a_running_lane_applies_once_it_is_released(
        self, engine: Engine, reason: BlockReason
    ) -> None:
        engine.lanes.add_records(engine.partition(), records(PLAIN, 0, 1), 2)
        lane = engine.take()
        lane.queue.popleft()
        engine.lanes.block_lane(lane, reason)
        assert lane.state is LaneState.RUNNING
        engine.lanes.release_lane(lane)
        assert engine.is_blocked(lane, reason)
        engine.lanes.unblock_lane(lane, reason)
        assert engine.lanes.take_lane() is lane

    @pytest.mark.parametrize("reason", REASONS)
    def test_that_is_removed_while_the_lane_runs_has_no_effect(self, engine: Engine, reason: BlockReason) -> None:
        engine.lanes.add_records(engine.partition(), records(PLAIN, 0, 1), 2)
        lane = engine.take()
        engine.lanes.block_lane(lane, reason)
        engine.lanes.unblock_lane(lane, reason)
        assert lane.state is LaneState.RUNNING
        engine.lanes.release_lane(lane)
        assert engine.lanes.take_lane() is lane

    @pytest.mark.parametrize("reason", REASONS)
    def test_that_is_added_twice_is_removed_once(self, engine: Engine, reason: BlockReason) -> None:
        lane = engine.partition().new_lane_without_order()
        engine.lanes.block_lane(lane, reason)
        engine.lanes.block_lane(lane, reason)
        engine.lanes.append_records_to_lane(lane, records(PLAIN, 0))
        engine.lanes.unblock_lane(lane, reason)
        assert engine.lanes.take_lane() is lane

    @pytest.mark.parametrize("reason", REASONS)
    def test_that_was_never_added_changes_nothing_when_it_is_removed(self, engine: Engine, reason: BlockReason) -> None:
        partition = engine.partition()
        lane = partition.new_lane_without_order()
        engine.lanes.unblock_lane(lane, reason)
        engine.lanes.append_records_to_lane(lane, records(PLAIN, 0))
        engine.lanes.unblock_lane(lane, reason)
        assert len(partition.ready) == 1
        assert engine.lanes.take_lane() is lane

    @pytest.mark.parametrize("reason", REASONS)
    def test_that_is_the_last_removes_a_lane_without_records(self, engine: Engine, reason: BlockReason) -> None:
        partition = engine.partition()
        lane = partition.new_lane_without_order()
        engine.lanes.block_lane(lane, reason)
        assert list(partition.lanes()) == [lane]
        engine.lanes.unblock_lane(lane, reason)
        assert lane.state is LaneState.IDLE
        assert list(partition.lanes()) == []


class TestTwoReasons:
    @pytest.mark.parametrize(("first", "second"), PAIRS)
    @pytest.mark.parametrize("reverse", [False, True])
    def test_both_must_be_removed_in_any_order(
        self, engine: Engine, first: BlockReason, second: BlockReason, reverse: bool
    ) -> None:
        lane = engine.partition().new_lane_without_order()
        engine.lanes.block_lane(lane, first)
        engine.lanes.block_lane(lane, second)
        engine.lanes.append_records_to_lane(lane, records(PLAIN, 0))
        assert engine.is_blocked(lane, first, second)
        one, other = (second, first) if reverse else (first, second)
        engine.lanes.unblock_lane(lane, one)
        assert engine.is_blocked(lane, other)
        engine.lanes.unblock_lane(lane, other)
        assert engine.lanes.take_lane() is lane

    @pytest.mark.parametrize(("first", "second"), PAIRS)
    def test_one_may_be_removed_before_the_lane_is_released(
        self, engine: Engine, first: BlockReason, second: BlockReason
    ) -> None:
        engine.lanes.add_records(engine.partition(), records(PLAIN, 0, 1), 2)
        lane = engine.take()
        engine.lanes.block_lane(lane, first)
        engine.lanes.block_lane(lane, second)
        engine.lanes.unblock_lane(lane, first)
        engine.lanes.release_lane(lane)
        assert engine.is_blocked(lane, second)
        engine.lanes.unblock_lane(lane, second)
        assert engine.lanes.take_lane() is lane


# Each owner: blocks a lane of this partition, and returns the lane and what removes the reason.
Owner = Callable[[Engine, Partition], "tuple[Lane, Callable[[], object]]"]


def paused(engine: Engine, partition: Partition) -> tuple[Lane, Callable[[], object]]:
    engine.lanes.add_records(partition, records(PLAIN, 0), 1)
    [lane] = partition.lanes()
    engine.lanes.pause_partition(partition)
    return lane, lambda: engine.lanes.resume_partition(partition)


def retry_wait(engine: Engine, partition: Partition) -> tuple[Lane, Callable[[], object]]:
    engine.lanes.add_records(partition, records(PLAIN, 0), 1)
    lane = engine.take()
    engine.lanes.schedule_retry(lane, 1.0)
    engine.lanes.release_lane(lane)
    return lane, engine.timers.fire


def straggler(engine: Engine, partition: Partition) -> tuple[Lane, Callable[[], object]]:
    before = engine.partition()
    engine.lanes.add_records(before, records(PLAIN, 0), 1)
    earlier = engine.take()
    earlier.queue.clear()
    engine.lanes.end_partition(before)
    engine.lanes.add_records(partition, records(PLAIN, 0), 1)
    [lane] = partition.lanes()
    return lane, lambda: engine.lanes.release_lane(earlier)


def permit(engine: Engine, partition: Partition) -> tuple[Lane, Callable[[], object]]:
    engine.lanes.add_records(engine.partition(1), records(FEW, 0), 1)
    other = engine.take()
    other.queue.clear()
    engine.lanes.add_records(partition, records(FEW, 0), 1)
    [lane] = partition.lanes()
    return lane, lambda: engine.lanes.release_lane(other)


def gathering(engine: Engine, partition: Partition) -> tuple[Lane, Callable[[], object]]:
    engine.lanes.add_records(partition, records(MANY, 0), 1)
    [batch] = [lane for lane in partition.lanes() if isinstance(lane, Batch)]
    return batch, engine.timers.fire


def in_batch(engine: Engine, partition: Partition) -> tuple[Lane, Callable[[], object]]:
    engine.lanes.add_records(partition, records(MANY, 0), 1)
    [lane] = [lane for lane in partition.lanes() if not isinstance(lane, Batch)]
    engine.timers.fire()
    batch = engine.take()
    assert isinstance(batch, Batch)
    batch.close_and_take_records()
    engine.lanes.add_records(partition, records(MANY, 1), 2)  # behind what is in the batch
    assert offsets(lane) == [1]

    def end() -> None:
        engine.lanes.release_lane(batch)
        engine.timers.fire()  # the next batch is gathered

    return lane, end


def writing(engine: Engine, partition: Partition) -> tuple[Lane, Callable[[], object]]:
    engine.lanes.add_records(partition, records(PLAIN, 0, 1), 2)
    lane = engine.take()
    write: Any = OneWrite(lane, lane.queue.popleft())  # type: ignore[arg-type]
    engine.lanes.add_pending_write(lane, write)
    engine.lanes.release_lane(lane)

    def confirm() -> None:
        write.abandon()  # in the place of Write.end
        engine.lanes.remove_after_write(lane, [write.record])

    return lane, confirm


class Ready:
    """Stands for the future of a request, without an event loop."""

    def __init__(self) -> None:
        self.callbacks: list[Callable[[Any], object]] = []

    def add_done_callback(self, callback: Callable[[Any], object]) -> None:
        self.callbacks.append(callback)

    def done(self) -> None:
        for callback in self.callbacks:
            callback(self)


def schema(engine: Engine, partition: Partition) -> tuple[Lane, Callable[[], object]]:
    engine.lanes.add_records(partition, records(PLAIN, 0), 1)
    lane, ready = engine.take(), Ready()
    engine.lanes.block_until_schema_known(lane, ready)  # type: ignore[arg-type]
    engine.lanes.release_lane(lane)
    return lane, ready.done


OWNERS: dict[BlockReason, Owner] = {
    "paused": paused,
    "retry_wait": retry_wait,
    "straggler": straggler,
    "permit": permit,
    "gathering": gathering,
    "in_batch": in_batch,
    "writing": writing,
    "schema": schema,
}


OTHERS: list[BlockReason] = [reason for reason in OWNERS if reason != "paused"]


class TestTheOwner:
    def test_of_each_reason_is_tested_here(self) -> None:
        assert set(OWNERS) == set(REASONS)

    @pytest.mark.parametrize("reason", OWNERS)
    def test_adds_its_reason_and_removes_it(self, engine: Engine, reason: BlockReason) -> None:
        lane, remove = OWNERS[reason](engine, engine.partition())
        assert engine.is_blocked(lane, reason)
        remove()
        taken = engine.take()
        assert taken is lane or lane in taken.members  # an executor has its records
        assert taken.reasons == set()

    @pytest.mark.parametrize("reason", OTHERS)
    def test_removes_it_while_the_partition_is_paused(self, engine: Engine, reason: BlockReason) -> None:
        partition = engine.partition()
        lane, remove = OWNERS[reason](engine, partition)
        engine.lanes.pause_partition(partition)
        assert engine.is_blocked(lane, reason, "paused")
        remove()
        assert engine.is_blocked(lane, "paused")
        engine.lanes.resume_partition(partition)
        engine.timers.fire()
        taken = engine.take()
        assert taken is lane or lane in taken.members

    @pytest.mark.parametrize("reason", OTHERS)
    def test_keeps_it_when_the_partition_is_resumed(self, engine: Engine, reason: BlockReason) -> None:
        partition = engine.partition()
        lane, remove = OWNERS[reason](engine, partition)
        engine.lanes.pause_partition(partition)
        engine.lanes.resume_partition(partition)
        assert engine.is_blocked(lane, reason)
        remove()
        taken = engine.take()
        assert taken is lane or lane in taken.members

    @pytest.mark.parametrize("reason", ["retry_wait", "writing", "gathering"])
    def test_a_lane_that_is_cleared_has_no_records(self, engine: Engine, reason: BlockReason) -> None:
        partition = engine.partition()
        lane, _ = OWNERS[reason](engine, partition)
        left = engine.lanes.drop_unbegun_records(partition)
        engine.lanes.abandon_partition_writes(partition)
        assert [record.offset for record in left] == [1 if reason == "writing" else 0]
        assert "retry_wait" not in lane.reasons
        engine.timers.fire()
        assert engine.lanes.take_lane() is None
        assert not partition.has_running_or_queued_records


class TestALaneOfAPausedPartition:
    def test_is_blocked_from_its_first_record(self, engine: Engine) -> None:
        partition = engine.partition(paused=True)
        engine.lanes.add_records(partition, records(PLAIN, 0), 1)
        [lane] = partition.lanes()
        assert engine.is_blocked(lane, "paused")
        engine.lanes.resume_partition(partition)
        assert engine.lanes.take_lane() is lane

    def test_keeps_its_records_in_its_queue_and_the_walk_does_not_see_them(self, engine: Engine) -> None:
        partition = engine.partition()
        engine.lanes.add_records(partition, records(PLAIN, 0, 1, 2), 3)
        lane = engine.take()
        walked = lane.queue
        walked.popleft()
        engine.lanes.pause_partition(partition)
        engine.lanes.add_records(partition, records(PLAIN, 3), 4)
        assert not walked
        assert offsets(lane) == [1, 2, 3]
        engine.lanes.resume_partition(partition)
        assert not walked  # another walk has them
        engine.lanes.release_lane(lane)
        assert offsets(engine.take()) == [1, 2, 3]

    def test_returns_its_permit_to_another_partition(self, engine: Engine) -> None:
        first, second = engine.partition(0), engine.partition(1)
        engine.lanes.add_records(first, records(FEW, 0), 1)
        engine.lanes.add_records(second, records(FEW, 0), 1)
        [lane] = second.lanes()
        assert lane.reasons == {"permit"}
        engine.lanes.pause_partition(first)
        assert engine.lanes.take_lane() is lane


class TestAWholeBatchThatIsTriedAgain:
    def test_keeps_its_lanes_blocked(self, engine: Engine) -> None:
        partition = engine.partition()
        engine.lanes.add_records(partition, records(MANY, 0), 1)
        engine.timers.fire()
        batch = engine.take()
        assert isinstance(batch, Batch)
        [lane] = batch.members
        batch.queue.extend(batch.close_and_take_records())
        engine.lanes.schedule_retry(batch, 1.0)
        engine.lanes.release_lane(batch)
        assert batch.reasons == {"retry_wait"}
        assert lane.reasons == {"in_batch"}
        engine.timers.fire()
        assert engine.take() is batch

    def test_continues_without_a_lane_of_which_it_has_no_record(self, engine: Engine) -> None:
        partition = engine.partition()
        engine.lanes.add_records(partition, records(MANY, 0), 1)
        engine.timers.fire()
        batch = engine.take()
        assert isinstance(batch, Batch)
        [lane] = batch.members
        engine.lanes.schedule_retry(lane, 1.0)
        engine.lanes.remove_lane_from_batch(batch, lane)
        assert lane.reasons == {"retry_wait"}
        assert list(batch.members) == []


class TestTheStatus:
    async def test_shows_why_the_oldest_record_does_not_begin(
        self, bench: Bench, gates: Gates, handler: Handler
    ) -> None:
        @handler.event("F")
        async def fails(value: bytes) -> None:
            raise ValueError("by the test")

        await bench.send(b"f", event_type="F")
        async with bench.running(handler):
            await bench.until(lambda: bench.consumer.status().partitions[0].blocked_by == ("retry_wait",))
            bench.app.consumer("it").pause(TOPIC, 0)
            await bench.until(lambda: "paused" in bench.consumer.status().partitions[0].blocked_by)
