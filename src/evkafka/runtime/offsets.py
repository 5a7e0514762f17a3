"""The ledger of one partition: which records are open, and how far it is safe to commit.

Everything else relies on these rules:

1. `committable()` never passes an unfinished record. `finish()` may come in any order.
2. Offsets are not contiguous (compaction, transaction markers, aborted records). The ledger knows the
   offsets it was given and the position the client has reached; it never assumes that `last + 1` exists.
3. A ledger belongs to one assignment. Once sealed, at the end of that assignment, it refuses `finish()`
   and has nothing committable: results of an old assignment are dropped, never committed.

There is no asyncio, no Kafka and no clock in here: what can lose data depends on the calls alone.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence


class OffsetLedger:
    """The records of one partition that were read during one assignment, and which of them are finished.

    Args:
        position: the offset at which reading starts, if it is known already.
    """

    __slots__ = ("_committable", "_early", "_last", "_open", "_position", "_sealed")

    def __init__(self, position: int | None = None) -> None:
        self._open: deque[int] = deque()  # ascending; the head is the oldest unfinished record
        self._early: set[int] = set()  # finished while an older record was open; still in _open
        self._position = position  # the offset that the client reads next: all records before it have been handed out
        self._committable = position
        self._last = -1  # the highest offset ever begun
        self._sealed = False

    def begin(self, offsets: Sequence[int]) -> None:
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
        open_ = self._open
        if open_ and open_[0] == offset:
            open_.popleft()
            self._committable = offset + 1
            if self._early:
                self._pass_early()
            return True
        if self._sealed:
            return False
        self._early.add(offset)
        return True

    def _pass_early(self) -> None:
        """The head has moved: move past the records behind it that were finished before it."""
        open_, early = self._open, self._early
        while open_ and open_[0] in early:
            head = open_.popleft()
            early.discard(head)
            self._committable = head + 1

    def read_to(self, position: int | None) -> None:
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

    @property
    def sealed(self) -> bool:
        return self._sealed

    @property
    def pending(self) -> int:
        """Records from the oldest unfinished one to the last one read: what memory must hold."""
        return len(self._open)

    @property
    def unfinished(self) -> int:
        """Records begun and not finished."""
        return len(self._open) - len(self._early)

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
