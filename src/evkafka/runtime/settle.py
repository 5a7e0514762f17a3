"""Step 6 of 7: from an outcome to a verdict, a value that the executor carries out.

This is the only place that decides it. docs/delivery.md shows the table, and tests/conformance checks it.
"""

from __future__ import annotations

import random as _random
from collections.abc import Callable
from dataclasses import dataclass

from evkafka.config.settings import ErrorPolicySettings
from evkafka.outcomes import DeadLetter, Failed, Outcome, Retry, Skip, Unmatched
from evkafka.records import Record
from evkafka.runtime.backoff import exponential_delay_s
from evkafka.runtime.failure_cause import exception_behind_outcome, find_exception
from evkafka.telemetry import Status


@dataclass(frozen=True, slots=True)
class Finish:
    """The record needs nothing more; its offset may be committed."""

    status: Status


@dataclass(frozen=True, slots=True)
class Wait:
    """The record is tried again after this time; only its lane waits."""

    delay_s: float


@dataclass(frozen=True, slots=True)
class SendToRetryTopic:
    """The record is written to a retry topic. Once that is confirmed, its offset is finished in the original topic.
    Its copy in the retry topic is handled after this time."""

    delay_ms: int
    reason: str
    error: BaseException | None


@dataclass(frozen=True, slots=True)
class SendToDeadLetter:
    """The record is written to the dead-letter topic and is finished once that is confirmed."""

    reason: str
    error: BaseException | None


@dataclass(frozen=True, slots=True)
class StopConsuming:
    """The app stops, with the record uncommitted."""

    reason: str
    error: BaseException | None


Verdict = Finish | Wait | SendToRetryTopic | SendToDeadLetter | StopConsuming

OK = Finish("ok")


def address_of(record: Record) -> str:
    return f"{record.topic}[{record.partition}]@{record.offset}"


def written_status(verdict: SendToRetryTopic | SendToDeadLetter) -> Status:
    """Status counted for a record sent to another topic."""
    return "retried" if isinstance(verdict, SendToRetryTopic) else "dead_lettered"


def decide_at_least_once(
    outcome: Outcome | Unmatched | Failed | None,
    *,
    attempt: int,
    policy: ErrorPolicySettings,
    unmatched: str,
    waited_ms: int = 0,
    random: Callable[[], float] = _random.random,
) -> Verdict:
    """The verdict in at-least-once mode.

    Args:
        attempt: which attempt it was, from 1.
        policy: the event type's error policy.
        unmatched: what happens to a record that no endpoint takes: skip, dead_letter or stop.
        waited_ms: the delay of the retry topic that the record was read from; 0 for the consumer's own topic.
    """
    match outcome:
        case None:
            return OK
        case Skip():
            return Finish("skipped")
        case Unmatched(reason=reason):
            return _decide_unmatched(reason, unmatched)
        case DeadLetter():
            return _decide_dead_letter_asked_by_endpoint(outcome)
        case Retry(after_ms=after_ms):
            error = exception_behind_outcome(outcome)
            return _decide_retry(attempt, policy, after_ms=after_ms, error=error, waited_ms=waited_ms, random=random)
        case Failed(error=error) if policy.non_retryable and (found := find_exception(error, policy.non_retryable)):
            raised, kind = found
            return _verdict_of_policy_then(policy, raised, f"{type(kind).__name__} is non_retryable")
        # Without `max_attempts` a record is tried until it succeeds, also one that cannot be decoded.
        case Failed(error=error, retriable=False) if policy.max_attempts is not None:
            return _verdict_of_policy_then(
                policy, error, "its value cannot be decoded, so another attempt would fail too"
            )
        case Failed(error=error):
            return _decide_retry(attempt, policy, after_ms=None, error=error, waited_ms=waited_ms, random=random)
        case _:
            raise AssertionError(f"no verdict for {outcome!r}")


def decide_at_most_once(outcome: Outcome | Unmatched | Failed | None) -> Verdict:
    """The verdict in at-most-once mode: the offset is committed already, so a failure is counted and the next record
    runs."""
    match outcome:
        case None:
            return OK
        case Skip() | Unmatched():
            return Finish("skipped")
        case DeadLetter():
            return _decide_dead_letter_asked_by_endpoint(outcome)
        case _:
            return Finish("failed")


def _decide_dead_letter_asked_by_endpoint(outcome: DeadLetter) -> SendToDeadLetter:
    """Passes the outcome as the error if it has a cause, so that the headers show the cause."""
    return SendToDeadLetter(outcome.reason, outcome if exception_behind_outcome(outcome) is not None else None)


def _decide_unmatched(reason: str, unmatched: str) -> Verdict:
    match unmatched:
        case "dead_letter":
            return SendToDeadLetter(f"unmatched: {reason}", None)
        case "stop":
            return StopConsuming(f"no endpoint handles it ({reason}), and `unmatched` is 'stop'", None)
        case _:
            return Finish("skipped")


def _decide_retry(
    attempt: int,
    policy: ErrorPolicySettings,
    *,
    after_ms: int | None,
    error: BaseException | None,
    waited_ms: int,
    random: Callable[[], float],
) -> Verdict:
    if policy.max_attempts is not None and attempt >= policy.max_attempts:
        why = f"attempt {attempt} of {policy.max_attempts} failed"
        # Chosen by delay, not by index, so that changing `retry_topics` does not disturb records under way.
        longer_ms = next((delay_ms for delay_ms in policy.retry_topics if delay_ms > waited_ms), None)
        return (
            SendToRetryTopic(longer_ms, why, error)
            if longer_ms is not None
            else _verdict_of_policy_then(policy, error, why)
        )
    if after_ms is not None:
        return Wait(after_ms / 1000)
    return Wait(
        exponential_delay_s(
            attempt,
            first_s=policy.backoff_s,
            multiplier=policy.backoff_multiplier,
            most_s=policy.max_backoff_s,
            jitter=policy.jitter,
            random=random,
        )
    )


def _verdict_of_policy_then(policy: ErrorPolicySettings, error: BaseException | None, why: str) -> Verdict:
    """The verdict that `then` names, without another attempt."""
    match policy.then:
        case "skip":
            return Finish("failed")
        case "dead_letter":
            return SendToDeadLetter(why, error)
        case _:
            return StopConsuming(why, error)
