"""Flow control: which partitions the next poll reads. The bound is on what is read and not committable.

`pause()` of the client is not used: it throws away what was fetched (16 times the traffic for one slow partition).
The argument list of the poll does the same and keeps the buffers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping

from evkafka.ports import TopicPartition
from evkafka.runtime.partition import Partition
from evkafka.settings import ConsumerSettings

NONE: Collection[TopicPartition] = ()


class Flow:
    """Decides by a share per partition, with hysteresis: full at the share, reading again at half of it.

    Attributes:
        room: set whenever a full partition may have room again; the poll loop waits for it.
    """

    def __init__(self, settings: ConsumerSettings, partitions: Mapping[TopicPartition, Partition]) -> None:
        self._partitions = partitions
        self._settings = settings
        self._full: set[TopicPartition] = set()
        self._held: set[TopicPartition] = set()
        self.room = asyncio.Event()

    def forget(self) -> None:
        """The assignment changed: what was full or held is no longer so."""
        self._full.clear()
        self._held.clear()
        self.room.set()

    def hold(self, tp: TopicPartition) -> None:
        """Do not read this partition until it is released."""
        self._held.add(tp)

    def release(self, tp: TopicPartition) -> None:
        self._held.discard(tp)
        self.room.set()

    def took(self, partition: Partition) -> None:
        """Records of this partition were just read."""
        if self._is_over(partition, 1.0):
            self._full.add(partition.tp)
            self.room.clear()

    def is_full(self, tp: TopicPartition) -> bool:
        """Whether this partition is left out of the poll for what it holds."""
        return tp in self._full

    def progress(self) -> None:
        """Executors got on: a full partition may have room again."""
        if not self._full:
            return
        for tp in tuple(self._full):
            partition = self._partitions.get(tp)
            if partition is None or not self._is_over(partition, 0.5):
                self._full.discard(tp)
                self.room.set()

    def wanted(self) -> Collection[TopicPartition] | None:
        """The partitions to poll: None for all, none of them where there is no room anywhere."""
        self.progress()  # an executor says so at its lane's end only, and its next record may take long
        if not self._full and not self._held:
            return None
        closed = self._full | self._held
        return [tp for tp in self._partitions if tp not in closed] or NONE

    def _is_over(self, partition: Partition, share_of_bound: float) -> bool:
        partition.release_bytes()
        count = max(len(self._partitions), 1)
        records = max(self._settings.max_pending_records // count, self._settings.max_poll_records)
        size = self._settings.max_pending_bytes / count
        return partition.ledger.pending >= records * share_of_bound or partition.bytes >= size * share_of_bound
