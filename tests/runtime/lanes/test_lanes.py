"""Which lane comes next, step by step: no executor, no clock."""

from __future__ import annotations

from typing import get_args

import pytest

from evkafka.records import TopicPartition
from evkafka.runtime.clock import SystemClock
from evkafka.runtime.partition import Lane, Partition, PartitionEvent, PartitionState
from evkafka.runtime.scheduler import LaneScheduler
from tests.support.executors import OneRecord


def partition(lanes: LaneScheduler, *keys: bytes, number: int = 0, first: int = 0) -> Partition:
    """A partition of which records with these keys were just read."""
    one = Partition(TopicPartition("t", number), ordering="key")
    lanes.add_records(
        one, [OneRecord(first + n, partition=number, key=key) for n, key in enumerate(keys)], first + len(keys)
    )
    return one


@pytest.fixture
def lanes() -> LaneScheduler:
    return LaneScheduler(SystemClock())


def taken(lanes: LaneScheduler) -> Lane:
    lane = lanes.take_lane()
    assert lane is not None
    return lane


def test_partitions_take_turns(lanes: LaneScheduler) -> None:
    partition(lanes, b"a", b"b", b"c", number=0)
    partition(lanes, b"a", b"b", b"c", number=1)
    assert [taken(lanes).partition.tp.partition for _ in range(6)] == [0, 1, 0, 1, 0, 1]


def test_a_record_that_is_retried_comes_after_all_that_were_read_before(lanes: LaneScheduler) -> None:
    partition(lanes, b"a", b"b", b"c")
    failed = taken(lanes)
    failed.partition.failed_attempts[0] = 1
    lanes.release_lane(failed)  # with its record, as if that was due at once
    assert [taken(lanes).queue[0].offset for _ in range(3)] == [1, 2, 0]


def test_a_key_waits_while_an_attempt_of_its_earlier_assignment_runs(lanes: LaneScheduler) -> None:
    before = partition(lanes, b"k")
    straggler = taken(lanes)
    straggler.queue.popleft()
    lanes.close_partition_and_drop_unbegun(before)
    lanes.end_partition(before)
    partition(lanes, b"k", b"other", first=1)
    assert taken(lanes).queue[0].offset == 2
    assert lanes.take_lane() is None
    lanes.release_lane(straggler)
    assert taken(lanes).queue[0].offset == 1


@pytest.mark.parametrize("event", get_args(PartitionEvent))
def test_a_partition_that_ends_begins_nothing(event: PartitionEvent) -> None:
    one = Partition(TopicPartition("t", 0), ordering="key")
    assert not one.forbids_retries
    getattr(one, event)()
    assert one.forbids_retries


@pytest.mark.parametrize(
    ("events", "closed", "leaving"),
    [
        (["close"], True, False),
        (["close", "begin_revoke"], True, True),
        (["begin_revoke"], False, True),
        (["begin_revoke", "begin_revoke"], False, True),
        (["begin_revoke", "close"], True, True),
        (["begin_revoke", "close", "close", "end_assignment"], True, True),
        (["end_assignment", "close", "begin_revoke"], True, True),
    ],
)
def test_a_partition_never_goes_back(events: list[PartitionEvent], closed: bool, leaving: bool) -> None:
    one = Partition(TopicPartition("t", 0), ordering="key")
    for event in events:
        getattr(one, event)()
    assert (one.is_closed, one.is_being_revoked) == (closed, leaving)
    assert one.state is not PartitionState.ACTIVE
