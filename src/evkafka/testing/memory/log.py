"""Topics and their partitions: append-only lists of records, with whatever gaps they have."""

from __future__ import annotations

import itertools
from bisect import bisect_left
from dataclasses import dataclass

from evkafka.ports import TopicPartition
from evkafka.runtime.partitioner import murmur2


@dataclass(frozen=True, slots=True)
class MemoryRecord:
    """One record, as the engine and users see it."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]


class PartitionLog:
    """One partition.

    Attributes:
        start: the first offset that is kept.
        end: the offset that the next record gets.
        unreadable: offsets that the client cannot read.
    """

    def __init__(self, tp: TopicPartition) -> None:
        self.tp = tp
        self.start = 0
        self.end = 0
        self.unreadable: set[int] = set()
        self._records: list[MemoryRecord] = []
        self._offsets: list[int] = []

    def append(
        self,
        *,
        key: bytes | None,
        value: bytes | None,
        headers: tuple[tuple[str, bytes | None], ...],
        timestamp_ms: int,
    ) -> MemoryRecord:
        record = MemoryRecord(self.tp.topic, self.tp.partition, self.end, timestamp_ms, key, value, headers)
        self._records.append(record)
        self._offsets.append(self.end)
        self.end += 1
        return record

    def skip(self, count: int = 1) -> None:
        """Offsets that hold no record, as transaction markers and compaction leave them."""
        self.end += count

    def truncate(self, start: int) -> None:
        """Retention: drop what lies before this offset."""
        cut = bisect_left(self._offsets, start)
        del self._records[:cut], self._offsets[:cut]
        self.start = start

    def read(self, position: int, most: int) -> list[MemoryRecord]:
        """Up to so many records from this position on, none from behind an unreadable one."""
        first = bisect_left(self._offsets, position)
        found = list(itertools.islice(self._records, first, first + most))
        for index, record in enumerate(found):
            if record.offset in self.unreadable:
                return found[:index]
        return found

    def next_after(self, position: int) -> int:
        """Where the client stands once it has read to here: over gaps that end the log."""
        return self.end if bisect_left(self._offsets, position) >= len(self._offsets) else position

    @property
    def records(self) -> tuple[MemoryRecord, ...]:
        return tuple(self._records)


def partition_of(key: bytes, partitions: int) -> int:
    """The partition that Java's default partitioner takes for a key."""
    return (murmur2(key) & 0x7FFFFFFF) % partitions
