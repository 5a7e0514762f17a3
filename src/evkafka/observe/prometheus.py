"""What is counted, and how it is told to Prometheus. Counters and histograms come from events, in batches; gauges are
read from the app's status when somebody scrapes, so that a partition's series end when it is given back."""

from __future__ import annotations

import time
from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)

from evkafka.runtime.failure_cause import named_by
from evkafka.runtime.status import AppStatus, ConsumerStatus, PartitionStatus
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
)

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Upper bounds of the buckets, for what endpoints and brokers take."""


BYTES = (64.0, 256.0, 1024.0, 4096.0, 16384.0, 65536.0, 262144.0, 1048576.0, 4194304.0)
"""The same for records, which are seldom larger than a megabyte."""


REBALANCES = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0)
"""The same for rebalances, in which the slowest member counts."""


class Histogram:
    """Counts of values up to each bound."""

    __slots__ = ("_bounds", "_counts", "count", "sum")

    def __init__(self, bounds: Sequence[float] = SECONDS) -> None:
        self._bounds = bounds
        self._counts = [0] * len(bounds)  # of values up to the bound, all smaller ones among them
        self.count = 0
        self.sum = 0.0

    def add(self, values: Sequence[float]) -> None:
        """Count these values in; there is one at least."""
        bounds, counts, added = self._bounds, self._counts, len(values)
        self.count += added
        self.sum += sum(values)
        first = bisect_left(bounds, min(values))
        if bisect_left(bounds, max(values)) == first:  # all in one bucket, as most are: then they need not be sorted
            for index in range(first, len(bounds)):
                counts[index] += added
            return
        values = sorted(values)
        for index, bound in enumerate(bounds):
            counts[index] += bisect_right(values, bound)

    def copied(self) -> Histogram:
        other = Histogram(self._bounds)
        other._counts, other.count, other.sum = self._counts.copy(), self.count, self.sum
        return other

    def buckets(self) -> list[tuple[str, float]]:
        """(upper bound, how many values up to it), as Prometheus takes them."""
        named = [(_bound(bound), float(count)) for bound, count in zip(self._bounds, self._counts, strict=True)]
        return [*named, ("+Inf", float(self.count))]


def _bound(bound: float) -> str:
    return repr(float(bound))


if TYPE_CHECKING:
    from evkafka.observe.metrics import Measured

Labels = tuple[str, ...]

CONSUMER = ("consumer",)
PARTITION = ("consumer", "topic", "partition")


@dataclass(frozen=True, slots=True)
class MetricValues:
    """What has been counted so far."""

    processed: Counter[Labels] = field(default_factory=Counter)
    durations: defaultdict[Labels, Histogram] = field(default_factory=lambda: defaultdict(Histogram))
    sizes: defaultdict[Labels, Histogram] = field(default_factory=lambda: defaultdict(lambda: Histogram(BYTES)))
    exceptions: Counter[Labels] = field(default_factory=Counter)
    unmatched: Counter[Labels] = field(default_factory=Counter)
    commits: Counter[Labels] = field(default_factory=Counter)
    commit_durations: defaultdict[Labels, Histogram] = field(default_factory=lambda: defaultdict(Histogram))
    rebalances: Counter[Labels] = field(default_factory=Counter)
    rebalance_durations: defaultdict[Labels, Histogram] = field(
        default_factory=lambda: defaultdict(lambda: Histogram(REBALANCES))
    )
    rebuilds: Counter[Labels] = field(default_factory=Counter)
    blocked: Counter[Labels] = field(default_factory=Counter)
    published: Counter[Labels] = field(default_factory=Counter)
    publish_durations: defaultdict[Labels, Histogram] = field(default_factory=lambda: defaultdict(Histogram))

    def copied(self) -> MetricValues:
        """A copy, to which nothing is added any more."""
        return MetricValues(*(_copied(getattr(self, one.name)) for one in fields(self)))


def _copied(counted: Any) -> Any:
    if isinstance(counted, Counter):
        return Counter(counted)
    return defaultdict(Histogram, {labels: histogram.copied() for labels, histogram in counted.items()})


class AppCollector:
    """Counts one app's events, and collects when it is scraped."""

    def __init__(self, app: Measured) -> None:
        self._app = app
        self._figures = MetricValues()
        self._without_since_s: dict[str, float] = {}  # consumers without an assignment, and since when
        listen = app.telemetry.listen
        listen(RecordsReceived, self._on_received)
        listen(RecordsProcessed, self._on_processed)
        listen(RecordsLost, self._on_lost_records)
        listen(RecordsUnmatched, self._on_unmatched)
        listen(AttemptFailed, self._on_failed)
        listen(OffsetsCommitted, self._on_committed)
        listen(CommitFailed, self._on_commit_failed)
        listen(ConsumerStarted, self._on_without)
        listen(PartitionsRevoked, self._on_without)
        listen(PartitionsAssigned, self._on_assigned)
        listen(ConsumerLost, self._on_lost)
        listen(EndpointBlocked, self._on_blocked)
        listen(EventPublished, self._on_published)

    # ------------------------------------------------------------------ events

    def _on_received(self, event: RecordsReceived) -> None:
        if event.sizes:
            self._figures.sizes[event.consumer, event.topic].add(event.sizes)

    def _on_processed(self, event: RecordsProcessed) -> None:
        consumer, topic = event.consumer, event.topic
        for (event_type, status), durations_s in event.durations_s.items():
            self._figures.processed[consumer, topic, event_type, status] += len(durations_s)
            self._figures.durations[consumer, topic, event_type].add(durations_s)

    def _on_lost_records(self, event: RecordsLost) -> None:
        for topic, _, _ in event.addresses:
            self._figures.processed[event.consumer, topic, "", "lost"] += 1

    def _on_unmatched(self, event: RecordsUnmatched) -> None:
        self._figures.unmatched[event.consumer, event.topic, event.reason] += event.count

    def _on_failed(self, event: AttemptFailed) -> None:
        kind = type(named_by(event.error)).__name__ if event.error is not None else ""
        self._figures.exceptions[event.consumer, event.topic, event.event_type or "", kind] += 1

    def _on_committed(self, event: OffsetsCommitted) -> None:
        self._figures.commits[event.consumer, "ok"] += 1
        self._figures.commit_durations[event.consumer,].add([event.duration_s])

    def _on_commit_failed(self, event: CommitFailed) -> None:
        self._figures.commits[event.consumer, "failed"] += 1

    def _on_without(self, event: ConsumerStarted | PartitionsRevoked) -> None:
        self._without_since_s.setdefault(event.consumer, time.monotonic())

    def _on_assigned(self, event: PartitionsAssigned) -> None:
        self._figures.rebalances[event.consumer,] += 1
        since_s = self._without_since_s.pop(event.consumer, None)
        if since_s is not None:
            self._figures.rebalance_durations[event.consumer,].add([time.monotonic() - since_s])

    def _on_lost(self, event: ConsumerLost) -> None:
        self._figures.rebuilds[event.consumer,] += 1

    def _on_blocked(self, event: EndpointBlocked) -> None:
        self._figures.blocked[event.consumer, event.endpoint] += 1

    def _on_published(self, event: EventPublished) -> None:
        self._figures.published[event.topic, "ok" if event.error is None else "failed"] += 1
        self._figures.publish_durations[event.topic,].add([event.duration_s])

    # ------------------------------------------------------------------ scraping

    def collect(self) -> Iterator[Metric]:
        """As prometheus-client calls it. On the app's loop."""
        yield from self.snapshot().collect()

    def snapshot(self) -> Snapshot:
        """The figures of this moment. On the app's loop; what is made of them is made in any thread."""
        return Snapshot(self._figures.copied(), self._app.status())


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One moment's figures, which may be collected in any thread: with thousands of event types that takes a second."""

    figures: MetricValues
    status: AppStatus

    def collect(self) -> Iterator[Metric]:
        yield from self._counted()
        status = self.status
        told = "The longest time that the event loop was late by, in the last 15 s."
        lag = [((), status.loop_lag_s)] if status.loop_lag_s is not None else []
        yield _gauge("evkafka_event_loop_lag_seconds", told, (), lag)
        consumers = status.consumers
        yield from _of_consumers(consumers)
        yield from _of_partitions(consumers)

    def _counted(self) -> Iterator[Metric]:
        by_type = ("consumer", "topic", "event")
        yield _counter(
            "evkafka_events_processed",
            "Attempts that ended, by what became of the record.",
            (*by_type, "status"),
            self.figures.processed,
        )
        yield _histogram("evkafka_event_duration_seconds", "How long attempts took.", by_type, self.figures.durations)
        yield _histogram(
            "evkafka_event_size_bytes",
            "Values of records read, but for empty ones.",
            ("consumer", "topic"),
            self.figures.sizes,
        )
        yield _counter(
            "evkafka_event_exceptions",
            "Attempts that failed, by exception.",
            (*by_type, "exception"),
            self.figures.exceptions,
        )
        yield _counter(
            "evkafka_events_unmatched",
            "Records that no endpoint took: no_type, no_endpoint or tombstone.",
            ("consumer", "topic", "reason"),
            self.figures.unmatched,
        )
        yield _counter("evkafka_commits", "Commits of offsets.", ("consumer", "result"), self.figures.commits)
        yield _histogram(
            "evkafka_commit_duration_seconds", "How long commits took.", CONSUMER, self.figures.commit_durations
        )
        yield _counter("evkafka_rebalances", "Assignments of partitions.", CONSUMER, self.figures.rebalances)
        yield _histogram(
            "evkafka_rebalance_duration_seconds",
            "From a consumer's start, or its giving back of partitions, to its next assignment.",
            CONSUMER,
            self.figures.rebalance_durations,
        )
        yield _counter("evkafka_consumer_rebuilds", "How often it was made anew.", CONSUMER, self.figures.rebuilds)
        yield _counter(
            "evkafka_event_loop_blocked",
            "Attempts that held the event loop for more than a second.",
            ("consumer", "endpoint"),
            self.figures.blocked,
        )
        yield _counter("evkafka_published", "Sends that ended.", ("topic", "status"), self.figures.published)
        yield _histogram(
            "evkafka_publish_duration_seconds",
            "From a send to the broker's confirmation.",
            ("topic",),
            self.figures.publish_durations,
        )


# ---------------------------------------------------------------------------- gauges


def _of_consumers(consumers: Sequence[ConsumerStatus]) -> Iterator[Metric]:
    gauges: tuple[tuple[str, str, Callable[[ConsumerStatus], float]], ...] = (
        ("evkafka_events_in_flight", "Attempts under way.", lambda one: len(one.attempts)),
        ("evkafka_assigned_partitions", "Partitions assigned.", lambda one: len(one.partitions)),
        (
            "evkafka_paused_partitions",
            "Partitions that are not read: paused by somebody, full, or held at a record that cannot be read.",
            lambda one: sum(partition.paused or partition.full or partition.held for partition in one.partitions),
        ),
        (
            "evkafka_consumer_connected",
            "1 while the consumer is a member in good standing.",
            lambda one: one.membership == "steady",
        ),
    )
    for name, told, value in gauges:
        yield _gauge(name, told, CONSUMER, (((one.name,), value(one)) for one in consumers))
    yield _gauge(
        "evkafka_consumer_info",
        "1; its labels tell what belongs to a consumer's name.",
        ("consumer", "group"),
        (((one.name, one.group_id or ""), 1.0) for one in consumers),
    )


def _of_partitions(consumers: Sequence[ConsumerStatus]) -> Iterator[Metric]:
    now_ms = time.time() * 1000
    gauges: tuple[tuple[str, str, Callable[[PartitionStatus], float | None]], ...] = (
        ("evkafka_consumer_lag", "Records from the oldest unfinished one to the end.", lambda one: one.lag),
        (
            "evkafka_consumer_lag_seconds",
            "Age of the oldest unfinished record, else of the next that is to be read; 0 where nothing is to be done.",
            lambda one: _lag_s(one, now_ms),
        ),
        ("evkafka_consumer_position_offset", "The offset read next.", lambda one: one.position),
        (
            "evkafka_consumer_watermark_offset",
            "The offset before which all is finished.",
            lambda one: one.position if one.oldest is None else one.oldest,
        ),
        ("evkafka_consumer_committed_offset", "The offset last committed.", lambda one: one.committed),
        (
            "evkafka_consumer_log_end_offset",
            "The end of the partition: to a reader of what is committed, where the first open transaction begins.",
            lambda one: one.end,
        ),
        (
            "evkafka_consumer_high_watermark_offset",
            "The end of all that is written, open transactions included.",
            lambda one: one.high_watermark,
        ),
        ("evkafka_uncommitted_events", "Records read and not committable.", lambda one: one.pending),
        ("evkafka_events_awaiting_retry", "Lanes that wait for a next attempt.", lambda one: one.retrying),
        (
            "evkafka_events_unwritten",
            "Records that could not be written to a dead-letter or retry topic so far.",
            lambda one: len(one.unwritten),
        ),
    )
    for name, told, value in gauges:
        samples = (
            ((one.name, partition.topic, str(partition.partition)), found)
            for one in consumers
            for partition in one.partitions
            if (found := value(partition)) is not None
        )
        yield _gauge(name, told, PARTITION, samples)


def _lag_s(partition: PartitionStatus, now_ms: float) -> float | None:
    if partition.oldest is None and partition.lag == 0:
        return 0.0
    written_ms = partition.oldest_timestamp_ms
    return max(now_ms - written_ms, 0.0) / 1000 if written_ms is not None else None


# ---------------------------------------------------------------------------- families


def _gauge(name: str, told: str, labels: Labels, samples: Iterable[tuple[Labels, float]]) -> Metric:
    family = GaugeMetricFamily(name, told, labels=labels)
    for values, value in samples:
        family.add_metric(values, value)
    return family


def _counter(name: str, told: str, labels: Labels, counted: Mapping[Labels, int]) -> Metric:
    family = CounterMetricFamily(name, told, labels=labels)
    for values, count in counted.items():
        family.add_metric(values, count)
    return family


def _histogram(name: str, told: str, labels: Labels, counted: Mapping[Labels, Histogram]) -> Metric:
    family = HistogramMetricFamily(name, told, labels=labels)
    for values, histogram in counted.items():
        family.add_metric(values, histogram.buckets(), histogram.sum)
    return family
