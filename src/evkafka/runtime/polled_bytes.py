"""How much memory the records of one partition hold."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from operator import attrgetter

from evkafka.records import Record

_value = attrgetter("value")


class PolledBytes:
    """How many bytes of values were read and are not committable yet."""

    __slots__ = ("_polls", "total")

    def __init__(self) -> None:
        self.total = 0
        self._polls: deque[tuple[int, int]] = deque()  # (last offset, bytes) of each poll, oldest first

    def add(self, records: Sequence[Record]) -> None:
        size = sum(map(len, filter(None, map(_value, records))))
        self.total += size
        self._polls.append((records[-1].offset, size))

    def release(self, oldest: int | None) -> None:
        """Subtract the polls of which all records lie before this unfinished offset; all polls if there is none."""
        polls = self._polls
        while polls and (oldest is None or polls[0][0] < oldest):
            self.total -= polls.popleft()[1]
