"""Counts an app's events and exposes them to Prometheus. Counters and histograms come from events, in batches; gauges
are read from the app's status at each scrape, so that the series of a partition end when it is revoked."""

from __future__ import annotations

import time
from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)

from evkafka.runtime.failure_cause import failure_name
from evkafka.runtime.status import AppStatus, ConsumerStatus, PartitionStatus, TransactionStatus
from evkafka.telemetry import (
    AttemptFailed,
    CommitFailed,
    ConsumerLost,
    ConsumerStarted,
    EndpointBlocked,
    EventPublished,
    OffsetsCommitted,
    PartitionsAssigned,
    PartitionsRevoked,
    RecordsLost,
    RecordsProcessed,
    RecordsReceived,
    RecordsUnmatched,
    Telemetry,
    TransactionEnded,
)

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Upper bounds of the buckets for the durations of attempts, commits and sends."""

BYTES = (64.0, 256.0, 1024.0, 4096.0, 16384.0, 65536.0, 262144.0, 1048576.0, 4194304.0)
"""The same for the sizes of records, which are seldom larger than a megabyte."""

REBALANCES = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0)
"""The same for the durations of rebalances, which take as long as the slowest member."""

Labels = tuple[str, ...]

CONSUMER = ("consumer",)
CONSUMER_TOPIC = ("consumer", "topic")
PARTITION = ("consumer", "topic", "partition")
EVENT = ("consumer", "topic", "event")


class Histogram:
    """Counts of values up to each bound."""

    __slots__ = ("_bounds", "_counts", "count", "sum")

    def __init__(self, bounds: Sequence[float] = SECONDS) -> None:
        self._bounds = bounds
        self._counts = [0] * len(bounds)  # cumulative: values up to the bound, all smaller ones included
        self.count = 0
        self.sum = 0.0

    def add_values(self, values: Sequence[float]) -> None:
        """Count these values, at least one."""
        bounds, counts, added = self._bounds, self._counts, len(values)
        self.count += added
        self.sum += sum(values)
        first = bisect_left(bounds, min(values))
        if bisect_left(bounds, max(values)) == first:  # the usual case: all in one bucket, no need to sort
            for index in range(first, len(bounds)):
                counts[index] += added
            return
        values = sorted(values)
        for index, bound in enumerate(bounds):
            counts[index] += bisect_right(values, bound)

    def copy(self) -> Histogram:
        other = Histogram(self._bounds)
        other._counts, other.count, other.sum = self._counts.copy(), self.count, self.sum
        return other

    def buckets(self) -> list[tuple[str, float]]:
        """(upper bound, number of values up to it), as prometheus-client takes them."""
        named = [(repr(float(bound)), float(count)) for bound, count in zip(self._bounds, self._counts, strict=True)]
        return [*named, ("+Inf", float(self.count))]


@dataclass(frozen=True, slots=True)
class MetricValues:
    """The counters and histograms of one app, by labels."""

    processed: Counter[Labels] = field(default_factory=Counter)
    durations: defaultdict[Labels, Histogram] = field(default_factory=lambda: defaultdict(Histogram))
    sizes: defaultdict[Labels, Histogram] = field(default_factory=lambda: defaultdict(lambda: Histogram(BYTES)))
    exceptions: Counter[Labels] = field(default_factory=Counter)
    unmatched: Counter[Labels] = field(default_factory=Counter)
    commits: Counter[Labels] = field(default_factory=Counter)
    commit_durations: defaultdict[Labels, Histogram] = field(default_factory=lambda: defaultdict(Histogram))
    transactions: Counter[Labels] = field(default_factory=Counter)
    transaction_durations: defaultdict[Labels, Histogram] = field(default_factory=lambda: defaultdict(Histogram))
    rebalances: Counter[Labels] = field(default_factory=Counter)
    rebalance_durations: defaultdict[Labels, Histogram] = field(
        default_factory=lambda: defaultdict(lambda: Histogram(REBALANCES))
    )
    rebuilds: Counter[Labels] = field(default_factory=Counter)
    blocked: Counter[Labels] = field(default_factory=Counter)
    published: Counter[Labels] = field(default_factory=Counter)
    publish_durations: defaultdict[Labels, Histogram] = field(default_factory=lambda: defaultdict(Histogram))

    def copy(self) -> MetricValues:
        """A copy that later events do not change."""
        return MetricValues(*(_copied_counts_or_histograms(getattr(self, one.name)) for one in fields(self)))


def _copied_counts_or_histograms(values: Any) -> Any:
    if isinstance(values, Counter):
        return Counter(values)
    return defaultdict(Histogram, {labels: histogram.copy() for labels, histogram in values.items()})


class AppCollector:
    """Counts one app's events, and takes a snapshot for each scrape."""

    def __init__(self, telemetry: Telemetry, status: Callable[[], AppStatus]) -> None:
        self._status = status
        self._values = MetricValues()
        self._unassigned_since_s: dict[str, float] = {}  # by consumer, while it has no assignment
        listen = telemetry.listen
        listen(RecordsReceived, self._add_record_sizes)
        listen(RecordsProcessed, self._count_processed_records)
        listen(RecordsLost, self._count_lost_records)
        listen(RecordsUnmatched, self._count_unmatched_records)
        listen(AttemptFailed, self._count_failed_attempt)
        listen(OffsetsCommitted, self._count_commit)
        listen(CommitFailed, self._count_failed_commit)
        listen(TransactionEnded, self._count_transaction)
        listen(ConsumerStarted, self._note_consumer_unassigned_since)
        listen(PartitionsRevoked, self._note_consumer_unassigned_since)
        listen(PartitionsAssigned, self._count_rebalance)
        listen(ConsumerLost, self._count_consumer_restart)
        listen(EndpointBlocked, self._count_blocked_loop)
        listen(EventPublished, self._count_published_event)

    # ------------------------------------------------------------------ events

    def _add_record_sizes(self, event: RecordsReceived) -> None:
        if event.sizes:
            self._values.sizes[event.consumer, event.topic].add_values(event.sizes)

    def _count_processed_records(self, event: RecordsProcessed) -> None:
        consumer, topic = event.consumer, event.topic
        for (event_type, status), durations_s in event.durations_s.items():
            self._values.processed[consumer, topic, event_type, status] += len(durations_s)
            self._values.durations[consumer, topic, event_type].add_values(durations_s)

    def _count_lost_records(self, event: RecordsLost) -> None:
        for topic, _, _ in event.addresses:
            self._values.processed[event.consumer, topic, "", "lost"] += 1

    def _count_unmatched_records(self, event: RecordsUnmatched) -> None:
        self._values.unmatched[event.consumer, event.topic, event.reason] += event.count

    def _count_failed_attempt(self, event: AttemptFailed) -> None:
        kind = failure_name(event.error, event.outcome)
        self._values.exceptions[event.consumer, event.topic, event.event_type or "", kind] += 1

    def _count_commit(self, event: OffsetsCommitted) -> None:
        self._values.commits[event.consumer, "ok"] += 1
        self._values.commit_durations[event.consumer,].add_values([event.duration_s])

    def _count_failed_commit(self, event: CommitFailed) -> None:
        self._values.commits[event.consumer, "failed"] += 1

    def _count_transaction(self, event: TransactionEnded) -> None:
        self._values.transactions[event.consumer, event.result] += 1
        self._values.transaction_durations[event.consumer,].add_values([event.duration_s])

    def _note_consumer_unassigned_since(self, event: ConsumerStarted | PartitionsRevoked) -> None:
        self._unassigned_since_s.setdefault(event.consumer, time.monotonic())

    def _count_rebalance(self, event: PartitionsAssigned) -> None:
        self._values.rebalances[event.consumer,] += 1
        since_s = self._unassigned_since_s.pop(event.consumer, None)
        if since_s is not None:
            self._values.rebalance_durations[event.consumer,].add_values([time.monotonic() - since_s])

    def _count_consumer_restart(self, event: ConsumerLost) -> None:
        self._values.rebuilds[event.consumer,] += 1

    def _count_blocked_loop(self, event: EndpointBlocked) -> None:
        self._values.blocked[event.consumer, event.endpoint] += 1

    def _count_published_event(self, event: EventPublished) -> None:
        self._values.published[event.topic, "ok" if event.error is None else "failed"] += 1
        self._values.publish_durations[event.topic,].add_values([event.duration_s])

    # ------------------------------------------------------------------ scraping

    def collect(self) -> Iterator[Metric]:
        """Called by prometheus-client, on the app's loop."""
        yield from self.snapshot().collect()

    def snapshot(self) -> Snapshot:
        """The values of this moment. Called on the app's loop; any thread may encode them."""
        return Snapshot(self._values.copy(), self._status())


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The values of one moment. Any thread may encode them, which takes a second with thousands of event types."""

    values: MetricValues
    status: AppStatus

    def collect(self) -> Iterator[Metric]:
        for name, help_text, labels, counts in COUNTERS:
            yield _create_counter(name, help_text, labels, counts(self.values))
        for name, help_text, labels, histograms in HISTOGRAMS:
            yield _create_histogram_family(name, help_text, labels, histograms(self.values))
        yield _loop_lag_metric(self.status)
        yield from _metrics_of_consumers(self.status.consumers)
        yield from _metrics_of_partitions(self.status.consumers)


# ---------------------------------------------------------------------------- counters and histograms

COUNTERS: tuple[tuple[str, str, Labels, Callable[[MetricValues], Mapping[Labels, int]]], ...] = (
    (
        "evkafka_events_processed",
        "Attempts that ended, by outcome.",
        (*EVENT, "status"),
        lambda values: values.processed,
    ),
    (
        "evkafka_event_exceptions",
        "Attempts that failed, by exception.",
        (*EVENT, "exception"),
        lambda values: values.exceptions,
    ),
    (
        "evkafka_events_unmatched",
        "Records without an endpoint, by reason: no_type, no_endpoint or tombstone.",
        (*CONSUMER_TOPIC, "reason"),
        lambda values: values.unmatched,
    ),
    ("evkafka_commits", "Commits of offsets.", (*CONSUMER, "result"), lambda values: values.commits),
    (
        "evkafka_transactions",
        "Transactions of exactly-once consumers, by result: committed, aborted or unknown.",
        (*CONSUMER, "result"),
        lambda values: values.transactions,
    ),
    ("evkafka_rebalances", "Assignments of partitions.", CONSUMER, lambda values: values.rebalances),
    (
        "evkafka_consumer_rebuilds",
        "Restarts of a consumer after a failure or a lost connection.",
        CONSUMER,
        lambda values: values.rebuilds,
    ),
    (
        "evkafka_event_loop_blocked",
        "Attempts that blocked the event loop for more than a second.",
        (*CONSUMER, "endpoint"),
        lambda values: values.blocked,
    ),
    ("evkafka_published", "Sends that ended.", ("topic", "status"), lambda values: values.published),
)

HISTOGRAMS: tuple[tuple[str, str, Labels, Callable[[MetricValues], Mapping[Labels, Histogram]]], ...] = (
    ("evkafka_event_duration_seconds", "How long attempts took.", EVENT, lambda values: values.durations),
    (
        "evkafka_event_size_bytes",
        "Sizes of the values of records read, without empty ones.",
        CONSUMER_TOPIC,
        lambda values: values.sizes,
    ),
    (
        "evkafka_commit_duration_seconds",
        "How long commits took.",
        CONSUMER,
        lambda values: values.commit_durations,
    ),
    (
        "evkafka_transaction_seconds",
        "How long transactions of exactly-once consumers took.",
        CONSUMER,
        lambda values: values.transaction_durations,
    ),
    (
        "evkafka_rebalance_duration_seconds",
        "From a consumer's start, or the revocation of its partitions, to its next assignment.",
        CONSUMER,
        lambda values: values.rebalance_durations,
    ),
    (
        "evkafka_publish_duration_seconds",
        "From a send to the broker's confirmation.",
        ("topic",),
        lambda values: values.publish_durations,
    ),
)


# ---------------------------------------------------------------------------- gauges


def _loop_lag_metric(status: AppStatus) -> Metric:
    help_text = "The largest delay of the event loop in the last 15 s."
    lag = [((), status.loop_lag_s)] if status.loop_lag_s is not None else []
    return _create_gauge("evkafka_event_loop_lag_seconds", help_text, (), lag)


def _metrics_of_consumers(consumers: Sequence[ConsumerStatus]) -> Iterator[Metric]:
    gauges: tuple[tuple[str, str, Callable[[ConsumerStatus], float]], ...] = (
        ("evkafka_events_in_flight", "Attempts in flight.", lambda one: len(one.attempts)),
        ("evkafka_assigned_partitions", "Partitions assigned.", lambda one: len(one.partitions)),
        (
            "evkafka_paused_partitions",
            "Partitions that are not read: paused, full, blocked by an unreadable record, or out of commit metadata.",
            lambda one: sum(
                partition.paused or partition.full or partition.held or partition.metadata_full
                for partition in one.partitions
            ),
        ),
        (
            "evkafka_consumer_connected",
            "1 while the consumer is an active member of its group.",
            lambda one: one.membership == "steady",
        ),
    )
    for name, help_text, value in gauges:
        yield _create_gauge(name, help_text, CONSUMER, (((one.name,), value(one)) for one in consumers))
    kept: tuple[tuple[str, str, Callable[[TransactionStatus], float]], ...] = (
        ("evkafka_kept_records", "Records sent and not written by a transaction yet.", lambda one: one.kept_records),
        ("evkafka_kept_bytes", "What these keep in memory, in bytes.", lambda one: one.kept_bytes),
        ("evkafka_open_transaction_seconds", "Age of the open transaction; 0 without one.", lambda one: one.open_s),
    )
    in_transactions = [(one.name, one.transactions) for one in consumers if one.transactions is not None]
    for name, help_text, figure in kept:
        yield _create_gauge(
            name, help_text, CONSUMER, (((consumer,), figure(one)) for consumer, one in in_transactions)
        )
    yield _create_gauge(
        "evkafka_consumer_info",
        "1; its labels name the consumer and its group.",
        ("consumer", "group"),
        (((one.name, one.group_id or ""), 1.0) for one in consumers),
    )


def _metrics_of_partitions(consumers: Sequence[ConsumerStatus]) -> Iterator[Metric]:
    for name, help_text, value in _PARTITION_GAUGES:
        samples = (
            ((one.name, partition.topic, str(partition.partition)), found)
            for one in consumers
            for partition in one.partitions
            if (found := value(partition)) is not None
        )
        yield _create_gauge(name, help_text, PARTITION, samples)
    yield _create_gauge(
        "evkafka_consumer_lag_seconds",
        "Age of the oldest unfinished record, otherwise of the next record to read; 0 if there is none.",
        PARTITION,
        (
            ((one.name, partition.topic, str(partition.partition)), lag_s)
            for one in consumers
            for partition in one.partitions
            if (lag_s := _lag_s(partition, one.now_ms)) is not None
        ),
    )
    yield _create_gauge(
        "evkafka_partition_blocked",
        "1 for each reason why a partition is not read at the moment.",
        (*PARTITION, "reason"),
        (
            ((one.name, partition.topic, str(partition.partition), reason), 1.0)
            for one in consumers
            for partition in one.partitions
            for reason in partition.unread_because
        ),
    )


_PARTITION_GAUGES: tuple[tuple[str, str, Callable[[PartitionStatus], float | None]], ...] = (
    ("evkafka_consumer_lag", "Records from the oldest unfinished one to the end.", lambda one: one.lag),
    ("evkafka_consumer_position_offset", "The next offset to read.", lambda one: one.position),
    (
        "evkafka_consumer_watermark_offset",
        "The offset up to which every record is finished.",
        lambda one: one.position if one.oldest is None else one.oldest,
    ),
    ("evkafka_consumer_committed_offset", "The last committed offset.", lambda one: one.committed),
    (
        "evkafka_consumer_log_end_offset",
        "The end offset of the partition; with read_committed the last stable offset.",
        lambda one: one.end,
    ),
    (
        "evkafka_consumer_high_watermark_offset",
        "The high watermark: the end offset with open transactions included.",
        lambda one: one.high_watermark,
    ),
    ("evkafka_uncommitted_events", "Records read and not finished.", lambda one: one.pending),
    (
        "evkafka_events_done_ahead",
        "Offsets after the oldest unfinished record that are finished.",
        lambda one: one.done_ahead,
    ),
    ("evkafka_events_awaiting_retry", "Lanes waiting for the next attempt.", lambda one: one.retrying),
    (
        "evkafka_events_unwritten",
        "Records waiting to be written to a dead-letter or retry topic after a failed write.",
        lambda one: len(one.unwritten),
    ),
)
"""Name, help text and value of gauges that every partition has; None: there is no value."""


def _lag_s(partition: PartitionStatus, now_ms: int) -> float | None:
    if partition.oldest is None and partition.lag == 0:
        return 0.0
    written_ms = partition.oldest_timestamp_ms
    return max(now_ms - written_ms, 0.0) / 1000 if written_ms is not None else None


# ---------------------------------------------------------------------------- families


def _create_gauge(name: str, help_text: str, labels: Labels, samples: Iterable[tuple[Labels, float]]) -> Metric:
    family = GaugeMetricFamily(name, help_text, labels=labels)
    for label_values, value in samples:
        family.add_metric(label_values, value)
    return family


def _create_counter(name: str, help_text: str, labels: Labels, counts: Mapping[Labels, int]) -> Metric:
    family = CounterMetricFamily(name, help_text, labels=labels)
    for label_values, count in counts.items():
        family.add_metric(label_values, count)
    return family


def _create_histogram_family(
    name: str, help_text: str, labels: Labels, histograms: Mapping[Labels, Histogram]
) -> Metric:
    family = HistogramMetricFamily(name, help_text, labels=labels)
    for label_values, histogram in histograms.items():
        family.add_metric(label_values, histogram.buckets(), histogram.sum)
    return family
