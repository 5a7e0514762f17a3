"""Health checks: their reasons are sentences. Each answer is computed from the app's status when it is asked for.

An app is live as long as a new process would do no better: while brokers are unavailable it is not ready, but live. It
is ready while it does its work. Notes are worth knowing and do not make an app unhealthy.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from evkafka.runtime.status import AppStatus, AttemptStatus, ConsumerStatus, PartitionStatus, ProducerStatus
from evkafka.telemetry import ConsumerLost, EndpointBlocked, PartitionsAssigned, Telemetry

Question = Literal["live", "ready", "started"]

MOST_UNWRITTEN = 3
"""How many records of one partition are named; the others are counted."""

BLOCKED_NOTE_S = 300.0
"""How long there is a note about a blocked event loop."""


@dataclass(frozen=True, slots=True)
class Check:
    """The health of one part.

    Attributes:
        kind: `app`, `consumer`, `producer`, or `worker` (another process of the app).
        reasons: why it is unhealthy; empty if it is healthy.
        notes: what an operator should know in any case.
        counts: False if it is shown, and does not make the app unhealthy.
    """

    kind: str
    name: str
    reasons: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    counts: bool = True

    @property
    def ok(self) -> bool:
        return not self.reasons


@dataclass(frozen=True, slots=True)
class Health:
    checks: tuple[Check, ...] = field(default_factory=tuple)

    @property
    def ok(self) -> bool:
        return all(check.ok or not check.counts for check in self.checks)


class HealthChecks:
    """Answers the health questions. It remembers what a status does not have: why a consumer lost its source, and which
    endpoint blocked the loop.

    Attributes:
        check_others: returns the health of the app's other processes; see `process_health.py`.
    """

    def __init__(self, telemetry: Telemetry) -> None:
        self._lost: dict[str, str] = {}
        self._blocked: dict[str, tuple[float, str]] = {}
        self.check_others: Callable[[Question], tuple[Check, ...]] = lambda question: ()
        telemetry.listen(ConsumerLost, self._store_consumer_error)
        telemetry.listen(PartitionsAssigned, self._clear_consumer_error)
        telemetry.listen(EndpointBlocked, self._store_loop_blocked_note)

    def _store_consumer_error(self, event: ConsumerLost) -> None:
        self._lost[event.consumer] = f"{type(event.error).__name__}: {event.error}"

    def _clear_consumer_error(self, event: PartitionsAssigned) -> None:
        self._lost.pop(event.consumer, None)

    def _store_loop_blocked_note(self, event: EndpointBlocked) -> None:
        where = f"{event.topic}[{event.partition}]@{event.offset}"
        self._blocked[event.consumer] = (
            time.monotonic(),
            f"{event.endpoint or 'the middleware'} blocked the event loop for {event.duration_s:.1f} s at {where}",
        )

    # ------------------------------------------------------------------ the three questions

    def live(self, status: AppStatus) -> Health:
        """Whether the process can still do its work. If not, it must be restarted."""
        return Health((*self._liveness_of_this_process(status).checks, *self.check_others("live")))

    def ready(self, status: AppStatus) -> Health:
        """Whether the app does its work."""
        return Health((*self._readiness_of_this_process(status).checks, *self.check_others("ready")))

    def started(self, status: AppStatus) -> Health:
        """Whether the start is complete: lifespan, producers and consumers have started."""
        return Health((*self._startup_of_this_process(status).checks, *self.check_others("started")))

    def health_of_this_process(self, status: AppStatus) -> dict[Question, Health]:
        """The health of this process alone, by question."""
        return {
            "live": self._liveness_of_this_process(status),
            "ready": self._readiness_of_this_process(status),
            "started": self._startup_of_this_process(status),
        }

    def _liveness_of_this_process(self, status: AppStatus) -> Health:
        app = Check("app", "", reasons=_app_failure_reasons(status))
        return Health(
            (
                app,
                *(
                    Check(
                        "consumer",
                        one.name,
                        _reasons_why_consumer_is_not_live(one),
                        self._notes_on_consumer_and_its_partitions(one),
                    )
                    for one in status.consumers
                ),
            )
        )

    def _readiness_of_this_process(self, status: AppStatus) -> Health:
        app = Check("app", "", reasons=(*_app_phase_reasons(status), *_app_failure_reasons(status)))
        consumers = (
            Check(
                "consumer",
                one.name,
                self._reasons_why_consumer_is_not_ready(one, ended=one.name in status.ended),
                (
                    *_idle_notes(one),
                    *self._notes_on_consumer_and_its_partitions(one),
                    *_consumer_not_required_notes(one),
                ),
                counts=one.required,
            )
            for one in status.consumers
        )
        return Health((app, *consumers, *(_producer_check(one) for one in status.producers)))

    def _startup_of_this_process(self, status: AppStatus) -> Health:
        reasons = () if status.phase in ("running", "stopping") else _app_phase_reasons(status)
        return Health((Check("app", "", reasons=reasons),))

    # ------------------------------------------------------------------ a consumer

    def _reasons_why_consumer_is_not_ready(self, consumer: ConsumerStatus, *, ended: bool) -> tuple[str, ...]:
        if ended:
            return ("it has ended",)
        if consumer.stopping:
            return ("it is stopping",)
        because = f": {self._lost[consumer.name]}" if consumer.name in self._lost else ""
        match consumer.membership:
            case "none":
                return (f"it has no connection{because}",)
            case "lost":
                return (f"the brokers do not answer{because}",)
            case "connecting":
                topics = ", ".join(consumer.topics)
                return (f"it is waiting for its topics ({topics}) or the group coordinator{because}",)
            case "joining":
                return (f"its group has been rebalancing for {consumer.joining_s:.0f} s{because}",)
            case "steady":
                return ()

    def consumer_notes(self, consumer: ConsumerStatus) -> tuple[str, ...]:
        """The notes about a consumer that are not about one of its partitions."""
        return (
            *_idle_notes(consumer),
            *consumer.awaited,
            *self._blocked_event_loop_notes(consumer),
            *_consumer_not_required_notes(consumer),
        )

    def _notes_on_consumer_and_its_partitions(self, consumer: ConsumerStatus) -> tuple[str, ...]:
        notes = (note for partition in consumer.partitions for note in _partition_notes(partition))
        return (*notes, *consumer.awaited, *self._blocked_event_loop_notes(consumer))

    def _blocked_event_loop_notes(self, consumer: ConsumerStatus) -> tuple[str, ...]:
        if (blocked := self._blocked.get(consumer.name)) is not None:
            at_s, sentence = blocked
            if (ago_s := time.monotonic() - at_s) < BLOCKED_NOTE_S:
                return (f"{sentence}, {ago_s:.0f} s ago",)
        return ()


def _app_phase_reasons(status: AppStatus) -> tuple[str, ...]:
    match status.phase:
        case "running":
            return ()
        case "new":
            return ("the app has not been started",)
        case "ended":
            return ("the app has stopped",)
        case phase:
            return (f"the app is {phase}",)


def _app_failure_reasons(status: AppStatus) -> tuple[str, ...]:
    if status.failure is None:
        return ()
    return (f"a consumer has failed: {type(status.failure).__name__}: {status.failure}",)


def _reasons_why_consumer_is_not_live(consumer: ConsumerStatus) -> tuple[str, ...]:
    reasons = [_text_of_overrun_attempt(attempt) for attempt in consumer.attempts if attempt.overran]
    if consumer.silent_s > consumer.longest_poll_s:
        reasons.append(f"its poll has not returned for {consumer.silent_s:.0f} s")
    if consumer.joining_s > consumer.longest_poll_s:
        reasons.append(f"its group has been rebalancing for {consumer.joining_s:.0f} s")
    return tuple(reasons)


def _text_of_overrun_attempt(attempt: AttemptStatus) -> str:
    where = f"{attempt.topic}[{attempt.partition}]@{attempt.offset}"
    what = attempt.endpoint or "the middleware"
    return f"{what} has been running at {where} for {attempt.age_s:.0f} s, past its time limit, and cannot be cancelled"


def _idle_notes(consumer: ConsumerStatus) -> tuple[str, ...]:
    if consumer.partitions or consumer.membership != "steady":
        return ()
    return ("no partitions assigned: the other members of its group have them all",)


def _consumer_not_required_notes(consumer: ConsumerStatus) -> tuple[str, ...]:
    return () if consumer.required else ("it is not `required`",)


def _partition_notes(partition: PartitionStatus) -> tuple[str, ...]:
    where = f"{partition.topic}[{partition.partition}]"
    notes = []
    if partition.paused:
        notes.append(f"{where} is paused")
    if partition.held:
        notes.append(f"{where}@{partition.position} cannot be read by the client: the partition waits there")
    if partition.retrying:
        notes.append(
            f"{where}: records waiting for their next attempt: {partition.retrying}, the oldest at offset"
            f" {partition.oldest}"
        )
    if "schema" in partition.blocked_by:
        notes.append(f"{where}@{partition.oldest} waits for the schema of its value")
    notes += [
        f"{where}@{one.offset} could not be written to {one.topic} for {one.age_s:.0f} s ({one.error});"
        " later records wait"
        for one in partition.unwritten[:MOST_UNWRITTEN]
    ]
    if (more := len(partition.unwritten) - MOST_UNWRITTEN) > 0:
        notes.append(f"{where}: {more} more records could not be written to dead-letter or retry topics")
    if partition.full and partition.failed_attempts:
        notes.append(
            f"{where} is not read at the moment: {partition.pending} records are"
            f" unfinished{_oldest_record_text(partition)}"
        )
    if partition.metadata_full:
        notes.append(
            f"{where} is not read at the moment: {partition.done_ahead} offsets finished after offset"
            f" {partition.oldest} do not fit into the metadata of a commit{_oldest_record_text(partition)}"
        )
    if (alone := partition.one_at_a_time) is not None:
        notes.append(f"records of {where} are handled one at a time, because {alone.reason}")
    return tuple(notes)


def _oldest_record_text(partition: PartitionStatus) -> str:
    return (
        f"; the oldest unfinished record is at offset {partition.oldest}, unfinished for"
        f" {partition.oldest_age_s or 0.0:.0f} s (failed attempts: {partition.failed_attempts})"
    )


def _producer_check(producer: ProducerStatus) -> Check:
    return Check("producer", producer.name, (producer.unavailable_reason,) if producer.unavailable_reason else ())
