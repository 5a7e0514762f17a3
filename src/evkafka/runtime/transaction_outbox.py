"""What the finished records of a partition have sent, until a transaction writes it. Pure.

Everything else relies on these rules:

1. What a record has sent is written by the transaction that commits the record, and by no other one. A record is
   committed if it lies before the committed offset, or is listed as finished in the metadata.
2. The records of a batch are committed together: what they have sent belongs to all of them.
3. What was committed stays so: each commit covers all that the one before it covered. Otherwise a record whose sends
   are written already would be handled again.
4. Sends of one key stay in order: a commit covers no record without the finished ones before it.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import NamedTuple

from evkafka.runtime.completed_offsets import OffsetRange
from evkafka.runtime.kept_sends import memory_size_of
from evkafka.runtime.ports import OutgoingRecord

_start = attrgetter("start")


class Coverage(NamedTuple):
    """The records that a commit covers: all before the base, and those in the ranges after it."""

    base: int
    ranges: Sequence[OffsetRange] = ()

    def covers(self, offset: int) -> bool:
        if offset < self.base:
            return True
        at = bisect_right(self.ranges, offset, key=_start) - 1
        return at >= 0 and self.ranges[at].end > offset


NOTHING = Coverage(-1)


@dataclass(slots=True, eq=False)
class Sent:
    """What records have sent in one attempt.

    Attributes:
        offsets: the records, ascending; none if it is written with any commit.
        written: a transaction has written it. Its partition may have begun again meanwhile.
    """

    offsets: Sequence[int]
    records: Sequence[OutgoingRecord]
    size: int
    written: bool = False


class Outbox:
    """What finished records have sent and no transaction has written.

    Attributes:
        covered: what the last commit covers.
        in_doubt: nothing more is committed of this assignment: a transaction may have been committed or not, or can
            never be. Its records are read again.
        size: what it keeps in memory, in bytes.
    """

    __slots__ = ("_sent", "covered", "in_doubt", "size")

    def __init__(self) -> None:
        self._sent: list[Sent] = []  # in the order in which the records were finished
        self.covered = NOTHING
        self.in_doubt = False
        self.size = 0

    def __len__(self) -> int:
        """How many records wait to be written."""
        return sum(len(one.records) for one in self._sent)

    def add(self, offsets: Sequence[int], records: Sequence[OutgoingRecord]) -> None:
        """These records, which were finished without an `await` in between, have sent this."""
        if records:
            self._sent.append(Sent(offsets, records, sum(map(memory_size_of, records))))
            self.size += self._sent[-1].size

    def unwritten(self) -> list[Sent]:
        """All that is not written."""
        return [] if self.in_doubt else list(self._sent)

    def inherit_sends_of_earlier_outbox(self, sent: Iterable[Sent]) -> None:
        """Take over what was sent before the partition began again at another offset: the next commit writes it."""
        for one in sent:
            one.offsets = ()
            self._sent.append(one)
            self.size += one.size

    def clear(self) -> None:
        """The assignment is over: the records are handled again."""
        self._sent.clear()
        self.size = 0

    # ------------------------------------------------------------------ what a transaction writes

    def covered_by(self, coverage: Coverage) -> list[Sent]:
        """What a commit of this coverage has to write."""
        covers = coverage.covers
        return [one for one in self._sent if not one.written and all(map(covers, one.offsets))]

    def set_coverage_and_remove_written(self, coverage: Coverage, sent: Iterable[Sent]) -> None:
        """A transaction has committed this coverage and written these sends: keep them no longer."""
        self.covered = coverage
        for one in sent:
            one.written = True
        self._sent = [one for one in self._sent if not one.written]
        self.size = sum(one.size for one in self._sent)

    # ------------------------------------------------------------------ what fits into a commit

    def largest_fitting_coverage(self, finished: Coverage, fits: Callable[[Coverage], bool]) -> Coverage | None:
        """The largest coverage that a commit has room for, about; None if there is room for nothing new.

        Args:
            finished: all finished records.
            fits: whether the ranges of a coverage fit into the metadata.
        """
        if fits(finished):
            return finished
        end: int | None = finished.ranges[-1].end if finished.ranges else finished.base
        while end is not None and (end := self._highest_end_not_splitting_batch(finished, end)) is not None:
            coverage = self._create_coverage_up_to(finished, end)
            if fits(coverage):
                return coverage if coverage != self.covered else None
            end = _next_lower_end(finished, end)
        return None

    def _highest_end_not_splitting_batch(self, finished: Coverage, end: int) -> int | None:
        """The highest end up to this one at which no batch is covered in part; None if there is none."""
        while True:
            covers = self._create_coverage_up_to(finished, end).covers
            parts = [one.offsets[0] for one in self._sent if len({covers(offset) for offset in one.offsets}) > 1]
            if not parts:
                return end
            if min(parts) >= end:
                return None
            end = min(parts)

    def _create_coverage_up_to(self, finished: Coverage, end: int) -> Coverage:
        """The coverage of all that is covered already, and of what is finished before this end."""
        base = min(finished.base, max(end, self.covered.base))
        whole = [OffsetRange(base, finished.base)] if base < finished.base else []
        done = [*whole, *finished.ranges]
        covered = _intersect_ranges(self.covered.ranges, done)
        added = [OffsetRange(start, min(stop, end)) for start, stop in done if start < end]
        return Coverage(base, _merge_ranges(sorted([*covered, *added])))


def _next_lower_end(finished: Coverage, end: int) -> int | None:
    """The next end to try: half of the ranges before this one, and at last none; None if that was tried."""
    starts = [one.start for one in finished.ranges if one.start < end]
    if len(starts) > 1:
        return starts[len(starts) // 2]
    return finished.base if end > finished.base else None


def _intersect_ranges(ranges: Sequence[OffsetRange], others: Sequence[OffsetRange]) -> list[OffsetRange]:
    """The offsets that are in both."""
    both: list[OffsetRange] = []
    i = j = 0
    while i < len(ranges) and j < len(others):
        start, end = max(ranges[i].start, others[j].start), min(ranges[i].end, others[j].end)
        if start < end:
            both.append(OffsetRange(start, end))
        if ranges[i].end < others[j].end:
            i += 1
        else:
            j += 1
    return both


def _merge_ranges(ranges: Iterable[OffsetRange]) -> list[OffsetRange]:
    """Ascending ranges, those that touch or overlap as one."""
    joined: list[OffsetRange] = []
    for one in ranges:
        if joined and one.start <= joined[-1].end:
            joined[-1] = OffsetRange(joined[-1].start, max(joined[-1].end, one.end))
        else:
            joined.append(one)
    return joined
