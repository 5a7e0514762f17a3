"""The log of one partition: records with offsets, gaps, transactions, retention, compaction and leader epochs."""

from __future__ import annotations

import json
from bisect import bisect_left
from dataclasses import dataclass
from typing import Any, Literal

from evkafka.records import TopicPartition
from evkafka.runtime.leader_epochs import EpochStart

Isolation = Literal["read_committed", "read_uncommitted"]


@dataclass(frozen=True, slots=True)
class MemoryRecord:
    """One record, as the engine, endpoints and tests see it."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]

    @property
    def event_type(self) -> str | None:
        """The first `Event-Type` header; None without one."""
        for name, value in self.headers:
            if name == "Event-Type":
                return None if value is None else value.decode(errors="replace")
        return None

    def header(self, name: str) -> bytes | None:
        """The last header of this name, as in `Request.headers`; None if it is absent or null."""
        return dict(self.headers).get(name)

    def json(self) -> Any:
        """The value, parsed.

        Raises:
            ValueError: it is not JSON, or it is a tombstone.
        """
        if self.value is None:
            raise ValueError(f"{self.topic}[{self.partition}]@{self.offset} is a tombstone: it has no value")
        return json.loads(self.value)


class PartitionLog:
    """The log of one partition.

    Attributes:
        start: the first offset that is kept.
        end: the offset that the next record gets.
        unreadable: offsets that the client cannot read.
        epochs: the leader epochs and the offset at which each began; the last one is the current leader's.
    """

    def __init__(self, tp: TopicPartition) -> None:
        self.tp = tp
        self.start = 0
        self.end = 0
        self.unreadable: set[int] = set()
        self.epochs: list[EpochStart] = [EpochStart(0, 0)]
        self._records: list[MemoryRecord] = []
        self._offsets: list[int] = []
        self._open: dict[int, list[int]] = {}  # transaction -> its records' offsets
        self._aborted: set[int] = set()

    # ------------------------------------------------------------------ writing

    def append_record(
        self,
        *,
        key: bytes | None,
        value: bytes | None,
        headers: tuple[tuple[str, bytes | None], ...],
        timestamp_ms: int,
        transaction: int | None = None,
    ) -> MemoryRecord:
        record = MemoryRecord(self.tp.topic, self.tp.partition, self.end, timestamp_ms, key, value, headers)
        if transaction is not None:
            self._open.setdefault(transaction, []).append(self.end)
        self._records.append(record)
        self._offsets.append(self.end)
        self.end += 1
        return record

    def skip_offsets(self, count: int = 1) -> None:
        """Skip offsets: they have no record, as after transaction markers and compaction."""
        self.end += count

    def end_transaction(self, transaction: int, *, commit: bool) -> None:
        """Commit or abort; the marker takes one offset if the transaction wrote to this partition."""
        offsets = self._open.pop(transaction, None)
        if offsets is not None:
            if not commit:
                self._aborted.update(offsets)
            self.end += 1

    # ------------------------------------------------------------------ deleting

    def delete_records_before(self, start: int) -> None:
        """Retention: delete the records before this offset."""
        self.start = max(self.start, min(start, self.end))
        cut = bisect_left(self._offsets, self.start)
        del self._records[:cut], self._offsets[:cut]

    def truncate_to_offset(self, end: int) -> None:
        """An unclean leader election: delete the records from this offset on; their offsets are used again."""
        self.end = max(self.start, min(end, self.end))
        cut = bisect_left(self._offsets, self.end)
        del self._records[cut:], self._offsets[cut:]
        self.unreadable = {offset for offset in self.unreadable if offset < self.end}
        self._aborted = {offset for offset in self._aborted if offset < self.end}
        kept = [start for start in self.epochs if start.offset < self.end]
        self.epochs = [*kept, EpochStart(self.end, self.epoch + 1)]
        self._open = {tx: left for tx, old in self._open.items() if (left := [o for o in old if o < self.end])}

    def compact(self, *, drop_tombstones: bool = False) -> None:
        """Keep only the last record of each key; records without a key and those of open transactions are kept."""
        last = {record.key: record.offset for record in self.visible_records("read_committed")}
        kept = [
            record
            for record in self._records
            if record.offset not in self._aborted
            and (record.key is None or record.offset >= last.get(record.key, 0))
            and not (drop_tombstones and record.value is None and record.key is not None)
        ]
        self._records, self._offsets = kept, [record.offset for record in kept]

    # ------------------------------------------------------------------ leader epochs

    @property
    def epoch(self) -> int:
        """The current leader's epoch."""
        return self.epochs[-1].epoch

    def elect_leader(self) -> None:
        """A clean leader election: a new epoch begins, and no record is lost."""
        self.epochs.append(EpochStart(self.end, self.epoch + 1))

    def epochs_between_offsets(self, first: int, last: int) -> list[EpochStart]:
        """The epochs of the records from one offset to another."""
        starts = [start for start in self.epochs if start.offset <= last]
        return [
            start
            for start, following in zip(starts, [*starts[1:], None], strict=True)
            if following is None or following.offset > first
        ]

    def end_of_epoch(self, epoch: int) -> int:
        """The end offset of the records of this epoch or an earlier one, as in OffsetForLeaderEpoch."""
        return next((start.offset for start in self.epochs if start.epoch > epoch), self.end)

    # ------------------------------------------------------------------ reading

    def end_for_isolation(self, isolation: Isolation) -> int:
        """The end of the log for a reader; for `read_committed` the start of the first open transaction."""
        if isolation == "read_committed" and self._open:
            return min(offsets[0] for offsets in self._open.values())
        return self.end

    def read(self, position: int, most: int, isolation: Isolation = "read_committed") -> list[MemoryRecord]:
        """At most so many records from this position on, and none after an unreadable one."""
        first = bisect_left(self._offsets, position)
        found = self._records[first : first + most]
        if isolation == "read_committed" and (self._open or self._aborted):
            end, found = self.end_for_isolation(isolation), []
            for record in self._records[first:]:
                if record.offset >= end or len(found) == most:
                    break
                if record.offset not in self._aborted:
                    found.append(record)
        for index, record in enumerate(found) if self.unreadable else ():
            if record.offset in self.unreadable:
                return found[:index]
        return found

    def position_past_gap_at_end(self, position: int, isolation: Isolation = "read_committed") -> int:
        """The client's position once it has read up to here: after a gap at the end of the log."""
        return (
            position
            if self.read(position, 1, isolation) or self.next_unreadable_offset(position)
            else self.end_for_isolation(isolation)
        )

    def next_unreadable_offset(self, position: int) -> int | None:
        """The next unreadable offset from this position on; None if there is none.

        Only valid if `read` returns nothing here: then no readable record comes first.
        """
        return min((offset for offset in self.unreadable if offset >= position), default=None)

    def visible_records(self, isolation: Isolation) -> list[MemoryRecord]:
        """All records that a reader with this isolation level sees."""
        end, aborted = self.end_for_isolation(isolation), self._aborted if isolation == "read_committed" else ()
        return [record for record in self._records if record.offset < end and record.offset not in aborted]
