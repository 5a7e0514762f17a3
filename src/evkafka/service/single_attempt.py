"""One attempt at one record or batch, without Kafka: for tests, dry runs and replays.

The dispatch, the time limit and the outcome are those of production.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Literal

from evkafka.exceptions import EndpointTimeout, RegistryUnavailable
from evkafka.outcomes import BatchError, DeadLetter, Failed, FailureOutcome, PartialFailure, Retry, Skip, Unmatched
from evkafka.records import Record
from evkafka.runtime.attempt import (
    CancelReason,
    classify_attempt_exception,
    classify_result,
    time_limit_s,
    timeout_error,
    withdraw_call_unless_thread_runs_it,
)
from evkafka.runtime.attempt_context import copy_context_for_attempts
from evkafka.runtime.deadline import remaining
from evkafka.runtime.ports import Dispatch, Route, Slot

logger = logging.getLogger("evkafka.testing")

SLOWEST_ROUND_S = 0.25
FASTEST_ROUND_S = 0.01

REGISTRY_S = 10.0
"""How long a schema is waited for."""

OutcomeName = Literal["done", "skip", "retry", "dead_letter", "failed", "unmatched"]


@dataclass(frozen=True, slots=True)
class Delivery:
    """The result of one attempt at one record.

    Attributes:
        outcome: `done`: the endpoint returned. `skip`, `retry`, `dead_letter`: the outcome that it returned or raised.
            `failed`: it raised, ran past its time limit, or the value could not be decoded. `unmatched`: no endpoint
            takes the record.
        error: why it failed; None with any other outcome.
        reason: the outcome's reason, or why nothing matched: `no_type`, `no_endpoint`, `tombstone`.
        after_ms: what `Retry(after_ms=...)` asked for.
    """

    outcome: OutcomeName
    error: BaseException | None
    reason: str = field(default="", compare=False)
    after_ms: int | None = field(default=None, compare=False)


def delivery_from_result(result: object) -> Delivery:
    """The result of an attempt, classified as the runtime does."""
    match classify_result(result):
        case Skip(reason=reason):
            return Delivery("skip", None, reason)
        case Retry(after_ms=after_ms):
            return Delivery("retry", None, after_ms=after_ms)
        case DeadLetter(reason=reason):
            return Delivery("dead_letter", None, reason)
        case Unmatched(reason=reason):
            return Delivery("unmatched", None, reason)
        case Failed(error=error):
            return Delivery("failed", error)
        case _:
            return Delivery("done", None)


Call = Callable[[], Awaitable[object]]


class TimedAttempt:
    """Runs once, in its own task and context; past its time limit that task is cancelled.

    Args:
        record: the record that is tried; of a batch, the first one.
        limit_s: the consumer's time limit; the matched endpoint's own limit takes precedence.
        shortest_limit_s: the shortest of all limits; the clock is checked each tenth of it.
    """

    def __init__(self, record: Record, slot: Slot, *, limit_s: float, shortest_limit_s: float) -> None:
        self._record = record
        self._slot = slot
        self._consumer_limit_s = limit_s
        self._check_every_s = min(max(shortest_limit_s / 10, FASTEST_ROUND_S), SLOWEST_ROUND_S)
        self._started_s = 0.0
        self._task: asyncio.Task[object] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._cancel_reason: CancelReason | None = None
        self._overran = False

    async def run(self, call: Call) -> object:
        """What the call returned, an outcome that it raised, `Failed`, or `Fatal` if the app would stop.

        Raises only when cancelled.
        """
        loop = asyncio.get_running_loop()
        task = self._task = loop.create_task(
            self._run_with_limit(call), name="evkafka-attempt", context=copy_context_for_attempts()
        )
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError:  # the test, or the replay, is being ended
            self._cancel_reason = "killed"
            task.cancel()
            await asyncio.wait({task})
            raise
        return task.result()

    async def _run_with_limit(self, call: Call) -> object:
        self._started_s = time.monotonic()
        remaining.set(self._time_left_s)
        self._schedule_limit_check()
        try:
            return await call()
        except BaseException as error:  # `classify_attempt_exception` decides what it means, or raises it again
            # A fatal error is returned: raised in here, it would end the loop, and the test client with it.
            return classify_attempt_exception(
                error, self._cancel_reason, self._task, partial(self._timeout_error, error)
            )
        finally:
            assert self._timer is not None
            self._timer.cancel()

    # ------------------------------------------------------------------ the time limit

    def _time_limit_s(self) -> float:
        return time_limit_s(self._slot, self._consumer_limit_s)

    def _time_left_s(self) -> float:
        return self._time_limit_s() - (time.monotonic() - self._started_s)

    def _schedule_limit_check(self) -> None:
        if self._time_left_s() < 0 and self._cancel_reason is None and not self._overran:
            self._cancel_timed_out()
        self._timer = asyncio.get_running_loop().call_later(self._check_every_s, self._schedule_limit_check)

    def _cancel_timed_out(self) -> None:
        """Cancel it. As in production, a plain `def` in its thread is waited for, and its result counts."""
        if not withdraw_call_unless_thread_runs_it(self._slot):
            assert self._slot.route is not None
            self._overran = True
            logger.warning(
                "%s exceeded its time limit of %g s; a thread cannot be cancelled, so waiting for its end",
                self._slot.route.name,
                self._time_limit_s(),
            )
            return
        self._cancel_reason = "timeout"
        assert self._task is not None
        self._task.cancel()

    def _timeout_error(self, cancelled: BaseException) -> EndpointTimeout:
        error = timeout_error(
            self._slot,
            self._record,
            limit=f" of {self._time_limit_s():g} s",
            details="`timeout_ms` of the event type, or the consumer's `max_endpoint_exec_time_ms`",
        )
        error.__cause__ = cancelled  # shows the line at which it was cancelled
        return error


class SingleRecordCall:
    """The call of one record's endpoint."""

    def __init__(self, dispatch: Dispatch, record: Record, slot: Slot) -> None:
        self.records: Sequence[Record] = (record,)
        self._dispatch = dispatch
        self.slot = slot

    async def __call__(self) -> object:
        [record] = self.records
        if self._dispatch.awaited is not None:
            await wait_until_schemas_known(self._dispatch.awaited, self.records)
        attempt = self._dispatch.call(record, self.slot)
        return attempt if isinstance(attempt, Unmatched) else await attempt

    def list_record_results(self, result: object) -> list[object]:
        """The attempt's result, record by record."""
        return [result]

    def error_from_result(self, result: object) -> BaseException | None:
        """The error that a test gets; None if the attempt did not fail."""
        return result.error if isinstance(result, Failed) else None


class BatchCall:
    """The call of a batch endpoint."""

    def __init__(self, dispatch: Dispatch, records: Sequence[Record], slot: Slot, route: Route) -> None:
        self.records = records
        self._dispatch = dispatch
        self.slot = slot
        slot.route = route
        self._settled: dict[int, FailureOutcome | None] = {}

    async def __call__(self) -> object:
        if self._dispatch.awaited is not None:
            await wait_until_schemas_known(self._dispatch.awaited, self.records)
        batch = self._dispatch.open_batch(self.records, self.slot)
        try:
            self._settled.update(await batch.run_up_to_endpoint())
            wanted = [index for index in range(len(self.records)) if index not in self._settled]
            return await batch.run_endpoint(wanted) if wanted else None
        finally:
            await batch.close()

    def list_record_results(self, result: object) -> list[object]:
        """The attempt's result, record by record: of those settled before the endpoint ran, then of the others."""
        ends = result.ends if isinstance(result, PartialFailure) else None
        return [
            self._settled[index] if index in self._settled else result if ends is None else ends.get(index)
            for index in range(len(self.records))
        ]

    def error_from_result(self, result: object) -> BaseException | None:
        """The failure of the whole batch; else a BatchError with the failed records; else the first decoding error."""
        match result:
            case Failed(error=error):
                return error
            case PartialFailure(ends=ends) if errors := [end.error for end in ends.values() if isinstance(end, Failed)]:
                failure = BatchError(
                    {index: found for index, end in ends.items() if (found := _error_of(end)) is not None}
                )
                failure.__cause__ = errors[0]
                return failure
            case _:
                return next((end.error for end in self._settled.values() if isinstance(end, Failed)), None)


async def wait_until_schemas_known(
    awaited: Callable[[Record], asyncio.Future[None] | None], records: Sequence[Record]
) -> None:
    """Wait for the schemas of the records' values. A consumer would wait, too, without a limit.

    Raises:
        RegistryUnavailable: the registry has not answered for a while.
    """
    for record in records:
        while (ready := awaited(record)) is not None:
            if not (await asyncio.wait({ready}, timeout=REGISTRY_S))[0]:
                raise RegistryUnavailable(
                    f"the schema registry has not answered within {REGISTRY_S:g} s, so that"
                    f" {record.topic}[{record.partition}]@{record.offset} cannot be decoded"
                )


def calls_for(
    dispatch: Dispatch, records: Sequence[Record], slot: Callable[[], Slot]
) -> Iterator[SingleRecordCall | BatchCall]:
    """The calls that these records need, in order.

    Neighbours with one batch endpoint and one partition are in one call, up to the endpoint's limit.

    Args:
        slot: makes a slot for each call.
    """
    left = list(records)
    while left:
        route = dispatch.limited_route(left[0]) if dispatch.limited_route is not None else None
        if route is None or route.batch is None:
            yield SingleRecordCall(dispatch, left.pop(0), slot())
            continue
        size = 1
        while size < min(len(left), route.batch.max_records) and _belong_to_one_batch(dispatch, left[0], left[size]):
            size += 1
        yield BatchCall(dispatch, left[:size], slot(), route)
        del left[:size]


def _belong_to_one_batch(dispatch: Dispatch, first: Record, other: Record) -> bool:
    assert dispatch.limited_route is not None
    return (first.topic, first.partition) == (other.topic, other.partition) and (
        dispatch.limited_route(first) is dispatch.limited_route(other)
    )


def _error_of(end: FailureOutcome | None) -> BaseException | None:
    """What a BatchError says about a record that ended so: an exception or an outcome."""
    match end:
        case Failed(error=error):
            return error
        case BaseException():
            return end
        case _:
            return None
