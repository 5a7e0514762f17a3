"""Which record holds up each partition, and since when.

Offsets are committed in order, and what is read and not committable is bounded: a few records that fail again and again
end by stopping the reading of their partition, with all that could be handled behind them.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping

from evkafka.records import TopicPartition
from evkafka.runtime.flow_control import FlowControl
from evkafka.runtime.partition import Partition

logger = logging.getLogger("evkafka.runtime")

SAY_AGAIN_S = 60.0


class BlockingRecords:
    """One consumer's. `look` is called once a second."""

    def __init__(self, consumer: str, partitions: Mapping[TopicPartition, Partition], flow: FlowControl) -> None:
        self._consumer = consumer
        self._partitions = partitions
        self._flow = flow
        self._since: dict[Partition, tuple[int, float]] = {}  # the oldest unfinished offset, and since when it is that
        self._said_at_s = float("-inf")

    def look(self, now_s: float) -> None:
        since = self._since
        self._since = {
            partition: known if (known := since.get(partition)) is not None and known[0] == oldest else (oldest, now_s)
            for partition in self._partitions.values()
            if (oldest := partition.ledger.oldest) is not None
        }
        if now_s - self._said_at_s >= SAY_AGAIN_S and (stuck := list(self._stuck())):
            self._said_at_s = now_s
            self._say(stuck, now_s)

    def since_s(self, partition: Partition) -> float | None:
        """When its oldest unfinished record became that, on the consumer's clock; None without one."""
        known = self._since.get(partition)
        return known[1] if known is not None and known[0] == partition.ledger.oldest else None

    def _stuck(self) -> Iterable[tuple[Partition, int]]:
        """Partitions that are full because a record fails, and how many of its attempts have failed."""
        for tp, partition in self._partitions.items():
            if self._flow.is_full(tp) and (failed := partition.failed_attempts()):
                yield partition, failed

    def _say(self, stuck: list[tuple[Partition, int]], now_s: float) -> None:
        partition, failed = stuck[0]
        topic, number = partition.tp
        since_s = self.since_s(partition)
        logger.warning(
            "consumer %s reads no further in %s[%d]: %d records wait for @%d, which is unfinished for %.0f s, with %d"
            " failed attempts%s. What is behind it cannot be committed: give it an end (`max_attempts` with `then`, or"
            " `retry_topics`), or more room (`max_pending_records`)",
            self._consumer,
            topic,
            number,
            partition.ledger.pending - 1,
            partition.ledger.oldest,
            now_s - since_s if since_s is not None else 0.0,
            failed,
            f"; so do {len(stuck) - 1} other partitions" if len(stuck) > 1 else "",
        )
