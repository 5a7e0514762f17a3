"""How much memory the unfinished records of one partition hold."""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from operator import attrgetter

from evkafka.records import Record

_value = attrgetter("value")


@dataclass(slots=True)
class _Poll:
    """What one poll has returned: `left` is what its unfinished records hold, about."""

    first: int
    last: int
    records: int
    size: int
    left: int


class PolledBytes:
    """How many bytes of values were read and are not finished yet.

    Counted by poll: `subtract_finished_polls` is cheap and sees only polls of which all records are finished before the
    oldest unfinished one; `recount` looks at each unfinished record.
    """

    __slots__ = ("_polls", "_unfinished", "total")

    def __init__(self) -> None:
        self.total = 0
        self._polls: deque[_Poll] = deque()  # oldest first
        self._unfinished: int | None = None  # at the last `recount`; None if records were added since

    def add(self, records: Sequence[Record]) -> None:
        size = sum(map(len, filter(None, map(_value, records))))
        self.total += size
        self._polls.append(_Poll(records[0].offset, records[-1].offset, len(records), size, size))
        self._unfinished = None

    def subtract_finished_polls(self, oldest: int | None) -> None:
        """Subtract the polls of which all records lie before this unfinished offset; all polls if there is none."""
        polls = self._polls
        while polls and (oldest is None or polls[0].last < oldest):
            self.total -= polls.popleft().left

    def is_recount_due(self, unfinished: int) -> bool:
        """Whether so many records have ended since the last `recount` that another one is worth its time."""
        return self._unfinished is None or unfinished < self._unfinished * 7 // 8

    def recount(self, open_offsets: Sequence[int]) -> None:
        """Count only these unfinished records, in ascending order."""
        self._unfinished = len(open_offsets)
        polls: deque[_Poll] = deque()
        for poll in self._polls:
            count = bisect_left(open_offsets, poll.last + 1) - bisect_left(open_offsets, poll.first)
            if count:
                poll.left = poll.size * count // poll.records
                polls.append(poll)
        self._polls = polls
        self.total = sum(poll.left for poll in polls)
