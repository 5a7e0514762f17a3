"""The history that the charts show: rates, lag and durations of the app, its consumers, their topics and partitions.

Each of them has one ring buffer for each time span and figure. A longer span has longer steps, so the memory is the
same however long the app runs.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping, Sequence
from math import isnan

from evkafka.runtime.status import AppStatus, ConsumerStatus, PartitionStatus
from evkafka.ui.models import PartitionTimeSeries, TimeSeries
from evkafka.ui.quantile import quantile
from evkafka.ui.ring import Resolution, Ring, Window

SAMPLE_S = 15.0
"""The time between two samples of the lag while nobody looks; with a viewer it is a second."""

VALID_S = SAMPLE_S + 5
"""How long a sample is valid if none follows: a timer may be late."""

HISTORIES_MAX = 200
PARTITIONS_MAX = 500
DURATIONS_PER_STEP = 100

APP: Mapping[str, Resolution] = {
    "5m": Resolution(1, 300),
    "15m": Resolution(5, 180),
    "1h": Resolution(15, 240),
    "6h": Resolution(90, 240),
}
DETAILS: Mapping[str, Resolution] = {
    "5m": Resolution(5, 60),
    "15m": Resolution(15, 60),
    "1h": Resolution(60, 60),
    "6h": Resolution(360, 60),
}
"""Of consumers, topics and partitions, because there may be many."""


class History:
    """The history of an app.

    Args:
        started_s: when the counting began, in seconds since the epoch.
    """

    def __init__(self, started_s: float) -> None:
        self._started_s = started_s
        self._app = _AttemptHistory(APP)
        self._histories: dict[tuple[str, str | None], _AttemptHistory] = {}
        self._partitions: dict[tuple[str, str, int], _PartitionHistory] = {}

    def count_attempts(
        self, at_s: float, consumer: str, topic: str, *, handled: int, failed: int, durations_s: Sequence[float]
    ) -> None:
        """Attempts have ended; `durations_s` are those of some of them."""
        for history in (
            self._app,
            self._find_or_create_consumer_history(consumer, None),
            self._find_or_create_consumer_history(consumer, topic),
        ):
            if history is not None:
                history.count_attempts(int(at_s), handled, failed, durations_s)

    def sample_status(self, at_s: float, status: AppStatus) -> None:
        """Record the lag of everything, and forget partitions that are not assigned any more."""
        self._app.put_lag(at_s, total_lag(status.consumers))
        assigned: dict[tuple[str, str, int], _PartitionHistory] = {}
        for consumer in status.consumers:
            for topic, lag in lag_by_topic(consumer).items():
                if (history := self._find_or_create_consumer_history(consumer.name, topic)) is not None:
                    history.put_lag(at_s, lag)
            if (history := self._find_or_create_consumer_history(consumer.name, None)) is not None:
                history.put_lag(at_s, total_lag([consumer]))
            for partition in consumer.partitions[: PARTITIONS_MAX - len(assigned)]:
                key = consumer.name, partition.topic, partition.partition
                known = assigned[key] = self._partitions.get(key) or _PartitionHistory()
                known.sample(at_s, partition)
        self._partitions = assigned

    def current_app_rates(self, now_s: float) -> tuple[float, float]:
        """Handled and failed records of the app per second, over the last five whole seconds."""
        return self._app.current_rates(now_s)

    def series_of_app(self, span: str, now_s: float) -> TimeSeries:
        return self._app.time_series(span, Window(APP[span], now_s, self._started_s))

    def series_of_consumer(self, span: str, now_s: float, consumer: str, topic: str | None = None) -> TimeSeries:
        """The series of a consumer, or of one of its topics."""
        history = self._histories.get((consumer, topic)) or _AttemptHistory(DETAILS)
        return history.time_series(span, Window(DETAILS[span], now_s, self._started_s))

    def series_of_partition(
        self, span: str, now_s: float, consumer: str, topic: str, partition: int
    ) -> PartitionTimeSeries:
        """The series of a partition. Values without a sample are unknown."""
        known = self._partitions.get((consumer, topic, partition)) or _PartitionHistory()
        return known.time_series(span, Window(DETAILS[span], now_s, self._started_s))

    def _find_or_create_consumer_history(self, consumer: str, topic: str | None) -> _AttemptHistory | None:
        history = self._histories.get((consumer, topic))
        if history is None and len(self._histories) < HISTORIES_MAX:
            history = self._histories[consumer, topic] = _AttemptHistory(DETAILS)
        return history


def total_lag(consumers: Sequence[ConsumerStatus]) -> int | None:
    """The sum over all partitions whose lag is known; None if none is."""
    return _sum_of_known_values(partition.lag for consumer in consumers for partition in consumer.partitions)


def lag_by_topic(consumer: ConsumerStatus) -> dict[str, int | None]:
    topics: dict[str, list[int | None]] = {}
    for partition in consumer.partitions:
        topics.setdefault(partition.topic, []).append(partition.lag)
    return {topic: _sum_of_known_values(lags) for topic, lags in topics.items()}


def _sum_of_known_values(values: Iterable[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _sum_without_nan(values: Iterable[float]) -> float:
    return sum(value for value in values if not isnan(value))


# ---------------------------------------------------------------------------- attempts and lag


class _AttemptHistory:
    """The attempts and the lag of the app, a consumer, or a topic of a consumer.

    Events are added up for a second before they go into the rings, so that an event costs little.
    """

    __slots__ = ("_at_s", "_durations_s", "_failed", "_handled", "_spans")

    def __init__(self, resolutions: Mapping[str, Resolution]) -> None:
        self._spans = {span: _Steps(resolution) for span, resolution in resolutions.items()}
        self._at_s = 0
        self._handled = self._failed = 0
        self._durations_s = array("d")

    def count_attempts(self, at_s: int, handled: int, failed: int, durations_s: Sequence[float]) -> None:
        if at_s != self._at_s:
            self._move_counts_to_steps()
            self._at_s = at_s
        self._handled += handled
        self._failed += failed
        if len(self._durations_s) < DURATIONS_PER_STEP:
            self._durations_s.extend(durations_s)

    def _move_counts_to_steps(self) -> None:
        if self._handled or self._failed:
            for steps in self._spans.values():
                steps.count_attempts(self._at_s, self._handled, self._failed, self._durations_s)
        self._handled = self._failed = 0
        del self._durations_s[:]

    def put_lag(self, at_s: float, lag: int | None) -> None:
        for steps in self._spans.values():
            steps.lag.put(at_s, lag)

    def current_rates(self, now_s: float) -> tuple[float, float]:
        self._move_counts_to_steps()
        steps, seconds = self._spans["5m"], range(int(now_s) - 5, int(now_s))
        handled, failed = (ring.values(seconds) for ring in (steps.handled, steps.failed))
        return _sum_without_nan(handled) / 5, _sum_without_nan(failed) / 5

    def time_series(self, span: str, window: Window) -> TimeSeries:
        self._move_counts_to_steps()
        steps = self._spans[span]
        steps.compute_quantiles()
        return TimeSeries(
            step_s=window.resolution.step_s,
            at_s=window.step_start_times_s,
            handled_per_s=window.event_rates(steps.handled),
            failed_per_s=window.event_rates(steps.failed),
            lag=window.samples(steps.lag, valid_s=VALID_S),
            p50_s=window.samples(steps.p50_s),
            p95_s=window.samples(steps.p95_s),
        )


class _Steps:
    """The figures of a history in one time span."""

    __slots__ = ("_at_s", "_durations_s", "failed", "handled", "lag", "p50_s", "p95_s")

    def __init__(self, resolution: Resolution) -> None:
        self.handled, self.failed, self.lag, self.p50_s, self.p95_s = (Ring(resolution) for _ in range(5))
        self._durations_s = array("d")  # of the newest step
        self._at_s = 0

    def count_attempts(self, at_s: int, handled: int, failed: int, durations_s: Sequence[float]) -> None:
        self.handled.add(at_s, handled)
        self.failed.add(at_s, failed)
        if at_s // self.handled.step_s != self._at_s // self.handled.step_s:
            self.compute_quantiles()
            del self._durations_s[:]
        self._at_s = at_s
        if len(self._durations_s) < DURATIONS_PER_STEP:
            self._durations_s.extend(durations_s)

    def compute_quantiles(self) -> None:
        """Of the durations of the newest step, so far."""
        if self._durations_s:
            sorted_s = sorted(self._durations_s)
            self.p50_s.put(self._at_s, quantile(sorted_s, 0.5))
            self.p95_s.put(self._at_s, quantile(sorted_s, 0.95))


class _PartitionHistory:
    """The lag of a partition, and how fast it is read. Events do not name partitions: both are sampled."""

    __slots__ = ("_last", "_spans")

    def __init__(self) -> None:
        self._spans = {span: (Ring(resolution), Ring(resolution)) for span, resolution in DETAILS.items()}
        self._last: tuple[float, int] | None = None  # time and position

    def sample(self, at_s: float, partition: PartitionStatus) -> None:
        read = self._offsets_read_since_last_sample(at_s, partition.position)
        for lags, reads in self._spans.values():
            lags.put(at_s, partition.lag)
            if read is not None:
                begin_s, records = read
                reads.add_over_time(begin_s, at_s, records)

    def _offsets_read_since_last_sample(self, at_s: float, position: int | None) -> tuple[float, int] | None:
        """The time of the last sample, and how many offsets were read since; None after a seek backwards."""
        last, self._last = self._last, (at_s, position) if position is not None else None
        if last is None or position is None:
            return None
        last_s, last_position = last
        is_known = last_s < at_s < last_s + 2 * SAMPLE_S and position >= last_position
        return (last_s, position - last_position) if is_known else None

    def time_series(self, span: str, window: Window) -> PartitionTimeSeries:
        lags, reads = self._spans[span]
        return PartitionTimeSeries(
            step_s=window.resolution.step_s,
            at_s=window.step_start_times_s,
            read_per_s=window.rates(reads),
            lag=window.samples(lags, valid_s=VALID_S),
        )
