"""Logs failed attempts. Of failures of one kind the first is logged whole, and the repeated ones are counted."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from evkafka.exceptions import DecodeError, message_of
from evkafka.runtime.failure_cause import app_traceback, needs_traceback, reported_exception
from evkafka.serde.safe_text import escape_line
from evkafka.telemetry import AttemptFailed, ConsumerStopped, Event

logger = logging.getLogger("evkafka.events")

WINDOW_S = 60.0
"""A kind of failure is logged whole again after this time."""

MAX_LINES = 10
"""So many repeated failures of a kind have a line of their own in this time. Further ones are counted."""

MAX_KINDS = 256
"""So many kinds are told apart at a time. Further ones count as one kind for each consumer."""

ERROR_CHARACTERS = 2000
"""Longest text of an error in a line."""

STOPPING = ("stop", "dead_letter_limit")
"""The decisions that stop the app."""


@dataclass(frozen=True, slots=True)
class FailureKind:
    """Failures of one kind: same endpoint, same type of error, raised by the same line of code."""

    consumer: str
    endpoint: str
    error_type: str
    raised_at: str


@dataclass(slots=True)
class _Window:
    """The failures of one kind since the first one, for `WINDOW_S`.

    It keeps no event: the traceback of an error keeps the records of its frames in memory.

    Attributes:
        lines: the number of repeated failures that were logged.
        counted: the number of those that were not.
        last: the record of the last one that was not.
    """

    ends_s: float
    lines: int = 0
    counted: int = 0
    last: str = ""


class FailureLog:
    """Decides how a failed attempt is logged: whole, in one line, or only counted.

    A record that is given up always has a line: it was skipped, is a dead letter, or stops the app.
    """

    def __init__(self) -> None:
        self._now: Callable[[], float] = time.monotonic
        self._windows: dict[FailureKind, _Window] = {}  # in the order in which they end

    def use_clock(self, now: Callable[[], float]) -> None:
        """Measure the time with this clock from now on."""
        self._windows.clear()
        self._now = now

    def log_or_count_failed_attempt(self, event: AttemptFailed) -> None:
        self.close_ended_windows()
        kind = self._limited_kind(_kind_of(event))
        window = self._windows.get(kind)
        if window is None:
            self._windows[kind] = _Window(self._now() + WINDOW_S)
            _log_failure(event, traceback=True)
        elif event.decision in ("finish", "dead_letter", *STOPPING):
            _log_failure(event, traceback=event.decision in STOPPING)
        elif window.lines < MAX_LINES:
            window.lines += 1
            _log_failure(event, traceback=False)
        else:
            window.counted += 1
            window.last = f"{event.topic}[{event.partition}]@{event.offset}"
            if logger.isEnabledFor(logging.DEBUG):
                _log_failure(event, traceback=False, level=logging.DEBUG)

    def close_ended_windows(self, _: Event | None = None) -> None:
        """Log the counts of the windows that have ended. Called often, so that a count does not wait for a failure."""
        while self._windows:
            kind, window = next(iter(self._windows.items()))
            if window.ends_s > self._now():
                return
            self._close_window(kind)

    def log_failure_counts_of_stopped_consumer(self, event: ConsumerStopped) -> None:
        """Log the counts of a consumer that has ended."""
        for kind in [one for one in self._windows if one.consumer == event.consumer]:
            self._close_window(kind)

    def _limited_kind(self, kind: FailureKind) -> FailureKind:
        if kind in self._windows or len(self._windows) < MAX_KINDS:
            return kind
        return FailureKind(kind.consumer, "", "", "")

    def _close_window(self, kind: FailureKind) -> None:
        window = self._windows.pop(kind)
        if window.counted:
            logger.warning(
                "%s failed %d more times within %g s: %s, last at %s",
                kind.endpoint or "endpoints",
                window.counted,
                WINDOW_S,
                kind.error_type or "many kinds of errors",
                window.last,
                extra={"consumer": kind.consumer, "handler": kind.endpoint or None, "failures": window.counted},
            )


def _kind_of(event: AttemptFailed) -> FailureKind:
    if event.error is None:
        return FailureKind(event.consumer, event.endpoint, event.outcome, "")
    error = reported_exception(event.error)
    return FailureKind(event.consumer, event.endpoint, type(error).__qualname__, _raising_file_and_line(error))


def _raising_file_and_line(error: BaseException) -> str:
    """The line of code that raised it."""
    at = error.__traceback__
    if at is None:
        return ""
    while at.tb_next is not None:
        at = at.tb_next
    return f"{at.tb_frame.f_code.co_filename}:{at.tb_lineno}"


def _log_failure(event: AttemptFailed, *, traceback: bool, level: int = logging.WARNING) -> None:
    error = event.error
    shown = error if traceback and error is not None and needs_traceback(error) else None
    logger.log(
        logging.CRITICAL if event.decision in STOPPING else level,
        *_failure_message_and_arguments(event),
        exc_info=(type(shown), shown, app_traceback(shown)) if shown is not None else None,
        extra={
            "consumer": event.consumer,
            "topic": event.topic,
            "partition": event.partition,
            "offset": event.offset,
            "event_type": event.event_type,
            "handler": event.endpoint or None,
            "attempt": event.attempt,
            "key_hash": event.key_hash,
        },
    )


def _failure_message_and_arguments(event: AttemptFailed) -> tuple[object, ...]:
    """The text of a line, and its arguments."""
    address, consequence = (event.topic, event.partition, event.offset), _consequence_text(event)
    if event.outcome == "Unmatched":
        return "no endpoint handles %s[%d]@%d (%s); %s", *address, event.reason, consequence
    return (
        "%s failed at %s[%d]@%d, attempt %d; %s: %s",
        event.endpoint or ("decoding" if isinstance(event.error, DecodeError) else "the middleware"),
        *address,
        event.attempt,
        consequence,
        _join_outcome_reason_and_error(event),
    )


def _consequence_text(event: AttemptFailed) -> str:
    return {
        "wait": f"trying again in {event.retry_in_s:.1f} s",
        "finish": "skipping it",
        "retry_topic": f"writing it to a retry topic, next attempt in {event.retry_in_s:g} s",
        "dead_letter": "writing it to the dead-letter topic",
        "dead_letter_limit": "the dead_letter_limit is reached: stopping the app, the record stays uncommitted",
        "stop": "stopping the app, the record stays uncommitted",
    }[event.decision]


def _join_outcome_reason_and_error(event: AttemptFailed) -> str:
    """Why it failed: the outcome that was requested, with its reason, and the error."""
    requested = [f"{event.outcome} requested"] if event.outcome else []
    reason = [escape_line(event.reason, ERROR_CHARACTERS)] if event.reason else []
    error = [error_text(reported_exception(event.error))] if event.error is not None else []
    return ": ".join([*requested, *reason, *error])


def error_text(error: BaseException, show: Callable[[BaseException], str] = repr) -> str:
    """The text of an error, shortened and on one line: it may quote a record."""
    return escape_line(message_of(error, show), ERROR_CHARACTERS)
