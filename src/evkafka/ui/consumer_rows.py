"""The rows of consumers and their partitions in a snapshot, the worst first."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from evkafka.observe.health import Health, HealthChecks
from evkafka.runtime.status import AppStatus, AttemptStatus, ConsumerStatus, PartitionStatus
from evkafka.serde.safe_text import escape_line
from evkafka.ui.history import total_lag
from evkafka.ui.models import AttemptRow, ConsumerRow, Kind, PartitionRow
from evkafka.ui.statistics import Statistics
from evkafka.ui.status_text import (
    consumer_state,
    oldest_record_failures_by_partition,
    partition_state_and_reasons,
    transactions_text,
)

T = TypeVar("T")

PARTITIONS_SHOWN = 1000
ATTEMPTS_SHOWN = 200
MIN_SHOWN = 20
"""At least so many of each consumer, whatever the number of consumers.

The limits exist because a snapshot is created in the event loop, and sent to every viewer once a second.
"""

SENTENCE_CHARACTERS = 500
REASONS_SHOWN = 10

SEVERITY: dict[Kind, int] = {"bad": 0, "warn": 1, "": 2, "good": 2}


@dataclass(frozen=True, slots=True)
class ConsumerRows:
    """Creates the rows of one snapshot."""

    status: AppStatus
    health: HealthChecks
    statistics: Statistics

    def create(self, ready: Health, live: Health) -> list[ConsumerRow]:
        reasons: dict[str, list[str]] = {}
        for check in (*live.checks, *ready.checks):
            if check.kind == "consumer":
                known = reasons.setdefault(check.name, [])
                known += [reason for reason in check.reasons if reason not in known]
        rows = [self._create_row(consumer, reasons.get(consumer.name, [])) for consumer in self.status.consumers]
        return sorted(rows, key=lambda row: SEVERITY[row["kind"]])

    def _create_row(self, consumer: ConsumerStatus, reasons: list[str]) -> ConsumerRow:
        state, kind = consumer_state(consumer, ended=consumer.name in self.status.ended)
        partitions = self._limit_to_most_important(PARTITIONS_SHOWN, consumer.partitions, key=_importance_key)
        attempts = self._limit_to_most_important(ATTEMPTS_SHOWN, consumer.attempts, key=lambda attempt: attempt.age_s)
        ages_s = [
            age_s for one in consumer.partitions if (age_s := _partition_oldest_age_s(one, consumer.now_ms)) is not None
        ]
        failed = oldest_record_failures_by_partition(consumer)
        rows = [
            self._create_partition_row(one, failed[one.topic, one.partition], consumer.now_ms) for one in partitions
        ]
        notes = self.health.consumer_notes(consumer)
        if (hidden := len(consumer.partitions) - len(partitions)) > 0:
            notes = *notes[: REASONS_SHOWN - 1], f"{hidden:,} more partitions are in the metrics only"
        epoch = consumer.group_epoch
        return ConsumerRow(
            name=consumer.name,
            group_id=consumer.group_id,
            group_protocol=epoch.protocol if epoch is not None else None,
            group_epoch=epoch.number if epoch is not None else None,
            transactions=transactions_text(consumer.transactions) if consumer.transactions is not None else None,
            topics=list(consumer.topics[:PARTITIONS_SHOWN]),
            state=state,
            kind=kind,
            reasons=_cut_and_escape_control_characters(reasons),
            notes=_cut_and_escape_control_characters(notes),
            lag=total_lag([consumer]),
            lag_s=max(ages_s, default=None),
            handled_per_s=self.statistics.rate_of_consumer(consumer.name),
            partitions=sorted(rows, key=_worst_partition_first_key),
            rebuilds=consumer.rebuilds,
            attempts=[_create_attempt_row(attempt) for attempt in attempts],
        )

    def _limit_to_most_important(self, shown: int, items: Sequence[T], *, key: Callable[[T], Any]) -> Sequence[T]:
        """All items in their order; the most important ones if they are more than this consumer's share of `shown`."""
        most = max(MIN_SHOWN, shown // max(len(self.status.consumers), 1))
        return items if len(items) <= most else heapq.nlargest(most, items, key=key)

    def _create_partition_row(self, partition: PartitionStatus, failed: int, now_ms: int) -> PartitionRow:
        state, kind, why = partition_state_and_reasons(partition, failed)
        error = None
        if failed and partition.oldest is not None:
            error = self.statistics.error_id_of_record(partition.topic, partition.partition, partition.oldest)
        return PartitionRow(
            topic=partition.topic,
            partition=partition.partition,
            position=partition.position,
            committed=partition.committed,
            end=partition.end,
            high_watermark=partition.high_watermark,
            lag=partition.lag,
            pending=partition.pending,
            done_ahead=partition.done_ahead,
            oldest=partition.oldest,
            oldest_age_s=_partition_oldest_age_s(partition, now_ms),
            stuck_s=partition.oldest_age_s,
            failed_attempts=failed,
            error=error,
            paused=partition.paused,
            state=state,
            kind=kind,
            why=why,
        )


def _importance_key(partition: PartitionStatus) -> tuple[bool, bool, float, int]:
    is_full = partition.full or partition.metadata_full
    waits = bool(partition.retrying or partition.paused or is_full or partition.unwritten)
    return partition.held, waits, partition.oldest_age_s or 0.0, partition.lag or 0


def _worst_partition_first_key(row: PartitionRow) -> tuple[int, float, str, int]:
    """The worst first. Only of bad ones the longest first: the others would change their places all the time."""
    stuck_s = (row["stuck_s"] or 0.0) if row["kind"] == "bad" else 0.0
    return SEVERITY[row["kind"]], -stuck_s, row["topic"], row["partition"]


def _partition_oldest_age_s(partition: PartitionStatus, now_ms: int) -> float | None:
    at_ms = partition.oldest_timestamp_ms
    if at_ms is None or at_ms < 0 or not (partition.oldest is not None or partition.lag):
        return None
    return max(now_ms - at_ms, 0) / 1000


def _cut_and_escape_control_characters(sentences: Sequence[str]) -> list[str]:
    """Escape and cut the sentences: they may quote an error, which may quote a record."""
    return [escape_line(sentence, SENTENCE_CHARACTERS) for sentence in sentences[:REASONS_SHOWN]]


def _create_attempt_row(attempt: AttemptStatus) -> AttemptRow:
    return AttemptRow(
        topic=attempt.topic,
        partition=attempt.partition,
        offset=attempt.offset,
        event_type=attempt.event_type,
        endpoint=attempt.endpoint,
        attempt=attempt.attempt,
        age_s=attempt.age_s,
        overran=attempt.overran,
    )
