"""Counts the runtime's events for the page: rates, durations of attempts, errors. Everything is limited in size.

An event is about a batch of records, so only little work is done per record. Quantiles are computed from a sample of
the durations.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field

from evkafka.runtime.status import AppStatus
from evkafka.serde.safe_text import NAME_CHARACTERS, escape_line, truncate
from evkafka.telemetry import AttemptFailed, RecordsProcessed, RecordsUnmatched, Telemetry
from evkafka.ui.error_groups import ErrorGroups, cut_event_type
from evkafka.ui.history import History
from evkafka.ui.models import ErrorGroup, PartitionTimeSeries, RecordAddress, TimeSeries, UnmatchedRow

DURATIONS_KEPT = 1000
RECENT_S = 10
DURATIONS_PER_SECOND = 300
DURATIONS_PER_BATCH = 50
UNMATCHED_MAX = 100
EVENT_TYPES_MAX = 1000

HANDLED = frozenset({"ok", "skipped", "dead_lettered"})
FAILED = frozenset({"retried", "failed", "dead_lettered", "lost"})


@dataclass(slots=True)
class EventTypeStatistics:
    """Counts of one event type at one consumer."""

    handled: int = 0
    failed: int = 0
    durations_s: deque[float] = field(default_factory=lambda: deque(maxlen=DURATIONS_KEPT))
    recent: deque[tuple[int, int]] = field(default_factory=lambda: deque(maxlen=16))  # (second, handled in it)
    error: str | None = None
    error_at_ms: int | None = None

    def add_handled_count(self, at_s: int, number: int) -> None:
        self.handled += number
        if self.recent and self.recent[-1][0] == at_s:
            number += self.recent.pop()[1]
        self.recent.append((at_s, number))


class Statistics:
    """Counts events from its creation until `stop_counting()`."""

    def __init__(self, telemetry: Telemetry, *, now: Callable[[], float] = time.time) -> None:
        self._now = now
        self._history = History(now())
        self._recent: deque[tuple[int, list[float]]] = deque(maxlen=RECENT_S + 1)  # durations by second
        self.event_types: dict[tuple[str, str], EventTypeStatistics] = {}
        self.handled = self.failed = self.dead_lettered = 0
        self._errors = ErrorGroups()
        self._unmatched: Counter[tuple[str, str | None, str]] = Counter()
        self._unsubscribe = [
            telemetry.listen(RecordsProcessed, self._on_processed),
            telemetry.listen(AttemptFailed, self._on_failed),
            telemetry.listen(RecordsUnmatched, self._on_unmatched),
        ]

    def stop_counting(self) -> None:
        for unsubscribe in self._unsubscribe:
            unsubscribe()
        self._unsubscribe = []

    # ------------------------------------------------------------------ events

    def _on_processed(self, event: RecordsProcessed) -> None:
        now_s = self._now()
        handled = failed = 0
        sample_s: list[float] = []
        for (event_type, status), durations_s in event.durations_s.items():
            number, counts = len(durations_s), self._find_or_create_event_type_statistics(event.consumer, event_type)
            if status in HANDLED:
                handled += number
                counts.add_handled_count(int(now_s), number)
            if status in FAILED:
                failed += number
                counts.failed += number
            if status == "dead_lettered":
                self.dead_lettered += number
            some = durations_s[:: max(1, number // DURATIONS_PER_BATCH)]
            counts.durations_s.extend(some)
            sample_s += some
        self.handled += handled
        self.failed += failed
        self._add_recent_durations(int(now_s), sample_s)
        self._history.count_attempts(
            now_s, event.consumer, event.topic, handled=handled, failed=failed, durations_s=sample_s
        )

    def _add_recent_durations(self, at_s: int, durations_s: list[float]) -> None:
        if not self._recent or self._recent[-1][0] < at_s:
            self._recent.append((at_s, []))
        if len(self._recent[-1][1]) < DURATIONS_PER_SECOND:
            self._recent[-1][1].extend(durations_s)

    def _on_failed(self, event: AttemptFailed) -> None:
        at_s = self._now()
        group = self._errors.count_error(event, at_s)
        counts = self._find_or_create_event_type_statistics(event.consumer, group["event_type"] or "")
        counts.error = truncate(f"{group['type']}: {group['message']}", NAME_CHARACTERS)
        counts.error_at_ms = int(at_s * 1000)

    def _on_unmatched(self, event: RecordsUnmatched) -> None:
        key = (event.consumer, cut_event_type(event.event_type), event.reason)
        if key in self._unmatched or len(self._unmatched) < UNMATCHED_MAX:
            self._unmatched[key] += event.count

    # ------------------------------------------------------------------ results

    def sample_status(self, status: AppStatus) -> None:
        """Record the lag of all partitions at this moment."""
        self._history.sample_status(self._now(), status)

    def current_app_rates(self) -> tuple[float, float]:
        """Handled and failed records per second, over the last five whole seconds."""
        return self._history.current_app_rates(self._now())

    def recent_durations_of_app_s(self) -> list[float]:
        """Durations of the attempts of the last ten seconds, sorted."""
        since_s = int(self._now()) - RECENT_S
        return sorted(s for at_s, durations_s in self._recent if at_s >= since_s for s in durations_s)

    def rate_of_consumer(self, consumer: str) -> float:
        return sum(
            self.rate_of_event_type(counts) for (name, _), counts in self.event_types.items() if name == consumer
        )

    def rate_of_event_type(self, counts: EventTypeStatistics) -> float:
        now_s = int(self._now())
        return sum(number for at_s, number in counts.recent if now_s - 5 <= at_s < now_s) / 5

    def app_history(self, span: str = "5m") -> TimeSeries:
        """The time series of the app."""
        return self._history.series_of_app(span, self._now())

    def consumer_history(
        self, span: str, consumer: str, topic: str | None = None, partition: int | None = None
    ) -> TimeSeries | PartitionTimeSeries:
        """The time series of a consumer, one of its topics, or one of its partitions."""
        if topic is None or partition is None:
            return self._history.series_of_consumer(span, self._now(), consumer, topic)
        return self._history.series_of_partition(span, self._now(), consumer, topic, partition)

    def error_groups(self) -> list[ErrorGroup]:
        """The error groups, the newest first."""
        return self._errors.groups_newest_first(self._now())

    def error_id_of_record(self, topic: str, partition: int, offset: int) -> str | None:
        """The id of the newest error of this record, if it is known."""
        return self._errors.group_id_of_record(RecordAddress(topic=topic, partition=partition, offset=offset))

    def unmatched_rows(self) -> list[UnmatchedRow]:
        return [
            UnmatchedRow(consumer=consumer, event_type=event_type, reason=reason, records=number)
            for (consumer, event_type, reason), number in self._unmatched.most_common()
        ]

    # ------------------------------------------------------------------ helpers

    def _find_or_create_event_type_statistics(self, consumer: str, event_type: str) -> EventTypeStatistics:
        key = (consumer, escape_line(event_type, NAME_CHARACTERS))
        if key not in self.event_types and len(self.event_types) >= EVENT_TYPES_MAX:
            key = (consumer, "")  # too many event types: the further ones are counted together
        return self.event_types.setdefault(key, EventTypeStatistics())
