"""Leader epochs of what was read, by partition: what shows whether a log still holds the records before a position.

Each leader of a partition writes under an epoch of its own, and each batch carries it. Where an unclean election has
cut a log, the leader knows an earlier end of that epoch than the position (KIP-320). Pure: no I/O in here.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

Key = tuple[str, int]
"""A topic and a partition."""

UNKNOWN = -1


class EpochStart(NamedTuple):
    """From this offset on, records have this leader epoch."""

    offset: int
    epoch: int


class LeaderEpochs:
    """One source's. It keeps one entry for each change of leader that was met, not one for each record."""

    def __init__(self) -> None:
        self._turns: dict[Key, list[EpochStart]] = {}

    def begin(self, tp: Key, epoch: int) -> None:
        """Reading begins at a position, and the record before it has this epoch."""
        # A later epoch of the same log serves for all offsets below as well: it ends behind them.
        self._turns[tp] = [EpochStart(-1, epoch)] if epoch != UNKNOWN else []

    def read(self, tp: Key, turns: Iterable[EpochStart]) -> None:
        """Records were read, and these are the epochs that they came with."""
        known = self._turns.setdefault(tp, [])
        for turn in turns:
            if turn.epoch != UNKNOWN and (not known or known[-1].epoch != turn.epoch):
                known.append(turn)

    def latest(self, tp: Key) -> int:
        """The epoch of the record that was read last; UNKNOWN where none is known."""
        known = self._turns.get(tp)
        return known[-1].epoch if known else UNKNOWN

    def before(self, tp: Key, offset: int) -> int:
        """The epoch of the record before this offset; UNKNOWN where it is not known."""
        for turn in reversed(self._turns.get(tp, ())):
            if turn.offset < offset:
                return turn.epoch
        return UNKNOWN

    def go_back(self, tp: Key, offset: int) -> None:
        """Reading goes on at an earlier offset."""
        self._turns[tp] = [turn for turn in self._turns.get(tp, ()) if turn.offset < offset]

    def forget(self, tp: Key) -> None:
        """Reading goes on somewhere else, and the epoch there is not known."""
        self._turns.pop(tp, None)
