"""Which record is the oldest unfinished one of each partition, and since when.

What is read and not finished is limited, and so is what a commit can say about records that are finished after the
oldest unfinished one. So records that fail again and again may finally stop the reading of their partition, and with it
all later records that could be handled.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping

from evkafka.records import TopicPartition
from evkafka.runtime.flow_control import FlowControl
from evkafka.runtime.partition import Partition

logger = logging.getLogger("evkafka.runtime")

LOG_AGAIN_S = 60.0


class BlockingRecords:
    """The blocking records of one consumer. `update_and_log_stuck_partitions` is called once a second."""

    def __init__(self, consumer: str, partitions: Mapping[TopicPartition, Partition], flow: FlowControl) -> None:
        self._consumer = consumer
        self._partitions = partitions
        self._flow = flow
        # The oldest unfinished offset, and since when it is the oldest.
        self._since: dict[Partition, tuple[int, float]] = {}
        self._logged_at_s = float("-inf")

    def update_and_log_stuck_partitions(self, now_s: float) -> None:
        since = self._since
        self._since = {
            partition: known if (known := since.get(partition)) is not None and known[0] == oldest else (oldest, now_s)
            for partition in self._partitions.values()
            if (oldest := partition.ledger.oldest) is not None
        }
        if now_s - self._logged_at_s >= LOG_AGAIN_S and (stuck := list(self._stuck_partitions())):
            self._logged_at_s = now_s
            self._log_stuck_partitions(stuck, now_s)

    def oldest_record_became_oldest_at_s(self, partition: Partition) -> float | None:
        """When its oldest unfinished record became the oldest, on the consumer's clock; None without one."""
        known = self._since.get(partition)
        return known[1] if known is not None and known[0] == partition.ledger.oldest else None

    def _stuck_partitions(self) -> Iterable[tuple[Partition, str, str]]:
        """Partitions that have stopped because of a record, with what they are full of and what bounds it."""
        for tp, partition in self._partitions.items():
            ledger, reasons = partition.ledger, self._flow.not_read_reasons(tp)
            if "metadata" in reasons and (oldest := ledger.oldest) is not None:
                full_of = (
                    f"{partition.done_ahead_count} offsets finished after offset {oldest} do not fit into the metadata"
                    " of a commit"
                )
                yield partition, full_of, "`commit_metadata_max_bytes`, and the brokers' offset.metadata.max.bytes"
            elif "full" in reasons and partition.oldest_record_failed_attempts():
                yield (
                    partition,
                    f"{ledger.unfinished_count} records are unfinished",
                    "`max_pending_records`, `max_pending_bytes` or `commit_metadata_max_bytes`",
                )

    def _log_stuck_partitions(self, stuck: list[tuple[Partition, str, str]], now_s: float) -> None:
        partition, full_of, bound = stuck[0]
        since_s = self.oldest_record_became_oldest_at_s(partition)
        logger.warning(
            "consumer %s has stopped reading %s[%d]: %s. The oldest unfinished record is at offset %d, unfinished"
            " for %.0f s (failed attempts: %d)%s. Limit its attempts (`max_attempts` with `then` or `retry_topics`),"
            " or raise %s",
            self._consumer,
            *partition.tp,
            full_of,
            partition.ledger.oldest,
            now_s - since_s if since_s is not None else 0.0,
            partition.oldest_record_failed_attempts(),
            f"; {len(stuck) - 1} other partitions have stopped in the same way" if len(stuck) > 1 else "",
            bound,
        )
