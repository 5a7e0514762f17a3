"""Which lane comes next, step by step: no executor, no clock."""

from __future__ import annotations

import pytest

from evkafka.records import TopicPartition
from evkafka.runtime.clock import SystemClock
from evkafka.runtime.partition import Partition
from evkafka.runtime.scheduler import Lane, LaneScheduler
from tests.runtime.lanes.test_time_slice import OneRecord


def partition(lanes: LaneScheduler, *keys: bytes, number: int = 0, first: int = 0) -> Partition:
    """One of which records with these keys were just read."""
    one = Partition(TopicPartition("t", number), lanes, ordering="key")
    one.take([OneRecord(first + n, partition=number, key=key) for n, key in enumerate(keys)], first + len(keys))
    return one


@pytest.fixture
def lanes() -> LaneScheduler:
    return LaneScheduler(SystemClock())


def taken(lanes: LaneScheduler) -> Lane:
    lane = lanes.take()
    assert lane is not None
    return lane


def test_partitions_take_turns(lanes: LaneScheduler) -> None:
    partition(lanes, b"a", b"b", b"c", number=0)
    partition(lanes, b"a", b"b", b"c", number=1)
    assert [taken(lanes).partition.tp.partition for _ in range(6)] == [0, 1, 0, 1, 0, 1]


def test_a_record_that_is_tried_again_comes_behind_all_that_was_read_before(lanes: LaneScheduler) -> None:
    partition(lanes, b"a", b"b", b"c")
    failed = taken(lanes)
    failed.attempt = 2
    lanes.put_down(failed)  # with its record, as if that was due at once
    assert [taken(lanes).queue[0].offset for _ in range(3)] == [1, 2, 0]


def test_a_key_waits_while_an_attempt_of_its_earlier_assignment_runs_on(lanes: LaneScheduler) -> None:
    before = partition(lanes, b"k")
    straggler = taken(lanes)
    straggler.queue.popleft()
    before.close()
    before.seal()
    partition(lanes, b"k", b"other", first=1)
    assert taken(lanes).queue[0].offset == 2
    assert lanes.take() is None
    lanes.put_down(straggler)
    assert taken(lanes).queue[0].offset == 1


@pytest.mark.parametrize("end", ["closed", "leaving", "sealed"])
def test_a_partition_that_ends_begins_nothing(lanes: LaneScheduler, end: str) -> None:
    one = partition(lanes, b"k")
    assert not one.begins_nothing
    if end == "sealed":
        one.seal()
    else:
        setattr(one, end, True)
    assert one.begins_nothing
