"""Checks that every open offset is in exactly one place: in a lane, or in flight in one executor.

A record that is in no place never runs, and blocks its partition's commits forever. A record in two places runs twice
at once. Nothing else shows either: a consumer that has lost a record looks idle and healthy.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from evkafka.exceptions import EVKafkaError
from evkafka.runtime.executor import Executor
from evkafka.runtime.partition import Partition

MOST_SHOWN = 50


class OffsetMisplaced(EVKafkaError):
    """An open offset is in no place, or in more than one."""


def check_open_offset_count_against_lanes(partitions: Iterable[Partition], executors: Iterable[Executor]) -> None:
    """Compare each ledger's open offsets with the records in lanes and executors.

    It counts, and compares offset by offset only if the counts differ. Call it from a callback or task of its own:
    between two `await`s of other code, a record may be in no place for a moment.

    Raises:
        OffsetMisplaced: with both lists.
    """
    running_by_partition = _running_executors_by_partition(executors)
    for partition in partitions:
        running = running_by_partition.get(partition, ())
        if not _is_partition_checkable(partition, running):
            continue
        if partition.ledger.unfinished_count != _count_records_in_lanes_and_executors(partition, running):
            _raise_if_offsets_lost_or_doubled(partition, running)


def check_open_offsets_against_lanes(partitions: Iterable[Partition], executors: Iterable[Executor]) -> None:
    """The same, always offset by offset: it also finds one record lost while another is doubled. For tests."""
    running_by_partition = _running_executors_by_partition(executors)
    for partition in partitions:
        running = running_by_partition.get(partition, ())
        if _is_partition_checkable(partition, running):
            _raise_if_offsets_lost_or_doubled(partition, running)


def _is_partition_checkable(partition: Partition, running: Sequence[Executor]) -> bool:
    """Whether the places of its records can be compared.

    A revoked partition has dropped its records; a partition closed by a failing record fails its consumer anyway. And a
    thread may be taking records out of a lane.
    """
    return not partition.forbids_retries and not any(executor.may_thread_take_lane_records for executor in running)


def _running_executors_by_partition(executors: Iterable[Executor]) -> Mapping[Partition, Sequence[Executor]]:
    running: dict[Partition, list[Executor]] = {}
    for executor in executors:
        if executor.lane is not None:
            running.setdefault(executor.lane.partition, []).append(executor)
    return running


def _count_records_in_lanes_and_executors(partition: Partition, running: Sequence[Executor]) -> int:
    waiting = sum([len(lane.queue) for lane in partition.lanes()])
    return waiting + sum([len(executor.records_in_flight) for executor in running])


def _raise_if_offsets_lost_or_doubled(partition: Partition, running: Sequence[Executor]) -> None:
    in_lanes = [record.offset for lane in partition.lanes() for record in lane.queue]
    in_flight = [record.offset for executor in running for record in executor.records_in_flight]
    places, open_offsets = Counter(in_lanes + in_flight), partition.ledger.open_offsets()
    if places != Counter(open_offsets):
        lost = [offset for offset in open_offsets if offset not in places]
        twice = [offset for offset, count in places.items() if count > 1]
        raise OffsetMisplaced(
            f"{partition.tp.topic}[{partition.tp.partition}]: open offsets {_offset_list_text(open_offsets)}; in lanes"
            f" {_offset_list_text(in_lanes)}; in flight {_offset_list_text(in_flight)}; in neither"
            f" {_offset_list_text(lost)}; in both or twice {_offset_list_text(twice)}. This is a bug in EVKafka"
        )


def _offset_list_text(offsets: Sequence[int]) -> str:
    more = f" and {len(offsets) - MOST_SHOWN} more" if len(offsets) > MOST_SHOWN else ""
    return f"{sorted(offsets)[:MOST_SHOWN]}{more}"
