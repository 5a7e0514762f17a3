"""The ledger of one partition: which records are open and how often they have failed, how far it is safe to commit, and
what is finished beyond that.

Everything else relies on these rules:

1. `committable()` never passes an unfinished record. `finish()` may come in any order.
2. Offsets are not contiguous (compaction, transaction markers, aborted records). The ledger knows the
   offsets it was given and the position the client has reached; it never assumes that `last + 1` exists.
3. A ledger belongs to one assignment. Once sealed, at the end of that assignment, it refuses `finish()`
   and has nothing committable: results of an old assignment are dropped, never committed.
4. `finished_ranges_from()` never contains an unfinished record: neither one that is open, nor one that was not read
   yet, unless an earlier owner of the partition has finished it.

There is no asyncio, no Kafka and no clock in here: what can lose data depends on the calls alone.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from heapq import merge
from operator import attrgetter

from evkafka.runtime.completed_offsets import OffsetRange

_start = attrgetter("start")

MOST_EARLY = 1024
"""How many offsets finished early are kept one by one, before they are kept as ranges."""


class OffsetLedger:
    """The records of one partition that were read during one assignment, and which of them are finished.

    Args:
        position: the offset at which reading starts, if it is known already.

    Attributes:
        failed_attempts: unfinished offset -> how many attempts have failed, earlier owners' included. Its entry is
            removed when a record is finished.
    """

    __slots__ = (
        "_committable", "_early", "_last", "_open", "_position", "_ranges", "_sealed", "_some_early", "failed_attempts",
    )  # fmt: skip

    def __init__(self, position: int | None = None) -> None:
        self._open: deque[int] = deque()  # ascending; the head is the oldest unfinished record
        self._early: set[int] = set()  # finished while an older record was open; still in _open
        self._ranges: deque[OffsetRange] = deque()  # the same, but not in _open; ascending
        self._some_early = False  # whether one of the two is not empty: a single check for each record
        self._position = position  # the offset that the client reads next: all records before it have been handed out
        self._committable = position
        self._last = -1  # the highest offset ever begun
        self._sealed = False
        self.failed_attempts: dict[int, int] = {}

    def inherit_finished(self, finished: Iterable[OffsetRange]) -> None:
        """These offsets were finished in an earlier assignment, and are not begun here. Called before any is begun."""
        self._ranges = deque(finished)
        self._some_early = bool(self._ranges)

    def has_inherited_at_or_after(self, offset: int) -> bool:
        """Whether any offset from this one on was finished in an earlier assignment."""
        return bool(self._ranges) and self._ranges[-1].end > offset

    def is_inherited(self, offset: int) -> bool:
        """Whether this offset, which is not begun, was finished in an earlier assignment."""
        at = bisect_right(self._ranges, offset, key=_start) - 1
        return at >= 0 and self._ranges[at].end > offset

    def forget_inherited_at_or_after(self, offset: int) -> None:
        """From this offset on, nothing of what an earlier assignment has finished or tried is valid."""
        ranges = [one if one.end <= offset else OffsetRange(one.start, offset) for one in self._ranges]
        self._ranges = deque(one for one in ranges if one.start < offset)
        self._some_early = bool(self._early or self._ranges)
        for at in [at for at in self.failed_attempts if at >= offset]:
            del self.failed_attempts[at]

    def add_open_offsets(self, offsets: Sequence[int]) -> None:
        """These records have been read, in this order, and are open from now on.

        Raises:
            ValueError: an offset is not higher than all that were begun before. Within an assignment reading only goes
                forward; a seek starts a new ledger.
        """
        if not offsets or self._sealed:
            return
        if offsets[0] <= self._last:
            raise ValueError(f"offset {offsets[0]} was added after {self._last}: a seek needs a new ledger")
        if not self._open:
            # Nothing was open, so all before the position was committable: these records must not take that back.
            self._committable = self.committable()
        self._open.extend(offsets)
        self._last = offsets[-1]

    def finish(self, offset: int) -> bool:
        """This record needs nothing more. False if the ledger is sealed: the result comes too late."""
        if self.failed_attempts:
            self.failed_attempts.pop(offset, None)
        open_ = self._open
        if open_ and open_[0] == offset:
            open_.popleft()
            self._committable = offset + 1
            if self._some_early:
                self._advance_past_early()
            return True
        if self._sealed:
            return False
        self._early.add(offset)
        self._some_early = True
        if len(self._early) >= MOST_EARLY:
            self._convert_early_to_ranges()
        return True

    def _advance_past_early(self) -> None:
        """The oldest open record was finished: also pass the following records that were finished before it."""
        open_, early, ranges = self._open, self._early, self._ranges
        while open_ and open_[0] in early:
            head = open_.popleft()
            early.discard(head)
            self._committable = head + 1
        # Ranges hold no open offset: those that end at or before the oldest open one (or `_last + 1`) are passed.
        passed = open_[0] if open_ else self._last + 1
        while ranges and ranges[0].end <= passed:
            self._committable = max(self._committable or 0, ranges.popleft().end)
        self._some_early = bool(early or ranges)

    def _convert_early_to_ranges(self) -> None:
        """Keep what was finished early as ranges. Their number depends on the open records, not on the finished."""
        early = self._early
        if not early:
            return
        ranges = list(merge(self._ranges, self._early_ranges()))
        self._open = deque([offset for offset in self._open if offset not in early])
        early.clear()
        self._ranges = deque(self._join_adjacent_ranges(ranges))

    def _early_ranges(self) -> Iterator[OffsetRange]:
        """The offsets of `_early` as ranges: merged where no open offset lies between."""
        early = self._early
        start = last = None
        for offset in self._open:
            if offset in early:
                start, last = offset if start is None else start, offset
            elif start is not None and last is not None:
                yield OffsetRange(start, last + 1)
                start = None
        if start is not None and last is not None:
            yield OffsetRange(start, last + 1)

    def _join_adjacent_ranges(self, ranges: Sequence[OffsetRange]) -> Iterator[OffsetRange]:
        """Join neighbours, if nothing between them is open, and all between them has been read."""
        open_ = list(self._open)
        before: OffsetRange | None = None
        for after in ranges:
            if before is None:
                before = after
            elif before.end == after.start or (
                after.start <= self._last
                and ((at := bisect_left(open_, before.end)) == len(open_) or open_[at] >= after.end)
            ):
                before = OffsetRange(before.start, max(before.end, after.end))
            else:
                yield before
                before = after
        if before is not None:
            yield before

    def finished_ranges_from(self, base: int) -> Sequence[OffsetRange]:
        """The finished offsets from this one on, in ascending ranges.

        They contain the committable offset only until reading has passed the inherited ranges.
        """
        if not self._some_early:
            return ()
        self._convert_early_to_ranges()
        return [OffsetRange(max(start, base), end) for start, end in self._ranges if end > base]

    def set_read_position(self, position: int | None) -> None:
        """The client reads next at this position; each offset before it has been begun, or is not a record.

        Must be called after the poll's return without an `await` in between, before anything can be begun or revoked.
        """
        if position is not None and not self._sealed and position > self._last:
            self._position = position

    def committable(self) -> int | None:
        """The offset that may be committed now: nothing before it is unfinished. None while that is unknown."""
        if self._sealed:
            return None
        if not self._open and self._position is not None:
            # Nothing is open, so the gap up to the position (markers, compacted records) is committable too:
            # otherwise lag would never be 0 after a transaction marker.
            return max(self._position, self._committable or 0)
        return self._committable

    def seal(self) -> None:
        """The assignment has ended: refuse all later results."""
        self._sealed = True
        self._open.clear()
        self._early.clear()
        self._ranges.clear()
        self._some_early = False

    @property
    def sealed(self) -> bool:
        return self._sealed

    @property
    def unfinished_count(self) -> int:
        """Records begun and not finished."""
        return len(self._open) - len(self._early)

    @property
    def range_count_upper_bound(self) -> int:
        """Upper bound of the number of ranges in `finished_ranges_from`."""
        return len(self._early) + len(self._ranges)

    def is_open(self, offset: int) -> bool:
        """Whether this record is begun and not finished."""
        return offset in self._open and offset not in self._early

    def open_offsets(self) -> list[int]:
        """The records begun and not finished, in order."""
        return [offset for offset in self._open if offset not in self._early]

    @property
    def last(self) -> int:
        """The highest offset ever begun; -1 if there is none."""
        return self._last

    @property
    def oldest(self) -> int | None:
        """The oldest unfinished record's offset; None if there is none."""
        return self._open[0] if self._open else None
