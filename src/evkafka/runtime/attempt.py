"""Step 5 of 7: from the result or exception of an attempt to an outcome. Also its time limit, and why it is cancelled.

The executor runs attempts one after the other in its own task; `service/single_attempt.py` runs one attempt alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from evkafka.exceptions import EndpointTimeout
from evkafka.outcomes import DeadLetter, Failed, Outcome, Retry, Skip, Unmatched
from evkafka.records import Record
from evkafka.runtime.failure_cause import Fatal, classify_exception
from evkafka.runtime.ports import Slot

CancelReason = Literal["timeout", "abandoned", "killed"]
"""Why we cancel the task of an attempt.

- timeout: the attempt is past its time limit.
- abandoned: its partition is being revoked, or the app stops.
- killed: the task must end.

A cancellation without a reason comes from outside, and ends only the attempt that it is raised in."""


@dataclass(frozen=True, slots=True)
class Abandoned:
    """The attempt was cancelled because its partition is revoked or the app stops: neither a success nor a failure."""


ABANDONED = Abandoned()


def time_limit_s(slot: Slot, default_s: float) -> float:
    """How long the attempt in this slot may take: its event type's limit, else the consumer's."""
    route = slot.route
    return route.timeout_s if route is not None and route.timeout_s is not None else default_s


def withdraw_call_unless_thread_runs_it(slot: Slot) -> bool:
    """Withdraw the attempt's call if that still waits for a thread. Returns whether cancelling its task can end it.

    False while a thread runs the endpoint. Middleware around a plain `def` endpoint can be cancelled before and after
    the thread runs. A call that has finished, but whose result has not been delivered, keeps its result.
    """
    call = slot.thread_future
    return call is None or slot.route is None or not slot.route.threaded or call.cancel()


def is_current_task(task: asyncio.Task[Any] | None) -> bool:
    """Whether this task runs now. False after the event loop has been closed, when the task's coroutine is closed from
    outside."""
    try:
        return asyncio.current_task() is task
    except RuntimeError:
        return False


def classify_result(result: object) -> Outcome | Unmatched | Failed | None:
    """The outcome that an endpoint returned; None means done. A bare outcome class counts as its instance."""
    match result:
        case Skip() | Retry() | DeadLetter() | Unmatched() | Failed():
            return result
        case type() if issubclass(result, Skip | Retry | DeadLetter):
            return result()
        case _:
            return None


def classify_attempt_exception(
    error: BaseException,
    reason: CancelReason | None,
    task: asyncio.Task[Any] | None,
    make_timeout: Callable[[], EndpointTimeout],
) -> Outcome | Failed | Fatal | Abandoned:
    """What an exception raised by an attempt means.

    Args:
        reason: why we have cancelled the attempt; None if we have not. One exception may stand for several
            cancellations, from outside too: if there is a reason, it decides.
        task: the task that the attempt runs in.
        make_timeout: creates the failure of an attempt that is past its time limit.

    Raises:
        BaseException: the error itself if it must end the task: the task is killed, or the event loop is
            closed.
    """
    match error, reason:
        case asyncio.CancelledError(), "killed":
            raise error
        case asyncio.CancelledError(), "timeout":
            return Failed(make_timeout())
        case asyncio.CancelledError(), "abandoned":
            return ABANDONED
        case GeneratorExit(), _ if not is_current_task(task):
            raise error
    return classify_exception(error)


def timeout_error(slot: Slot, record: Record, *, limit: str = "", details: str) -> EndpointTimeout:
    """The failure of an attempt that is past its time limit."""
    route = slot.route
    return EndpointTimeout(
        f"{route.name if route is not None else 'the middleware'} exceeded its time limit{limit} at"
        f" {record.topic}[{record.partition}]@{record.offset} ({details})",
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        event_type=route.event_type if route is not None else None,
    )
