"""Reads a page of a topic's records without a group: of one partition, or of several, merged by time.

A page begins at a place and continues in one direction until it has enough records that match. The partition that has
been read least far in time is read next, so a search among rare matches covers all partitions alike, and the merge
needs no more of a partition than it shows. Kafka reads forward only: a page backward reads windows of offsets, each
before the last one.

The times of a partition need not increase. A page covers offsets without a gap, so a late record is chosen together
with those before it; and the records of the page are then sorted by time. If all records of a window are
late, more recent ones before them may come on a later page only.
"""

from __future__ import annotations

import asyncio
import heapq
import math
import sys
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate

from aiokafka.structs import TopicPartition as ClientPartition

from evkafka.config.settings import ConnectionSettings
from evkafka.exceptions import ConfigError
from evkafka.kafka.admin.reader import Reader
from evkafka.kafka.admin.session import reader_session
from evkafka.records import Record

POLL_RECORDS = 200
WINDOW_MAX = 2000
WINDOW_S = 0.5
"""A window that took longer is followed by a smaller one."""


@dataclass(frozen=True, slots=True)
class Newest:
    """The newest records, backward from the end."""


@dataclass(frozen=True, slots=True)
class FromOffset:
    """Forward from this offset, in each partition."""

    offset: int


@dataclass(frozen=True, slots=True)
class FromTime:
    """Forward from the first record of this time or later, in each partition."""

    at_ms: int


@dataclass(frozen=True, slots=True)
class Before:
    """Backward from these offsets: partition -> offset."""

    offsets: Mapping[int, int]


@dataclass(frozen=True, slots=True)
class After:
    """Forward from these offsets: partition -> offset."""

    offsets: Mapping[int, int]


Start = Newest | FromOffset | FromTime | Before | After

Decode = Callable[[Sequence[Record]], Awaitable[Sequence[Record]]]
"""Replaces the values of records. Their number, order and offsets stay the same."""


@dataclass(frozen=True, slots=True)
class PageLimits:
    """A page ends at the first limit that is reached. The last three are checked between fetches.

    Attributes:
        records: most records of the page.
        examined: most records that are read and compared.
        bytes: most bytes of all values of the page together.
        time_s: longest time.
        partitions: most partitions that are merged.
    """

    records: int
    examined: int
    bytes: int
    time_s: float
    partitions: int


@dataclass(frozen=True, slots=True)
class PartitionRange:
    """What a page covers of a partition.

    Attributes:
        first, end: the first offset that the partition still has, and the one after its last record.
        begin, stop: the page has every record that matches from `begin` on, and before `stop`.
    """

    first: int
    end: int
    begin: int
    stop: int


@dataclass(frozen=True, slots=True)
class LogPage:
    """A page.

    Attributes:
        records: by time, the oldest first. One that cannot be read is an `UnreadRecord`.
        ranges: partition -> its range.
        reached_ms: the page is complete up to this time (backward: down to it); None if nothing is left to read, or if
            a partition has shown no record yet.
    """

    records: Sequence[Record]
    ranges: Mapping[int, PartitionRange]
    reached_ms: int | None


@dataclass(slots=True)
class _PartitionProgress:
    """How far a partition has been read.

    Attributes:
        found: the matches with their times, the oldest first. A record without a time has that of the one before it.
        edge_ms: the time of the last record read (backward: of the earliest); None before the first.
        next_ms: what is left to read is expected to be no earlier than this (backward: no later). Backward it is the
            latest time of the last window, because the first record of a window may be late.
        window: backward: the number of offsets to read next.
    """

    at: ClientPartition
    first: int
    end: int
    begin: int
    stop: int
    window: int
    found: deque[tuple[int, Record]] = field(default_factory=deque)
    edge_ms: int | None = None
    next_ms: int | None = None

    def latest_times_ms(self) -> Iterator[int]:
        """For each match the latest time up to it: unlike the times themselves, these never decrease."""
        return accumulate((at_ms for at_ms, _ in self.found), max)


async def read_page(
    connection: ConnectionSettings,
    topic: str,
    partition: int | None,
    start: Start,
    limits: PageLimits,
    matches: Callable[[Record], bool],
    *,
    decode: Decode | None = None,
    timeout_s: float = 15.0,
) -> LogPage:
    """Read a page of one partition, or of all if `partition` is None.

    Args:
        decode: is applied to all records before they are compared; None leaves them as they are.
        timeout_s: how long the cluster may be silent.

    Raises:
        ConfigError: the partition does not exist, or the topic has more partitions than are merged.
        BrokerUnavailable, BrokerRefused, BrokerError: the cluster did not answer.
    """
    page = await _read(connection, topic, partition, start, limits, matches, decode or _return_unchanged, timeout_s)
    return page.result()


async def read_newest_matches(
    connection: ConnectionSettings,
    topic: str,
    ends: Mapping[int, int],
    most: int,
    matches: Callable[[Record], bool],
    *,
    decode: Decode,
    timeout_s: float = 15.0,
) -> Sequence[Record]:
    """The newest of the last matches of each partition, the oldest first. The search goes back as far as needed.

    Args:
        ends: partition -> the offset after the last one to search.
        timeout_s: how long the cluster may be silent.

    Raises:
        BrokerUnavailable, BrokerRefused, BrokerError: the cluster did not answer.
    """
    limits = PageLimits(most, sys.maxsize, sys.maxsize, math.inf, sys.maxsize)
    page = await _read(connection, topic, None, Before(ends), limits, matches, decode, timeout_s)
    return page.newest_matches()


def newest_by_time(records: Iterable[Record], most: int) -> Sequence[Record]:
    """The newest of these records, the oldest first.

    Args:
        records: those of a partition in order; one without a time has that of the one before it.
    """
    latest_ms: dict[int, int] = {}
    timed: list[tuple[int, int, int, Record]] = []
    for record in records:
        at_ms = _record_time_or_previous_ms(record, latest_ms.get(record.partition))
        latest_ms[record.partition] = at_ms
        timed.append((at_ms, record.partition, record.offset, record))
    return [record for *_, record in sorted(timed, key=lambda one: one[:3])[-most:]]


async def _read(
    connection: ConnectionSettings,
    topic: str,
    partition: int | None,
    start: Start,
    limits: PageLimits,
    matches: Callable[[Record], bool],
    decode: Decode,
    timeout_s: float,
) -> _PageReader:
    async with reader_session(connection, f"reading topic {topic!r}", timeout_s) as reader:
        wanted = await _choose_partitions(reader, topic, partition, limits.partitions)
        partitions = await _create_progress_per_partition(reader, wanted, start, min(limits.records, WINDOW_MAX))
        backward = isinstance(start, Newest | Before)
        page = _PageReader(reader, partitions, limits, matches, decode, backward=backward)
        await page.fill_page()
        return page


async def _return_unchanged(records: Sequence[Record]) -> Sequence[Record]:
    return records


async def _choose_partitions(reader: Reader, topic: str, partition: int | None, most: int) -> list[ClientPartition]:
    known = await reader.partitions_of_topic(topic)
    if partition is not None:
        if (at := ClientPartition(topic, partition)) not in known:
            raise ConfigError(f"{topic}[{partition}] does not exist")
        return [at]
    if not known:
        raise ConfigError(f"topic {topic!r} does not exist")
    if len(known) > most:
        raise ConfigError(f"topic {topic!r} has {len(known)} partitions, and {most} can be merged: choose one of them")
    return known


async def _create_progress_per_partition(
    reader: Reader, wanted: Sequence[ClientPartition], start: Start, window: int
) -> list[_PartitionProgress]:
    firsts: Mapping[ClientPartition, int] = await reader.beginning_offsets(wanted)
    ends: Mapping[ClientPartition, int] = await reader.end_offsets(wanted)
    match start:
        case Newest():
            places = ends
        case FromOffset(offset):
            places = dict.fromkeys(wanted, offset)
        case FromTime(at_ms):
            times = await reader.offsets_for_times(dict.fromkeys(wanted, at_ms))
            places = {at: found.offset if (found := times.get(at)) is not None else ends[at] for at in wanted}
        case Before(offsets) | After(offsets):
            places = {at: offsets.get(at.partition, firsts[at]) for at in wanted}
    places = {at: min(max(places[at], firsts[at]), ends[at]) for at in wanted}
    return [_PartitionProgress(at, firsts[at], ends[at], places[at], places[at], window) for at in wanted]


class _PageReader:
    """Reads one page."""

    def __init__(
        self,
        reader: Reader,
        partitions: Sequence[_PartitionProgress],
        limits: PageLimits,
        matches: Callable[[Record], bool],
        decode: Decode,
        *,
        backward: bool,
    ) -> None:
        self._reader = reader
        self._partitions = partitions
        self._limits = limits
        self._matches = matches
        self._decode = decode
        self._backward = backward
        self._clock = asyncio.get_running_loop().time
        self._ends_s = self._clock() + limits.time_s
        self._examined = 0
        self._bytes = 0

    async def fill_page(self) -> None:
        if not self._backward:
            self._reader.assign_at({partition.at: partition.begin for partition in self._partitions})
        while not self._has_reached_a_limit() and (partition := self._next_partition_to_read()) is not None:
            await (self._read_backward(partition) if self._backward else self._read_forward(partition))

    def _has_reached_a_limit(self) -> bool:
        limits = self._limits
        return self._examined >= limits.examined or self._bytes >= limits.bytes or self._clock() >= self._ends_s

    def _next_partition_to_read(self) -> _PartitionProgress | None:
        """The partition that has been read least far in time; None if no record that is left belongs to the page."""
        most = self._limits.records
        # Of one partition a page shows the first matches, without a gap: no more are needed.
        partition = self._least_advanced([one for one in self._unfinished_partitions() if len(one.found) < most])
        if partition is None or partition.next_ms is None:
            return partition
        if sum(len(one.found) for one in self._partitions) < most:
            return partition
        if self._backward:
            times_ms = (at_ms for one in self._partitions for at_ms, _ in one.found)
            return partition if partition.next_ms > heapq.nlargest(most, times_ms)[-1] else None
        times_ms = (at_ms for one in self._partitions for at_ms in one.latest_times_ms())
        return partition if partition.next_ms < heapq.nsmallest(most, times_ms)[-1] else None

    def _unfinished_partitions(self) -> list[_PartitionProgress]:
        """The partitions that have more records in the direction of the page."""
        return [
            partition
            for partition in self._partitions
            if (partition.begin > partition.first if self._backward else partition.stop < partition.end)
        ]

    def _least_advanced(self, partitions: Collection[_PartitionProgress]) -> _PartitionProgress | None:
        if self._backward:
            return max(
                partitions,
                key=lambda partition: math.inf if partition.next_ms is None else partition.next_ms,
                default=None,
            )
        return min(
            partitions,
            key=lambda partition: -math.inf if partition.next_ms is None else partition.next_ms,
            default=None,
        )

    async def _read_forward(self, partition: _PartitionProgress) -> None:
        for record in await self._read_partition_records(
            partition.at, partition.end, min(POLL_RECORDS, self._limits.records)
        ):
            partition.edge_ms = _record_time_or_previous_ms(record, partition.edge_ms)
            self._keep_match(partition, record, partition.edge_ms)
        partition.next_ms = partition.edge_ms
        partition.stop = min(await self._reader.position(partition.at), partition.end)

    async def _read_backward(self, partition: _PartitionProgress) -> None:
        """Read the offsets before those read so far. The newest matches are kept, so that memory is bounded."""
        began_s = self._clock()
        end, begin = partition.begin, max(partition.first, partition.begin - partition.window)
        newer, partition.found = partition.found, deque()
        earliest_ms = latest_ms = at_ms = None
        partition.begin = begin
        self._reader.assign_at({partition.at: begin})
        while await self._reader.partitions_to_read({partition.at: end}):
            for record in await self._read_partition_records(partition.at, end, POLL_RECORDS):
                at_ms = _record_time_or_previous_ms(record, at_ms)
                earliest_ms = at_ms if earliest_ms is None else earliest_ms
                latest_ms = at_ms if latest_ms is None else max(latest_ms, at_ms)
                self._keep_match(partition, record, at_ms)
                while len(partition.found) > 1 and (
                    len(partition.found) + len(newer) > self._limits.records or self._bytes > self._limits.bytes
                ):
                    earliest_ms = self._defer_oldest_match(partition)
        partition.found += newer
        partition.edge_ms = partition.edge_ms if earliest_ms is None else earliest_ms
        partition.next_ms = partition.next_ms if latest_ms is None else latest_ms
        faster = self._clock() - began_s < WINDOW_S
        partition.window = min(partition.window * 4, WINDOW_MAX) if faster else max(partition.window // 4, 1)

    async def _read_partition_records(self, at: ClientPartition, end: int, max_records: int) -> Sequence[Record]:
        fetched = await self._reader.poll([at], {at: end}, max_records)
        return await self._decode(fetched.get(at, ()))

    def _keep_match(self, partition: _PartitionProgress, record: Record, at_ms: int) -> None:
        self._examined += 1
        if self._matches(record):
            partition.found.append((at_ms, record))
            self._bytes += len(record.value or b"")

    def _defer_oldest_match(self, partition: _PartitionProgress) -> int:
        """Leave the oldest match to the next page. Returns the time of the oldest that is kept."""
        _, record = partition.found.popleft()
        self._bytes -= len(record.value or b"")
        partition.begin = record.offset + 1
        return partition.found[0][0]

    def newest_matches(self) -> Sequence[Record]:
        """The newest of the last matches of each partition. Unlike a page, they may leave out some in between."""
        most = self._limits.records
        last = (record for partition in self._partitions for _, record in list(partition.found)[-most:])
        return newest_by_time(last, most)

    def result(self) -> LogPage:
        """The first records in the direction of the page. The others are left to the next page."""
        merged = sorted(
            (latest_ms, partition.at.partition, at, match)
            for partition in self._partitions
            for at, (latest_ms, match) in enumerate(zip(partition.latest_times_ms(), partition.found, strict=True))
        )
        shown = merged[-self._limits.records :] if self._backward else merged[: self._limits.records]
        taken = Counter(partition for _, partition, _, _ in shown)
        for partition in self._partitions:
            self._defer_all_but_first_matches(partition, taken[partition.at.partition])
        ranges = {
            partition.at.partition: PartitionRange(partition.first, partition.end, partition.begin, partition.stop)
            for partition in self._partitions
        }
        by_time = sorted((match for *_, match in shown), key=lambda match: match[0])
        return LogPage([record for _, record in by_time], ranges, self._reached_ms())

    def _defer_all_but_first_matches(self, partition: _PartitionProgress, taken: int) -> None:
        """Leave the matches after the first `taken` to the next page."""
        if taken == len(partition.found):
            return
        partition.edge_ms, record = partition.found[-taken - 1 if self._backward else taken]
        if self._backward:
            partition.begin = record.offset + 1
        else:
            partition.stop = record.offset

    def _reached_ms(self) -> int | None:
        unfinished = self._unfinished_partitions()
        edges_ms = [partition.edge_ms for partition in unfinished if partition.edge_ms is not None]
        return (max if self._backward else min)(edges_ms, default=None) if len(edges_ms) == len(unfinished) else None


def _record_time_or_previous_ms(record: Record, before_ms: int | None) -> int:
    """The record's time; that of the record before it if it has none."""
    return record.timestamp if record.timestamp >= 0 else before_ms or 0
