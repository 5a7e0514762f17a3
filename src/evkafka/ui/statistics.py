"""Counts the runtime's events for the page: rates, durations of attempts, errors. Everything is limited in size.

An event is about a batch of records, so only little work is done per record. Quantiles are computed from a sample of
the durations.
"""

from __future__ import annotations

import hashlib
import time
import traceback
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field

from evkafka.runtime.failure_cause import failure_message, reported_exception
from evkafka.runtime.status import AppStatus
from evkafka.serde.safe_text import NAME_CHARACTERS, cut, lines, one_line
from evkafka.telemetry import AttemptFailed, RecordsProcessed, RecordsUnmatched, Telemetry
from evkafka.ui.history import History
from evkafka.ui.models import ErrorGroup, PartitionTimeSeries, RecordAddress, TimeSeries, UnmatchedRow

DURATIONS_KEPT = 1000
RECENT_S = 10
DURATIONS_PER_SECOND = 300
DURATIONS_PER_BATCH = 50
ERROR_GROUPS_MAX = 100
EVENT_TYPES_MAX = 1000
ADDRESSES_PER_GROUP = 5
TRACEBACK_FRAMES = 50
TRACEBACK_CHARACTERS = 8 * 1024
MESSAGE_CHARACTERS = 1000

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

    def count_handled(self, at_s: int, number: int) -> None:
        self.handled += number
        if self.recent and self.recent[-1][0] == at_s:
            number += self.recent.pop()[1]
        self.recent.append((at_s, number))


class Statistics:
    """Counts events from its creation until `end()`."""

    def __init__(self, telemetry: Telemetry, *, now: Callable[[], float] = time.time) -> None:
        self._now = now
        self._history = History(now())
        self._recent: deque[tuple[int, list[float]]] = deque(maxlen=RECENT_S + 1)  # durations by second
        self.event_types: dict[tuple[str, str], EventTypeStatistics] = {}
        self.handled = self.failed = self.dead_lettered = 0
        self._groups: dict[str, ErrorGroup] = {}
        self._unmatched: Counter[tuple[str, str | None, str]] = Counter()
        self._unsubscribe = [
            telemetry.listen(RecordsProcessed, self._on_processed),
            telemetry.listen(AttemptFailed, self._on_failed),
            telemetry.listen(RecordsUnmatched, self._on_unmatched),
        ]

    def end(self) -> None:
        for unsubscribe in self._unsubscribe:
            unsubscribe()
        self._unsubscribe = []

    # ------------------------------------------------------------------ events

    def _on_processed(self, event: RecordsProcessed) -> None:
        now_s = self._now()
        handled = failed = 0
        sample_s: list[float] = []
        for (event_type, status), durations_s in event.durations_s.items():
            number, counts = len(durations_s), self._counts(event.consumer, event_type)
            if status in HANDLED:
                handled += number
                counts.count_handled(int(now_s), number)
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
        self._keep_recent(int(now_s), sample_s)
        self._history.count(now_s, event.consumer, event.topic, handled=handled, failed=failed, durations_s=sample_s)

    def _keep_recent(self, at_s: int, durations_s: list[float]) -> None:
        if not self._recent or self._recent[-1][0] < at_s:
            self._recent.append((at_s, []))
        if len(self._recent[-1][1]) < DURATIONS_PER_SECOND:
            self._recent[-1][1].extend(durations_s)

    def _on_failed(self, event: AttemptFailed) -> None:
        at_ms = int(self._now() * 1000)
        error = event.error
        name, message = "An outcome", f"the endpoint asked for it: {event.decision}"
        if error is not None:
            name = one_line(type(reported_exception(error)).__name__, NAME_CHARACTERS)
            message = lines(failure_message(error), MESSAGE_CHARACTERS)
        event_type = _cut(event.event_type)
        counts = self._counts(event.consumer, event_type or "")
        counts.error, counts.error_at_ms = cut(f"{name}: {message}", NAME_CHARACTERS), at_ms
        words = "\0".join((name, event.endpoint, event_type or "", event.consumer))
        error_id = hashlib.sha256(words.encode()).hexdigest()[:12]
        group = self._groups.pop(error_id, None)
        if group is None:
            group = ErrorGroup(
                id=error_id,
                type=name,
                message=message,
                endpoint=event.endpoint,
                event_type=event_type,
                consumer=event.consumer,
                count=0,
                first_ms=at_ms,
                last_ms=0,
                traceback="",
                records=[],
            )
        if at_ms - group["last_ms"] >= 1000 and error is not None:  # many errors at once: format one traceback a second
            group["traceback"] = _traceback(error)
            group["message"] = message
        group["count"] += 1
        group["last_ms"] = at_ms
        where = RecordAddress(topic=event.topic, partition=event.partition, offset=event.offset)
        group["records"] = [where, *(address for address in group["records"] if address != where)][:ADDRESSES_PER_GROUP]
        self._groups[error_id] = group  # the newest is the last, the oldest is removed first
        if len(self._groups) > ERROR_GROUPS_MAX:
            del self._groups[next(iter(self._groups))]

    def _on_unmatched(self, event: RecordsUnmatched) -> None:
        key = (event.consumer, _cut(event.event_type), event.reason)
        if key in self._unmatched or len(self._unmatched) < ERROR_GROUPS_MAX:
            self._unmatched[key] += event.count

    # ------------------------------------------------------------------ results

    def sample(self, status: AppStatus) -> None:
        """Record the lag of all partitions at this moment."""
        self._history.sample(self._now(), status)

    def rates(self) -> tuple[float, float]:
        """Handled and failed records per second, over the last five whole seconds."""
        return self._history.rates(self._now())

    def durations_s(self) -> list[float]:
        """Durations of the attempts of the last ten seconds, sorted."""
        since_s = int(self._now()) - RECENT_S
        return sorted(s for at_s, durations_s in self._recent if at_s >= since_s for s in durations_s)

    def rate_of_consumer(self, consumer: str) -> float:
        return sum(self.rate_of(counts) for (name, _), counts in self.event_types.items() if name == consumer)

    def rate_of(self, counts: EventTypeStatistics) -> float:
        now_s = int(self._now())
        return sum(number for at_s, number in counts.recent if now_s - 5 <= at_s < now_s) / 5

    def history(self, span: str = "5m") -> TimeSeries:
        """The time series of the app."""
        return self._history.of_app(span, self._now())

    def history_of(
        self, span: str, consumer: str, topic: str | None = None, partition: int | None = None
    ) -> TimeSeries | PartitionTimeSeries:
        """The time series of a consumer, one of its topics, or one of its partitions."""
        if topic is None or partition is None:
            return self._history.of_consumer(span, self._now(), consumer, topic)
        return self._history.of_partition(span, self._now(), consumer, topic, partition)

    def errors(self) -> list[ErrorGroup]:
        """The error groups, the newest first."""
        return [group.copy() for group in reversed(self._groups.values())]

    def error_at(self, topic: str, partition: int, offset: int) -> str | None:
        """The id of the newest error of this record, if it is known."""
        wanted = RecordAddress(topic=topic, partition=partition, offset=offset)
        return next((group["id"] for group in reversed(self._groups.values()) if wanted in group["records"]), None)

    def unmatched(self) -> list[UnmatchedRow]:
        return [
            UnmatchedRow(consumer=consumer, event_type=event_type, reason=reason, records=number)
            for (consumer, event_type, reason), number in self._unmatched.most_common()
        ]

    # ------------------------------------------------------------------ helpers

    def _counts(self, consumer: str, event_type: str) -> EventTypeStatistics:
        key = (consumer, one_line(event_type, NAME_CHARACTERS))
        if key not in self.event_types and len(self.event_types) >= EVENT_TYPES_MAX:
            key = (consumer, "")  # too many event types: the further ones are counted together
        return self.event_types.setdefault(key, EventTypeStatistics())


def _cut(event_type: str | None) -> str | None:
    """Escape and cut an event type: a producer may write any text."""
    return None if event_type is None else one_line(event_type, NAME_CHARACTERS)


def _traceback(error: BaseException) -> str:
    """The last frames of each error in the chain. A recursion has a thousand, and this runs in the event loop."""
    try:
        formatted = traceback.TracebackException.from_exception(
            error, limit=-TRACEBACK_FRAMES, max_group_width=5, max_group_depth=3, compact=True
        )
        text = "".join(formatted.format())
    except Exception as failure:
        return f"{type(error).__name__}, whose traceback cannot be shown: {type(failure).__name__}"
    return lines(text[-TRACEBACK_CHARACTERS:])
