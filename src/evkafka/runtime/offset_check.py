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


def check_offsets(partitions: Iterable[Partition], executors: Iterable[Executor]) -> None:
    """Compare each ledger's open offsets with the records in lanes and executors.

    It counts, and compares offset by offset only if the counts differ. Call it from a callback or task of its own:
    between two `await`s of other code, a record may be in no place for a moment.

    Raises:
        OffsetMisplaced: with both lists.
    """
    running_by_partition = _executors_by_partition(executors)
    for partition in partitions:
        running = running_by_partition.get(partition, ())
        if not _is_comparable(partition, running):
            continue
        if partition.ledger.unfinished != _count_placed_records(partition, running):
            _raise_if_offsets_differ(partition, running)


def check_each_offset(partitions: Iterable[Partition], executors: Iterable[Executor]) -> None:
    """The same, always offset by offset: it also finds one record lost while another is doubled. For tests."""
    running_by_partition = _executors_by_partition(executors)
    for partition in partitions:
        running = running_by_partition.get(partition, ())
        if _is_comparable(partition, running):
            _raise_if_offsets_differ(partition, running)


def _is_comparable(partition: Partition, running: Sequence[Executor]) -> bool:
    """Whether the places of its records can be compared.

    A revoked partition has dropped its records; a partition closed by a failing record fails its consumer anyway. And a
    thread may be taking records out of a lane.
    """
    return not partition.forbids_retries and not any(executor.thread_takes_records for executor in running)


def _executors_by_partition(executors: Iterable[Executor]) -> Mapping[Partition, Sequence[Executor]]:
    running: dict[Partition, list[Executor]] = {}
    for executor in executors:
        if executor.lane is not None:
            running.setdefault(executor.lane.partition, []).append(executor)
    return running


def _count_placed_records(partition: Partition, running: Sequence[Executor]) -> int:
    waiting = sum([len(lane.queue) for lane in partition.lanes()])
    return waiting + sum([len(executor.in_flight) for executor in running])


def _raise_if_offsets_differ(partition: Partition, running: Sequence[Executor]) -> None:
    in_lanes = [record.offset for lane in partition.lanes() for record in lane.queue]
    in_flight = [record.offset for executor in running for record in executor.in_flight]
    places, open_offsets = Counter(in_lanes + in_flight), partition.ledger.open_offsets()
    if places != Counter(open_offsets):
        lost = [offset for offset in open_offsets if offset not in places]
        twice = [offset for offset, count in places.items() if count > 1]
        raise OffsetMisplaced(
            f"{partition.tp.topic}[{partition.tp.partition}]: open offsets {_list_offsets(open_offsets)}; in lanes"
            f" {_list_offsets(in_lanes)}; in flight {_list_offsets(in_flight)}; in neither {_list_offsets(lost)};"
            f" in both or twice {_list_offsets(twice)}. This is a bug in EVKafka"
        )


def _list_offsets(offsets: Sequence[int]) -> str:
    more = f" and {len(offsets) - MOST_SHOWN} more" if len(offsets) > MOST_SHOWN else ""
    return f"{sorted(offsets)[:MOST_SHOWN]}{more}"
