"""What the page counts: rates, lengths and errors, out of the runtime's events. Bounded in everything.

Events come in batches, so nothing here is done per record but the adding up of its length; and of a batch's lengths
a few hundred are enough to say how long half of them took.
"""

from __future__ import annotations

import hashlib
import time
import traceback
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from evkafka.runtime.failure_cause import failure_message, reported_exception
from evkafka.serde.safe_text import NAME_CHARACTERS, cut, lines, one_line
from evkafka.telemetry import AttemptFailed, RecordsProcessed, RecordsUnmatched, Telemetry
from evkafka.ui.models import Address, ErrorGroup, History, UnmatchedRow

SECONDS = 300
"""How far back the charts go."""

LENGTHS_KEPT = 1000
LENGTHS_OF_A_SECOND = 300
LENGTHS_OF_A_BATCH = 50
GROUPS = 100
ADDRESSES = 5
FRAMES = 50
TRACEBACK_CHARACTERS = 8 * 1024
MESSAGE_CHARACTERS = 1000

HANDLED = frozenset({"ok", "skipped", "dead_lettered"})
FAILED = frozenset({"retried", "failed", "dead_lettered", "lost"})


@dataclass(slots=True)
class Second:
    """What happened in one second."""

    handled: int = 0
    failed: int = 0
    lengths_s: list[float] = field(default_factory=list)
    lag: int | None = None
    quantiles_s: tuple[float | None, float | None] | None = None  # once it is over


@dataclass(slots=True)
class EventTypeStatistics:
    """What is known of one event type at one consumer."""

    handled: int = 0
    failed: int = 0
    lengths_s: deque[float] = field(default_factory=lambda: deque(maxlen=LENGTHS_KEPT))
    recent: deque[tuple[int, int]] = field(default_factory=lambda: deque(maxlen=16))  # (second, handled in it)
    error: str | None = None
    error_at_ms: int | None = None


class Statistics:
    """Listens from when it is made until `end()`."""

    def __init__(self, telemetry: Telemetry, *, now: Callable[[], float] = time.time) -> None:
        self._now = now
        self._seconds: deque[tuple[int, Second]] = deque(maxlen=SECONDS)
        self.kinds: dict[tuple[str, str], EventTypeStatistics] = {}
        self.handled = self.failed = self.dead_lettered = 0
        self._groups: dict[str, ErrorGroup] = {}
        self._unmatched: Counter[tuple[str, str | None, str]] = Counter()
        self._ends = [
            telemetry.listen(RecordsProcessed, self._on_processed),
            telemetry.listen(AttemptFailed, self._on_failed),
            telemetry.listen(RecordsUnmatched, self._on_unmatched),
        ]

    def end(self) -> None:
        for end in self._ends:
            end()
        self._ends = []

    # ------------------------------------------------------------------ events

    def _on_processed(self, event: RecordsProcessed) -> None:
        second, at_s = self._second(), int(self._now())
        for (event_type, status), lengths_s in event.durations_s.items():
            number = len(lengths_s)
            kind = self._kind(event.consumer, event_type)
            if status in HANDLED:
                second.handled += number
                self.handled += number
                kind.handled += number
                if kind.recent and kind.recent[-1][0] == at_s:
                    number += kind.recent.pop()[1]
                kind.recent.append((at_s, number))
            if status in FAILED:
                second.failed += len(lengths_s)
                self.failed += len(lengths_s)
                kind.failed += len(lengths_s)
            if status == "dead_lettered":
                self.dead_lettered += len(lengths_s)
            some = lengths_s[:: max(1, len(lengths_s) // LENGTHS_OF_A_BATCH)]
            kind.lengths_s.extend(some)
            if len(second.lengths_s) < LENGTHS_OF_A_SECOND:
                second.lengths_s.extend(some)

    def _on_failed(self, event: AttemptFailed) -> None:
        at_ms = int(self._now() * 1000)
        error = event.error
        name, said = "An outcome", f"the endpoint asked for it: {event.decision}"
        if error is not None:
            name = one_line(type(reported_exception(error)).__name__, NAME_CHARACTERS)
            said = lines(failure_message(error), MESSAGE_CHARACTERS)
        event_type = _cut(event.event_type)
        kind = self._kind(event.consumer, event_type or "")
        kind.error, kind.error_at_ms = cut(f"{name}: {said}", NAME_CHARACTERS), at_ms
        words = "\0".join((name, event.endpoint, event_type or "", event.consumer))
        id_ = hashlib.sha256(words.encode()).hexdigest()[:12]
        group = self._groups.pop(id_, None)
        if group is None:
            group = ErrorGroup(
                id=id_,
                type=name,
                message=said,
                endpoint=event.endpoint,
                event_type=event_type,
                consumer=event.consumer,
                count=0,
                first_ms=at_ms,
                last_ms=0,
                traceback="",
                records=[],
            )
        if at_ms - group["last_ms"] >= 1000 and error is not None:  # a storm of them costs one traceback a second
            group["traceback"] = _traceback(error)
            group["message"] = said
        group["count"] += 1
        group["last_ms"] = at_ms
        where = Address(topic=event.topic, partition=event.partition, offset=event.offset)
        group["records"] = [where, *(one for one in group["records"] if one != where)][:ADDRESSES]
        self._groups[id_] = group  # the newest stands last; the oldest goes first
        if len(self._groups) > GROUPS:
            del self._groups[next(iter(self._groups))]

    def _on_unmatched(self, event: RecordsUnmatched) -> None:
        key = (event.consumer, _cut(event.event_type), event.reason)
        if key in self._unmatched or len(self._unmatched) < GROUPS:
            self._unmatched[key] += event.count

    # ------------------------------------------------------------------ told

    def note_lag(self, lag: int | None) -> None:
        """How far all consumers are behind, in this second."""
        self._second().lag = lag

    def rates(self) -> tuple[float, float]:
        """Handled and failed per second, over the last five whole seconds."""
        now_s = int(self._now())
        last = [one for at_s, one in self._seconds if now_s - 5 <= at_s < now_s]
        return sum(one.handled for one in last) / 5, sum(one.failed for one in last) / 5

    def lengths_s(self) -> list[float]:
        """Of the last ten seconds' attempts, sorted."""
        now_s = int(self._now())
        return sorted(s for at_s, one in self._seconds if at_s >= now_s - 10 for s in one.lengths_s)

    def rate_of(self, kind: EventTypeStatistics) -> float:
        now_s = int(self._now())
        return sum(number for at_s, number in kind.recent if now_s - 5 <= at_s < now_s) / 5

    def history(self) -> History:
        """Each of the last whole seconds, also those in which nothing happened."""
        now_s = int(self._now())
        known, nothing = dict(self._seconds), Second()
        seconds = range(now_s - SECONDS, now_s)
        all_of_it = [known.get(at_s, nothing) for at_s in seconds]
        quantiles_s = [_quantiles(one) for one in all_of_it]
        return History(
            at_s=list(seconds),
            handled_per_s=[one.handled for one in all_of_it],
            failed_per_s=[one.failed for one in all_of_it],
            lag=[one.lag for one in all_of_it],
            p50_s=[p50_s for p50_s, _ in quantiles_s],
            p95_s=[p95_s for _, p95_s in quantiles_s],
        )

    def errors(self) -> list[ErrorGroup]:
        """The newest first."""
        return [group.copy() for group in reversed(self._groups.values())]

    def unmatched(self) -> list[UnmatchedRow]:
        return [
            UnmatchedRow(consumer=consumer, event_type=event_type, reason=reason, records=number)
            for (consumer, event_type, reason), number in self._unmatched.most_common()
        ]

    # ------------------------------------------------------------------ small things

    def _second(self) -> Second:
        at_s = int(self._now())
        if not self._seconds or self._seconds[-1][0] < at_s:
            self._seconds.append((at_s, Second()))
        return self._seconds[-1][1]

    def _kind(self, consumer: str, event_type: str) -> EventTypeStatistics:
        key = (consumer, one_line(event_type, NAME_CHARACTERS))
        if key not in self.kinds and len(self.kinds) >= 10 * GROUPS:
            key = (consumer, "")  # somebody's types are without number: the rest counts together
        return self.kinds.setdefault(key, EventTypeStatistics())


def _quantiles(second: Second) -> tuple[float | None, float | None]:
    """Of a second that is over: made once."""
    if second.quantiles_s is None:
        lengths_s = sorted(second.lengths_s)
        second.quantiles_s = quantile(lengths_s, 0.5), quantile(lengths_s, 0.95)
    return second.quantiles_s


def quantile(sorted_s: Sequence[float], share: float) -> float | None:
    """The value that this share of them does not exceed, to the microsecond; None of none."""
    return round(sorted_s[min(int(len(sorted_s) * share), len(sorted_s) - 1)], 6) if sorted_s else None


def _cut(event_type: str | None) -> str | None:
    """A type comes from a record: a producer may write any text, of any length."""
    return None if event_type is None else one_line(event_type, NAME_CHARACTERS)


def _traceback(error: BaseException) -> str:
    """The last frames of each error of the chain: a recursion has a thousand of them, and this runs in the loop."""
    try:
        told = traceback.TracebackException.from_exception(
            error, limit=-FRAMES, max_group_width=5, max_group_depth=3, compact=True
        )
        text = "".join(told.format())
    except Exception as failure:
        return f"{type(error).__name__}, whose traceback cannot be shown: {type(failure).__name__}"
    return lines(text[-TRACEBACK_CHARACTERS:])
