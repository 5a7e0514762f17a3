"""One moment of the app, for everybody who looks."""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from evkafka.runtime.dead_letters.retry_topics import retry_consumer_name
from evkafka.runtime.status import AppStatus, ConsumerStatus, PartitionStatus
from evkafka.serde.safe_text import one_line
from evkafka.ui.app_view import Endpoint, OperatedApp, endpoints_of
from evkafka.ui.models import AttemptRow, ConsumerRow, EventRow, Now, OpenLetters, PartitionRow, Snapshot
from evkafka.ui.statistics import EventTypeStatistics, Statistics, quantile
from evkafka.ui.status_text import consumer_state, partition_state, problems

T = TypeVar("T")

KINDS_SHOWN = 500
ERRORS_SHOWN = 40
PROBLEMS_SHOWN = 50
PARTITIONS_SHOWN = 1000
ATTEMPTS_SHOWN = 200
LEAST_SHOWN = 20
"""Of each consumer, however many there are. A snapshot is made in the loop, and goes to all who look, once a second."""

SENTENCE_CHARACTERS = 500
REASONS_SHOWN = 10


def snapshot(app: OperatedApp, book: Statistics, letters: OpenLetters) -> Snapshot:
    """Looks only: nothing is asked of the cluster."""
    status = app.status()
    ready, live = app.health.ready(status), app.health.live(status)
    now_ms = int(time.time() * 1000)
    notes = {check.name: check.notes for check in ready.checks if check.kind == "consumer"}
    reasons: dict[str, list[str]] = {}
    for check in (*live.checks, *ready.checks):
        if check.kind == "consumer":
            told = reasons.setdefault(check.name, [])
            told += [reason for reason in check.reasons if reason not in told]
    rows = [
        _consumer(one, book, now_ms, reasons.get(one.name, []), list(notes.get(one.name, ())), status)
        for one in status.consumers
    ]
    lag = total_lag(status)
    book.note_lag(lag)
    return Snapshot(
        at_ms=now_ms,
        now=_now(book, status, rows, lag),
        history=book.history(),
        problems=problems(status, ready, live, rows, open_letters=letters["open"])[:PROBLEMS_SHOWN],
        consumers=rows,
        events=_events(app, book),
        unmatched=book.unmatched(),
        errors=book.errors()[:ERRORS_SHOWN],
        letters=letters,
    )


def total_lag(status: AppStatus) -> int | None:
    """Of all partitions whose lag is known; None where none is."""
    known = [one.lag for consumer in status.consumers for one in consumer.partitions if one.lag is not None]
    return sum(known) if known else None


def _now(book: Statistics, status: AppStatus, rows: list[ConsumerRow], lag: int | None) -> Now:
    handled_per_s, failed_per_s = book.rates()
    lengths_s = book.lengths_s()
    attempts = [attempt for consumer in status.consumers for attempt in consumer.attempts]
    return Now(
        handled_per_s=handled_per_s,
        handled=book.handled,
        failed_per_s=failed_per_s,
        failed=book.failed,
        lag=lag,
        lag_s=max((row["lag_s"] for row in rows if row["lag_s"] is not None), default=None),
        p50_s=quantile(lengths_s, 0.5),
        p95_s=quantile(lengths_s, 0.95),
        in_flight=len(attempts),
        oldest_s=max((attempt.age_s for attempt in attempts), default=None),
        dead_lettered=book.dead_lettered,
    )


# ---------------------------------------------------------------------------- consumers


def _consumer(
    one: ConsumerStatus, book: Statistics, now_ms: int, reasons: list[str], notes: list[str], status: AppStatus
) -> ConsumerRow:
    state, kind = consumer_state(one, ended=one.name in status.ended)
    partitions = _share(PARTITIONS_SHOWN, status, one.partitions, key=_weight)
    attempts = _share(ATTEMPTS_SHOWN, status, one.attempts, key=lambda attempt: attempt.age_s)
    lags = [partition.lag for partition in one.partitions if partition.lag is not None]
    ages_s = [age_s for partition in one.partitions if (age_s := _oldest_age_s(partition, now_ms)) is not None]
    if (hidden := len(one.partitions) - len(partitions)) > 0:
        notes = [*notes[: REASONS_SHOWN - 1], f"{hidden:,} more partitions are not shown; the metrics have all of them"]
    return ConsumerRow(
        name=one.name,
        group_id=one.group_id,
        topics=list(one.topics[:PARTITIONS_SHOWN]),
        state=state,
        kind=kind,
        reasons=_sentences(reasons),
        notes=_sentences(notes),
        lag=sum(lags) if lags else None,
        lag_s=max(ages_s, default=None),
        handled_per_s=sum(book.rate_of(of) for (name, _), of in book.kinds.items() if name == one.name),
        partitions=[_partition(partition, now_ms) for partition in partitions],
        rebuilds=one.rebuilds,
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


def _share(shown: int, status: AppStatus, all_of_them: Sequence[T], *, key: Callable[[T], Any]) -> Sequence[T]:
    """As many as this consumer may show, in their order; of more, those that matter most."""
    most = max(LEAST_SHOWN, shown // max(len(status.consumers), 1))
    return all_of_them if len(all_of_them) <= most else heapq.nlargest(most, all_of_them, key=key)


def _weight(one: PartitionStatus) -> tuple[bool, bool, int]:
    return one.held, bool(one.retrying or one.paused or one.full), one.lag or 0


def _sentences(told: Sequence[str]) -> list[str]:
    """They may quote the text of an error, which may quote a record."""
    return [one_line(sentence, SENTENCE_CHARACTERS) for sentence in told[:REASONS_SHOWN]]


def _oldest_age_s(one: PartitionStatus, now_ms: int) -> float | None:
    at_ms = one.oldest_timestamp_ms
    known = at_ms is not None and at_ms >= 0 and (one.oldest is not None or one.lag)
    return max(now_ms - at_ms, 0) / 1000 if known else None  # type: ignore[operator]


def _partition(one: PartitionStatus, now_ms: int) -> PartitionRow:
    state, kind, why = partition_state(one)
    return PartitionRow(
        topic=one.topic,
        partition=one.partition,
        position=one.position,
        committed=one.committed,
        end=one.end,
        high_watermark=one.high_watermark,
        lag=one.lag,
        pending=one.pending,
        oldest=one.oldest,
        oldest_age_s=_oldest_age_s(one, now_ms),
        paused=one.paused,
        state=state,
        kind=kind,
        why=why,
    )


# ---------------------------------------------------------------------------- event types


def _events(app: OperatedApp, book: Statistics) -> list[EventRow]:
    """A row for each endpoint: what is declared, with what happened. Types that no endpoint names went to the one
    that takes the rest."""
    rows = []
    for declared in app.consumers.values():
        endpoints = endpoints_of(declared)
        named = {one.event_type for one in endpoints}
        names = (declared.name, retry_consumer_name(declared.name))  # also what was tried again out of retry topics
        here = [(event_type, kind) for (name, event_type), kind in book.kinds.items() if name in names]
        for endpoint in endpoints:
            wanted = endpoint.event_type
            kinds = [of for type_, of in here if type_ == wanted or (wanted is None and type_ not in named)]
            rows.append(_event(declared.name, endpoint, kinds, book))
    return rows[:KINDS_SHOWN]


def _event(consumer: str, endpoint: Endpoint, kinds: list[EventTypeStatistics], book: Statistics) -> EventRow:
    lengths_s = sorted(s for kind in kinds for s in kind.lengths_s)
    failed = [kind for kind in kinds if kind.error_at_ms is not None]
    last = max(failed, key=lambda kind: kind.error_at_ms or 0, default=EventTypeStatistics())
    return EventRow(
        consumer=consumer,
        event_type=endpoint.event_type,
        endpoint=endpoint.name,
        handled=sum(kind.handled for kind in kinds),
        handled_per_s=sum(book.rate_of(kind) for kind in kinds),
        p50_s=quantile(lengths_s, 0.5),
        p95_s=quantile(lengths_s, 0.95),
        p99_s=quantile(lengths_s, 0.99),
        failed=sum(kind.failed for kind in kinds),
        last_error=last.error,
        last_error_at_ms=last.error_at_ms,
    )
