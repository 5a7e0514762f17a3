"""The leader epochs of the records that were read, by partition. They show whether the log still has the records before
a position.

Each leader of a partition writes with its own epoch, and each record batch carries it. If an unclean election has
truncated a log, the leader knows an end offset of that epoch that is before the position (KIP-320). Pure: no I/O here.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

Key = tuple[str, int]
"""A topic and a partition."""

UNKNOWN = -1


class EpochStart(NamedTuple):
    """Records have this leader epoch from this offset on."""

    offset: int
    epoch: int


class LeaderEpochs:
    """The epochs of one source's partitions. There is one entry for each change of leader, not one for each record."""

    def __init__(self) -> None:
        self._starts: dict[Key, list[EpochStart]] = {}

    def start_with_epoch(self, tp: Key, epoch: int) -> None:
        """Reading starts at a position, and the record before it has this epoch."""
        # A later epoch of the same log is valid for all lower offsets too: it ends after them.
        self._starts[tp] = [EpochStart(-1, epoch)] if epoch != UNKNOWN else []

    def add_read(self, tp: Key, starts: Iterable[EpochStart]) -> None:
        """Records with these epochs were read."""
        known = self._starts.setdefault(tp, [])
        for start in starts:
            if start.epoch != UNKNOWN and (not known or known[-1].epoch != start.epoch):
                known.append(start)

    def latest_epoch(self, tp: Key) -> int:
        """The epoch of the last record that was read, or UNKNOWN."""
        known = self._starts.get(tp)
        return known[-1].epoch if known else UNKNOWN

    def epoch_before(self, tp: Key, offset: int) -> int:
        """The epoch of the record before this offset, or UNKNOWN."""
        for start in reversed(self._starts.get(tp, ())):
            if start.offset < offset:
                return start.epoch
        return UNKNOWN

    def go_back(self, tp: Key, offset: int) -> None:
        """Reading continues at an earlier offset."""
        self._starts[tp] = [start for start in self._starts.get(tp, ()) if start.offset < offset]

    def forget_partition(self, tp: Key) -> None:
        """Reading continues at an offset whose epoch is unknown."""
        self._starts.pop(tp, None)
