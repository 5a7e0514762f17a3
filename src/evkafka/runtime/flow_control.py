"""Flow control: which partitions the next poll reads. The bound is on what is read and not committable.

`pause()` of the client is not used: it throws away what was fetched (16 times the traffic for one slow partition).
The argument list of the poll does the same and keeps the buffers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from typing import Literal

from evkafka.config.settings import ConsumerSettings
from evkafka.records import TopicPartition
from evkafka.runtime.partition import Partition

NONE: Collection[TopicPartition] = ()


Reason = Literal["user", "full", "unreadable", "early"]
"""Why a partition is not read: somebody asked for it; it holds its share; the client cannot read its next record; what
was read of it is not due yet."""


class FlowControl:
    """Decides by a share per partition, with hysteresis: full at the share, reading again at half of it.

    A partition is read while there is no reason against it.

    Attributes:
        room: set whenever a partition may be read again; the poll loop waits for it.
    """

    def __init__(self, settings: ConsumerSettings, partitions: Mapping[TopicPartition, Partition]) -> None:
        self._partitions = partitions
        self._settings = settings
        self._reasons: dict[TopicPartition, set[Reason]] = {}
        self.room = asyncio.Event()

    def close(self, tp: TopicPartition, reason: Reason) -> None:
        """Do not read this partition until the reason is gone."""
        self._reasons.setdefault(tp, set()).add(reason)

    def open(self, tp: TopicPartition, reason: Reason) -> None:
        """This reason is gone; there may be others."""
        reasons = self._reasons.get(tp)
        if reasons is not None:
            reasons.discard(reason)
            if not reasons:
                del self._reasons[tp]
        self.room.set()

    def reasons(self, tp: TopicPartition) -> frozenset[Reason]:
        return frozenset(self._reasons.get(tp, ()))

    def forget(self, tp: TopicPartition) -> None:
        """Its assignment changed: what it held, and what could not be read, is no more. What a user asked for stays."""
        self.open(tp, "full")
        self.open(tp, "unreadable")
        self.open(tp, "early")

    def took(self, partition: Partition) -> None:
        """Records of this partition were just read."""
        if self._is_over(partition, 1.0):
            self.close(partition.tp, "full")
            self.room.clear()

    def is_full(self, tp: TopicPartition) -> bool:
        """Whether this partition is left out of the poll for what it holds."""
        return "full" in self._reasons.get(tp, ())

    def progress(self) -> None:
        """Executors got on: a full partition may have room again."""
        for tp in tuple(self._reasons):
            if self.is_full(tp) and ((full := self._partitions.get(tp)) is None or not self._is_over(full, 0.5)):
                self.open(tp, "full")

    def wanted(self) -> Collection[TopicPartition] | None:
        """The partitions to poll: None for all, none of them where there is no room anywhere."""
        self.progress()  # an executor says so at its lane's end only, and its next record may take long
        closed = self._reasons
        if not closed or closed.keys().isdisjoint(self._partitions):
            return None
        return [tp for tp in self._partitions if tp not in closed] or NONE

    def _is_over(self, partition: Partition, share_of_bound: float) -> bool:
        partition.polled_bytes.release(partition.ledger.oldest)
        count = max(len(self._partitions), 1)
        records = max(self._settings.max_pending_records // count, self._settings.max_poll_records)
        size = self._settings.max_pending_bytes / count
        return (
            partition.ledger.pending >= records * share_of_bound
            or partition.polled_bytes.total >= size * share_of_bound
        )
