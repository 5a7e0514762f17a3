"""The state of the app at one moment, for all viewers of the page."""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from evkafka.runtime.dead_letters.retry_topics import retry_consumer_name
from evkafka.runtime.status import AppStatus, ConsumerStatus, PartitionStatus
from evkafka.serde.safe_text import one_line
from evkafka.ui.history import total_lag
from evkafka.ui.models import (
    AttemptRow,
    ConsumerRow,
    CurrentFigures,
    EventRow,
    OpenDeadLetters,
    PageSnapshot,
    PartitionRow,
)
from evkafka.ui.operated_app import EndpointName, OperatedApp, endpoint_names
from evkafka.ui.quantile import quantile
from evkafka.ui.statistics import EventTypeStatistics, Statistics
from evkafka.ui.status_text import consumer_state, partition_state, problems

T = TypeVar("T")

EVENT_TYPES_SHOWN = 500
ERRORS_SHOWN = 40
PROBLEMS_SHOWN = 50
PARTITIONS_SHOWN = 1000
ATTEMPTS_SHOWN = 200
MIN_SHOWN = 20
"""At least so many of each consumer, whatever the number of consumers.

The limits exist because a snapshot is created in the event loop, and sent to every viewer once a second.
"""

SENTENCE_CHARACTERS = 500
REASONS_SHOWN = 10


def snapshot(app: OperatedApp, statistics: Statistics, open_dead_letters: OpenDeadLetters) -> PageSnapshot:
    """Create a snapshot without asking the cluster."""
    status = app.status()
    ready, live = app.health.ready(status), app.health.live(status)
    now_ms = int(time.time() * 1000)
    notes = {check.name: check.notes for check in ready.checks if check.kind == "consumer"}
    reasons: dict[str, list[str]] = {}
    for check in (*live.checks, *ready.checks):
        if check.kind == "consumer":
            known = reasons.setdefault(check.name, [])
            known += [reason for reason in check.reasons if reason not in known]
    rows = [
        _consumer(
            consumer, statistics, now_ms, reasons.get(consumer.name, []), list(notes.get(consumer.name, ())), status
        )
        for consumer in status.consumers
    ]
    lag = total_lag(status.consumers)
    statistics.sample(status)
    return PageSnapshot(
        at_ms=now_ms,
        now=_current_figures(statistics, status, rows, lag),
        history=statistics.history(),
        problems=problems(status, ready, live, rows, open_dead_letters=open_dead_letters["open"])[:PROBLEMS_SHOWN],
        consumers=rows,
        events=_events(app, statistics),
        unmatched=statistics.unmatched(),
        errors=statistics.errors()[:ERRORS_SHOWN],
        letters=open_dead_letters,
    )


def _current_figures(
    statistics: Statistics, status: AppStatus, rows: list[ConsumerRow], lag: int | None
) -> CurrentFigures:
    handled_per_s, failed_per_s = statistics.rates()
    durations_s = statistics.durations_s()
    attempts = [attempt for consumer in status.consumers for attempt in consumer.attempts]
    return CurrentFigures(
        handled_per_s=handled_per_s,
        handled=statistics.handled,
        failed_per_s=failed_per_s,
        failed=statistics.failed,
        lag=lag,
        lag_s=max((row["lag_s"] for row in rows if row["lag_s"] is not None), default=None),
        p50_s=quantile(durations_s, 0.5),
        p95_s=quantile(durations_s, 0.95),
        in_flight=len(attempts),
        oldest_s=max((attempt.age_s for attempt in attempts), default=None),
        dead_lettered=statistics.dead_lettered,
    )


# ---------------------------------------------------------------------------- consumers


def _consumer(
    consumer: ConsumerStatus,
    statistics: Statistics,
    now_ms: int,
    reasons: list[str],
    notes: list[str],
    status: AppStatus,
) -> ConsumerRow:
    state, kind = consumer_state(consumer, ended=consumer.name in status.ended)
    partitions = _most_important(PARTITIONS_SHOWN, status, consumer.partitions, key=_importance)
    attempts = _most_important(ATTEMPTS_SHOWN, status, consumer.attempts, key=lambda attempt: attempt.age_s)
    lags = [partition.lag for partition in consumer.partitions if partition.lag is not None]
    ages_s = [age_s for partition in consumer.partitions if (age_s := _oldest_age_s(partition, now_ms)) is not None]
    if (hidden := len(consumer.partitions) - len(partitions)) > 0:
        notes = [*notes[: REASONS_SHOWN - 1], f"{hidden:,} more partitions are not shown; the metrics have all of them"]
    return ConsumerRow(
        name=consumer.name,
        group_id=consumer.group_id,
        topics=list(consumer.topics[:PARTITIONS_SHOWN]),
        state=state,
        kind=kind,
        reasons=_sentences(reasons),
        notes=_sentences(notes),
        lag=sum(lags) if lags else None,
        lag_s=max(ages_s, default=None),
        handled_per_s=sum(
            statistics.rate_of(counts) for (name, _), counts in statistics.event_types.items() if name == consumer.name
        ),
        partitions=[_partition(partition, now_ms) for partition in partitions],
        rebuilds=consumer.rebuilds,
        attempts=[
            AttemptRow(
                topic=attempt.topic,
                partition=attempt.partition,
                offset=attempt.offset,
                event_type=attempt.event_type,
                endpoint=attempt.endpoint,
                attempt=attempt.attempt,
                age_s=attempt.age_s,
                overran=attempt.overran,
            )
            for attempt in attempts
        ],
    )


def _most_important(shown: int, status: AppStatus, items: Sequence[T], *, key: Callable[[T], Any]) -> Sequence[T]:
    """All items in their order; the most important ones if they are more than this consumer's share of `shown`."""
    most = max(MIN_SHOWN, shown // max(len(status.consumers), 1))
    return items if len(items) <= most else heapq.nlargest(most, items, key=key)


def _importance(partition: PartitionStatus) -> tuple[bool, bool, int]:
    return partition.held, bool(partition.retrying or partition.paused or partition.full), partition.lag or 0


def _sentences(sentences: Sequence[str]) -> list[str]:
    """Escape and cut the sentences: they may quote an error, which may quote a record."""
    return [one_line(sentence, SENTENCE_CHARACTERS) for sentence in sentences[:REASONS_SHOWN]]


def _oldest_age_s(partition: PartitionStatus, now_ms: int) -> float | None:
    at_ms = partition.oldest_timestamp_ms
    if at_ms is None or at_ms < 0 or not (partition.oldest is not None or partition.lag):
        return None
    return max(now_ms - at_ms, 0) / 1000


def _partition(partition: PartitionStatus, now_ms: int) -> PartitionRow:
    state, kind, why = partition_state(partition)
    return PartitionRow(
        topic=partition.topic,
        partition=partition.partition,
        position=partition.position,
        committed=partition.committed,
        end=partition.end,
        high_watermark=partition.high_watermark,
        lag=partition.lag,
        pending=partition.pending,
        oldest=partition.oldest,
        oldest_age_s=_oldest_age_s(partition, now_ms),
        paused=partition.paused,
        state=state,
        kind=kind,
        why=why,
    )


# ---------------------------------------------------------------------------- event types


def _events(app: OperatedApp, statistics: Statistics) -> list[EventRow]:
    """A row for each declared endpoint, with its statistics.

    Event types that no endpoint declares belong to the default endpoint, which took them.
    """
    rows = []
    for declared in app.consumers.values():
        endpoints = endpoint_names(declared)
        named = {endpoint.event_type for endpoint in endpoints}
        consumers = (declared.name, retry_consumer_name(declared.name))  # the second one reads the retry topics
        all_counts = [
            (event_type, counts) for (name, event_type), counts in statistics.event_types.items() if name in consumers
        ]
        for endpoint in endpoints:
            wanted = endpoint.event_type
            own = [counts for name, counts in all_counts if name == wanted or (wanted is None and name not in named)]
            rows.append(_event(declared.name, endpoint, own, statistics))
    return rows[:EVENT_TYPES_SHOWN]


def _event(
    consumer: str, endpoint: EndpointName, counts: list[EventTypeStatistics], statistics: Statistics
) -> EventRow:
    durations_s = sorted(s for event_type in counts for s in event_type.durations_s)
    failed = [event_type for event_type in counts if event_type.error_at_ms is not None]
    last = max(failed, key=lambda event_type: event_type.error_at_ms or 0, default=EventTypeStatistics())
    return EventRow(
        consumer=consumer,
        event_type=endpoint.event_type,
        endpoint=endpoint.name,
        handled=sum(event_type.handled for event_type in counts),
        handled_per_s=sum(statistics.rate_of(event_type) for event_type in counts),
        p50_s=quantile(durations_s, 0.5),
        p95_s=quantile(durations_s, 0.95),
        p99_s=quantile(durations_s, 0.99),
        failed=sum(event_type.failed for event_type in counts),
        last_error=last.error,
        last_error_at_ms=last.error_at_ms,
    )
