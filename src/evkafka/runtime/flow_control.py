"""Flow control: which partitions the next poll reads. It limits what is read and not committable.

The client's `pause()` is not used, because it drops what was fetched (16 times the traffic for one slow partition).
Passing the partitions to the poll has the same effect and keeps the buffers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from typing import Literal

from evkafka.config.settings import ConsumerSettings
from evkafka.records import TopicPartition
from evkafka.runtime.partition import Partition

NO_PARTITIONS: Collection[TopicPartition] = ()

Reason = Literal["user", "full", "unreadable", "early"]
"""Why a partition is not read: a user has paused it; its share is full; the client cannot read its next record; records
of it that were read are not due yet."""


class FlowControl:
    """Decides which partitions are read: those without a reason against it.

    Each partition has an equal share of the consumer's limits, with hysteresis: it is full at its share, and is read
    again at half of it.

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
        """Remove this reason; there may be others."""
        reasons = self._reasons.get(tp)
        if reasons is not None:
            reasons.discard(reason)
            if not reasons:
                del self._reasons[tp]
        self.room.set()

    def reasons(self, tp: TopicPartition) -> frozenset[Reason]:
        return frozenset(self._reasons.get(tp, ()))

    def forget(self, tp: TopicPartition) -> None:
        """Its assignment has changed: remove all reasons but a user's."""
        self.open(tp, "full")
        self.open(tp, "unreadable")
        self.open(tp, "early")

    def check_full(self, partition: Partition) -> None:
        """Stop reading this partition if it is full now. Called after each poll that returned records of it."""
        if self._is_over(partition, 1.0):
            self.close(partition.tp, "full")
            self.room.clear()

    def is_full(self, tp: TopicPartition) -> bool:
        """Whether this partition is not read because its share is full."""
        return "full" in self._reasons.get(tp, ())

    def progress(self) -> None:
        """Executors have made progress: read partitions again that are no longer full."""
        for tp in tuple(self._reasons):
            if self.is_full(tp) and ((full := self._partitions.get(tp)) is None or not self._is_over(full, 0.5)):
                self.open(tp, "full")

    def wanted(self) -> Collection[TopicPartition] | None:
        """The partitions to poll: None for all of them; empty if none may be read."""
        self.progress()  # executors report it only at the end of a lane, and their next record may take long
        closed = self._reasons
        if not closed or closed.keys().isdisjoint(self._partitions):
            return None
        return [tp for tp in self._partitions if tp not in closed] or NO_PARTITIONS

    def _is_over(self, partition: Partition, share_of_bound: float) -> bool:
        partition.polled_bytes.release(partition.ledger.oldest)
        count = max(len(self._partitions), 1)
        records = max(self._settings.max_pending_records // count, self._settings.max_poll_records)
        size = self._settings.max_pending_bytes / count
        return (
            partition.ledger.pending >= records * share_of_bound
            or partition.polled_bytes.total >= size * share_of_bound
        )
