"""Emits the telemetry events of one consumer's executors.

Executors call it for every verdict except a plain success; the durations of plain successes are only collected while
there is a listener. Everything is added up, and emitted when an executor yields the event loop or releases its
lane.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import Literal, cast

from evkafka.outcomes import DeadLetter, Failed, FailureOutcome, Outcome, Skip, Unmatched
from evkafka.records import Record
from evkafka.runtime.failure_cause import exception_behind_outcome
from evkafka.runtime.ports import Route, Slot
from evkafka.runtime.settle import Finish, SendToDeadLetter, SendToRetryTopic, StopConsuming, Verdict, Wait
from evkafka.serde.safe_text import NAME_CHARACTERS, truncate
from evkafka.telemetry import (
    AttemptFailed,
    EndpointBlocked,
    EndpointOverran,
    NothingMatches,
    RecordSkipped,
    RecordsProcessed,
    RecordsUnmatched,
    ResultDropped,
    Status,
    Telemetry,
    TypeSkipped,
)

CHECKED_RECORDS = 1000
MOST_TYPES = 20

AttemptKind = Route | Literal["skipped"] | None
"""How an attempt has ended that needs nothing more: its endpoint has handled the record (None: a middleware has); or no
endpoint takes it, and it is skipped."""

UnmatchedKind = tuple[str, str, str | None]
"""Topic, reason and event type of records without an endpoint."""


class UnmatchedWarning:
    """Warns once if none of the first thousand records has an endpoint, and reports the first event types without one.

    Args:
        known: the event types that have endpoints.
        finished: returns how many records the consumer has finished so far, matched or not.
        skips: False if records without an endpoint become dead letters or stop the app: each of them is reported.
    """

    def __init__(
        self,
        consumer: str,
        telemetry: Telemetry,
        *,
        known: Collection[str],
        finished: Callable[[], int],
        skips: bool = True,
    ) -> None:
        self._consumer = consumer
        self._telemetry = telemetry
        self._known = tuple(sorted(known))
        self._finished = finished
        self._skips = skips
        self._left = CHECKED_RECORDS
        self._seen: Counter[str | None] = Counter()
        self._reported: set[UnmatchedKind] = set()

    def count_type_and_warn_if_all_unmatched(self, event_type: str | None) -> None:
        """No endpoint takes a record of this type. The record is not finished yet."""
        if not self._left:
            return
        self._left -= 1
        if len(self._seen) < MOST_TYPES or event_type in self._seen:
            self._seen[event_type] += 1
        if not self._left:
            if self._finished() < CHECKED_RECORDS:
                self._telemetry.emit(NothingMatches(self._consumer, CHECKED_RECORDS, dict(self._seen), self._known))
            self._seen.clear()

    def report_kind_once(self, kind: UnmatchedKind) -> None:
        """No endpoint takes records of this kind: report it the first time."""
        if self._skips and kind not in self._reported and len(self._reported) < MOST_TYPES:
            self._reported.add(kind)
            self._telemetry.emit(TypeSkipped(self._consumer, *kind, self._known))


class TelemetryReporter:
    """Adds up what executors do, and emits events of the app's telemetry."""

    def __init__(self, consumer: str, telemetry: Telemetry, unmatched_warning: UnmatchedWarning | None = None) -> None:
        self._consumer = consumer
        self._telemetry = telemetry
        self.listening = telemetry.wants(RecordsProcessed)
        self._durations_s: defaultdict[tuple[str, Route | None, str], list[float]] = defaultdict(list)
        self._plain_s: defaultdict[str, defaultdict[AttemptKind, list[float]]] = defaultdict(partial(defaultdict, list))
        self._unmatched_warning = unmatched_warning
        self._unmatched: Counter[UnmatchedKind] = Counter()

    def attempt_durations_to_append_to(self, topic: str) -> Mapping[AttemptKind, list[float]] | None:
        """The durations of this topic's attempts that need nothing more, to append to; None while nobody listens.

        The mapping stays valid: a flush empties it and never replaces it. A method call for each record would cost
        as much as everything else that is done with its duration."""
        return self._plain_s[topic] if self.listening else None

    def report_finished(self, slot: Slot, record: Record, status: str, duration_s: float) -> None:
        if not self.listening:
            return
        self._durations_s[record.topic, slot.route, status].append(duration_s)

    def report_unmatched(self, record: Record, outcome: Unmatched) -> None:
        event_type = outcome.event_type
        if event_type is not None and len(event_type) > NAME_CHARACTERS:
            event_type = truncate(event_type, NAME_CHARACTERS)  # a producer may send a text of any length
        self._unmatched[record.topic, outcome.reason, event_type] += 1
        if self._unmatched_warning is not None:
            self._unmatched_warning.count_type_and_warn_if_all_unmatched(event_type)

    def flush(self) -> None:
        """Emit what was added up."""
        if self._durations_s or any(self._plain_s.values()):
            for topic, by_kind in self._take_durations_by_topic().items():
                self._telemetry.emit(RecordsProcessed(self._consumer, topic, by_kind))
        if self._unmatched:
            unmatched, self._unmatched = self._unmatched, Counter()
            for kind, count in unmatched.items():
                self._telemetry.emit(RecordsUnmatched(self._consumer, *kind, count))
                if self._unmatched_warning is not None:
                    self._unmatched_warning.report_kind_once(kind)

    def _take_durations_by_topic(self) -> dict[str, dict[tuple[str, Status], list[float]]]:
        """Take out the durations that were collected. They are grouped here, once for many records, not for each
        record."""
        noted, self._durations_s = self._durations_s, defaultdict(list)
        for topic, by_kind in self._plain_s.items():
            for kind, durations_s in by_kind.items():
                if kind == "skipped":
                    noted[topic, None, "skipped"].extend(durations_s)
                else:
                    noted[topic, kind, "ok"].extend(durations_s)
            by_kind.clear()
        topics: dict[str, dict[tuple[str, Status], list[float]]] = {}
        for (topic, route, status), durations_s in noted.items():
            event_type = route.event_type if route is not None else ""
            topics.setdefault(topic, {}).setdefault((event_type, cast(Status, status)), []).extend(durations_s)
        return topics

    def report_skipped(self, slot: Slot, record: Record, outcome: Skip) -> None:
        if outcome.reason:
            self._telemetry.emit(
                RecordSkipped(
                    self._consumer, record.topic, record.partition, record.offset, _endpoint_name(slot), outcome.reason
                )
            )

    def report_failed(
        self,
        slot: Slot,
        record: Record,
        outcome: FailureOutcome | None,
        verdict: Verdict,
        *,
        limit_reached: bool = False,
    ) -> None:
        """An attempt has failed.

        Args:
            limit_reached: the record would become a dead letter, but the `dead_letter_limit` stops the app.
        """
        decision, retry_in_s = _decision_and_delay(verdict)
        self._telemetry.emit(
            AttemptFailed(
                self._consumer,
                topic=record.topic,
                partition=record.partition,
                offset=record.offset,
                event_type=slot.route.event_type if slot.route is not None else None,
                endpoint=slot.route.name if slot.route is not None else "",
                attempt=slot.attempt,
                error=_error_of(outcome, verdict),
                decision="dead_letter_limit" if limit_reached else decision,
                retry_in_s=retry_in_s,
                key_hash=_key_hash(record.key),
                outcome="" if isinstance(outcome, Failed) else type(outcome).__name__,
                reason=outcome.reason if isinstance(outcome, DeadLetter | Unmatched) else "",
            )
        )

    def report_loop_blocked(self, slot: Slot, record: Record, duration_s: float) -> None:
        self._telemetry.emit(
            EndpointBlocked(
                self._consumer,
                record.topic,
                record.partition,
                record.offset,
                _endpoint_name(slot),
                duration_s=duration_s,
            )
        )

    def report_overrun(self, slot: Slot, record: Record, limit_s: float) -> None:
        self._telemetry.emit(
            EndpointOverran(
                self._consumer, record.topic, record.partition, record.offset, _endpoint_name(slot), limit_s=limit_s
            )
        )

    def report_dropped(self, route: Route | None, record: Record) -> None:
        endpoint = route.name if route is not None else ""
        self._telemetry.emit(ResultDropped(self._consumer, record.topic, record.partition, record.offset, endpoint))


def _key_hash(key: bytes | None) -> str | None:
    return hashlib.blake2b(key, digest_size=6).hexdigest() if key is not None else None


def _endpoint_name(slot: Slot) -> str:
    return slot.route.name if slot.route is not None else ""


def _error_of(outcome: FailureOutcome | None, verdict: Verdict) -> BaseException | None:
    match outcome, verdict:
        case _, SendToRetryTopic(error=error) | SendToDeadLetter(error=error) | StopConsuming(error=error):
            return error
        case Failed(error=error), _:
            return error
        case Outcome(), _:
            return exception_behind_outcome(outcome)
        case _:
            return None


def _decision_and_delay(verdict: Verdict) -> tuple[str, float]:
    match verdict:
        case Wait(delay_s=delay_s):
            return "wait", delay_s
        case Finish():
            return "finish", 0.0
        case SendToRetryTopic(delay_ms=delay_ms):
            return "retry_topic", delay_ms / 1000
        case SendToDeadLetter():
            return "dead_letter", 0.0
        case StopConsuming():
            return "stop", 0.0
