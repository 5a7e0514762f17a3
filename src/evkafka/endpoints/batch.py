"""Batches: one attempt at many records, by one call of a batch endpoint.

With the default stack the values are decoded and the endpoint is called (`DirectBatch`). With any other stack each
record runs through the stack in its own task, and waits at the stack's end for the others (`MiddlewareBatch`). Then the
endpoint is called once, and each record's stack returns or raises its own result.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from copy import copy
from typing import Any

from evkafka.context import App, Context
from evkafka.endpoints.endpoint import Endpoint
from evkafka.outcomes import BatchError, Failed, FailureOutcome, PartialFailure
from evkafka.records import Record
from evkafka.runtime.failure_cause import Fatal, classify_exception
from evkafka.runtime.ports import BatchAttempt, Slot
from evkafka.serde.decoding import DECODE_FAILURES


def outcome_of_record_failure(failure: object) -> FailureOutcome:
    """A record's outcome for an exception, or for an outcome that a BatchError names. A class stands for an instance.

    Raises:
        MemoryError, KeyboardInterrupt, SystemExit: if it is one of these, which are no record's failure.
        TypeError: it is neither an exception nor an outcome.
    """
    match failure:
        case type() if issubclass(failure, BaseException):
            return outcome_of_record_failure(failure())
        case StopIteration():
            # A coroutine would raise a RuntimeError, too. A future refuses it, and each record of a stack awaits one.
            error = RuntimeError("BatchError gives StopIteration for a record")
            error.__cause__ = failure
            return outcome_of_record_failure(error)
        case BaseException():
            outcome = classify_exception(failure)
            if isinstance(outcome, Fatal):
                raise failure
            return outcome
        case _:
            raise TypeError(f"BatchError gives {failure!r} for a record: give an exception or an outcome")


def partial_failure_of_batch_error(error: BatchError, wanted: Sequence[int]) -> PartialFailure:
    """A BatchError, with indices in the batch in place of those in the endpoint's lists.

    Raises:
        TypeError: it names a record that was not passed to the endpoint.
    """
    failed: Mapping[Any, object] = error.failed
    ends = {}
    for position, failure in failed.items():
        if not isinstance(position, int) or not 0 <= position < len(wanted):
            raise TypeError(f"BatchError names record {position!r}, but the batch has records 0 to {len(wanted) - 1}")
        ends[wanted[position]] = outcome_of_record_failure(failure)
    return PartialFailure(ends)


async def _await_and_convert_batch_error(call: Awaitable[object], wanted: Sequence[int]) -> object:
    """The result of a batch endpoint's call: a BatchError, raised or returned, becomes a `PartialFailure`."""
    try:
        returned = await call
    except BatchError as error:
        return partial_failure_of_batch_error(error, wanted)
    return partial_failure_of_batch_error(returned, wanted) if isinstance(returned, BatchError) else returned


# ---------------------------------------------------------------------------- the default stack


class DirectBatch:
    """A batch through the default stack."""

    def __init__(self, endpoint: Endpoint, records: Sequence[Record], slot: Slot) -> None:
        self._endpoint = endpoint
        self._records = records
        self._slot = slot
        self._payloads: list[Any] = []

    async def run_up_to_endpoint(self) -> Mapping[int, FailureOutcome | None]:
        try:  # all in one go first: a value that cannot be decoded is rare
            self._payloads = self._decode_all()
        except DECODE_FAILURES:
            pass
        else:
            return {}
        # Outside of the `except` block: otherwise this exception is the context of outcomes that validators raise.
        return self._decode_one_by_one()

    def _decode_all(self) -> list[Any]:
        if self._slot.formats is not None:
            return list(map(self._create_decoder(), self._records))
        decode = self._endpoint.resolve_decoder().from_bytes  # as `_create_decoder`, without a call for each record
        values = [record.value for record in self._records]
        return [decode(value) if value is not None else None for value in values]

    def _create_decoder(self) -> Callable[[Record], Any]:
        if (formats := self._slot.formats) is not None:
            by_format = self._endpoint.decoder_for_formats(formats)
            return lambda record: by_format(record.value, record) if record.value is not None else None
        decode = self._endpoint.resolve_decoder().from_bytes
        return lambda record: decode(record.value) if record.value is not None else None

    def _decode_one_by_one(self) -> dict[int, FailureOutcome | None]:
        decode, faults = self._create_decoder(), dict[int, FailureOutcome | None]()
        payloads = self._payloads = [None] * len(self._records)
        for index, record in enumerate(self._records):
            try:
                payloads[index] = decode(record)
            except DECODE_FAILURES as error:
                faults[index] = outcome_of_record_failure(self._endpoint.to_decode_error(error, record))
        return faults

    async def run_endpoint(self, wanted: Sequence[int]) -> object:
        payloads, records = self._payloads, self._records
        if len(wanted) < len(payloads):
            payloads, records = [payloads[index] for index in wanted], [records[index] for index in wanted]
        endpoint, slot = self._endpoint, self._slot
        contexts = (Context(record, slot, None, endpoint.event_type) for record in records)
        return await _await_and_convert_batch_error(endpoint.call_batch(payloads, contexts, slot), wanted)

    async def close(self) -> None:
        self._payloads = []


async def call_with_one_record(endpoint: Endpoint, record: Record, slot: Slot) -> object:
    """Call a batch endpoint with one record, which was not collected into a batch."""
    batch = DirectBatch(endpoint, [record], slot)
    faults = await batch.run_up_to_endpoint()
    return _record_result_or_raise(faults[0] if faults else await batch.run_endpoint([0]), 0)


def _record_result_or_raise(result: object, index: int) -> object:
    """One record's part of a batch's result: an outcome is returned, a failure is raised."""
    end = _result_at(result, index)
    if isinstance(end, Failed):
        raise end.error
    return end


def _result_at(result: object, index: int) -> object:
    return result.ends.get(index) if isinstance(result, PartialFailure) else result


# ---------------------------------------------------------------------------- any other stack


async def join_batch_and_await_result(endpoint: Endpoint, context: Context) -> object:
    """The end of a stack for a record of a batch endpoint: add the record to its batch, and wait for its result.

    A record outside of a batch, because a middleware has set its type, is a batch of one.
    """
    payload = await endpoint.decode_payload(context)
    if context.place is not None:
        return await context.place.add_to_batch(payload)
    return _record_result_or_raise(
        await _await_and_convert_batch_error(endpoint.call_batch([payload], [context], context.slot), [0]), 0
    )


class RecordInMiddleware:
    """One record of a batch, in its stack.

    Attributes:
        payload: set once the record has reached the stack's end (`joined`).
        ready: done when the record has reached the stack's end, or its stack has ended before.
        end: the record's result, awaited at the stack's end.
        dropped: True once its task was cancelled by us.
        fatal: an exception that is no record's failure.
    """

    def __init__(self, stack: App, context: Context) -> None:
        loop = asyncio.get_running_loop()
        self.context = context
        self.payload: Any = None
        self.joined = False
        self.dropped = False
        self.fatal: BaseException | None = None
        self.ready: asyncio.Future[None] = loop.create_future()
        self.end: asyncio.Future[object] = loop.create_future()
        context.place = self
        self.task = loop.create_task(self._run_stack(stack))

    async def _run_stack(self, stack: App) -> FailureOutcome | None:
        try:
            await stack(self.context)
        except asyncio.CancelledError as error:
            if self.dropped:
                raise
            return Failed(error)
        except BaseException as error:
            outcome = classify_exception(error)
            if not isinstance(outcome, Fatal):
                return outcome
            self.fatal = error  # raised by this task it would end the loop
        finally:
            if not self.ready.done():
                self.ready.set_result(None)
        return self.context.outcome

    async def wait_for_end(self) -> FailureOutcome | None:
        """Wait for the stack's end; returns the record's outcome, and raises what is no record's failure."""
        end = await self.task
        if self.fatal is not None:
            raise self.fatal
        return end

    def cancel_stack(self) -> None:
        """Cancel its stack."""
        self.dropped = True
        self.task.cancel()

    def add_to_batch(self, payload: Any) -> Awaitable[object]:
        self.payload, self.joined = payload, True
        if not self.ready.done():
            self.ready.set_result(None)
        return self.end


class MiddlewareBatch:
    """A batch through any other stack."""

    def __init__(self, stack: App, contexts: Sequence[Context], endpoint: Endpoint, slot: Slot) -> None:
        self._endpoint = endpoint
        self._slot = slot
        self._contexts = contexts
        self._stack = stack
        self._records: list[RecordInMiddleware] = []

    async def run_up_to_endpoint(self) -> Mapping[int, FailureOutcome | None]:
        if (formats := self._slot.formats) is not None:
            for context in self._contexts:
                formats.raise_if_schema_is_being_fetched(context.record)
        self._records = [RecordInMiddleware(self._stack, context) for context in self._contexts]
        await asyncio.wait([record.ready for record in self._records])
        ended = [index for index, record in enumerate(self._records) if not record.joined]
        return {index: await self._records[index].wait_for_end() for index in ended}

    async def run_endpoint(self, wanted: Sequence[int]) -> object:
        records = [self._records[index] for index in wanted]
        self._records = records + [record for index, record in enumerate(self._records) if index not in set(wanted)]
        for left_out in self._records[len(records) :]:
            left_out.cancel_stack()
        try:
            result = await _await_and_convert_batch_error(self._call_endpoint(records), wanted)
        except Exception as error:
            return await self._raise_in_stacks(records, wanted, error)
        for index, record in zip(wanted, records, strict=True):
            end = _result_at(result, index)
            if isinstance(end, Failed):
                record.end.set_exception(end.error)
            else:
                record.end.set_result(end)
        return await self._collect_outcomes(records, wanted)

    def _call_endpoint(self, records: Sequence[RecordInMiddleware]) -> Awaitable[object]:
        payloads = [record.payload for record in records]
        return self._endpoint.call_batch(payloads, [record.context for record in records], self._slot)

    async def _raise_in_stacks(
        self, records: Sequence[RecordInMiddleware], wanted: Sequence[int], error: Exception
    ) -> object:
        """Every stack gets the error. If all of them let it pass unchanged, it is the failure of the whole batch."""
        for record in records:
            record.end.set_exception(error)
        result = await self._collect_outcomes(records, wanted)
        if len(result.ends) == len(wanted) and all(_is_same_failure(end, error) for end in result.ends.values()):
            raise error
        return result

    async def _collect_outcomes(self, records: Sequence[RecordInMiddleware], wanted: Sequence[int]) -> PartialFailure:
        ends = [await record.wait_for_end() for record in records]
        return PartialFailure({index: end for index, end in zip(wanted, ends, strict=True) if end is not None})

    async def close(self) -> None:
        running = [record for record in self._records if not record.task.done()]
        for record in running:
            if not record.dropped:  # a second cancellation would interrupt the stack's clean-up
                record.cancel_stack()
        if running:
            await asyncio.wait([record.task for record in running])
        for record in self._records:
            if record.end.done() and not record.end.cancelled():
                record.end.exception()  # retrieved, so that the loop does not report it if the stack did not await it


def _is_same_failure(end: FailureOutcome, error: Exception) -> bool:
    return end is error or (isinstance(end, Failed) and end.error is error)


def create_batch_through_middleware(
    stack: App, records: Sequence[Record], slot: Slot, untyped: Callable[[Record], str | None]
) -> BatchAttempt:
    """Open a batch through this stack. Each record has a copy of the slot: its stack may write to it.

    Args:
        untyped: gives the event type of a record without a type header.
    """
    endpoint = slot.route
    assert isinstance(endpoint, Endpoint)
    contexts = [Context(record, _copy_slot_for_record(slot, record), untyped(record)) for record in records]
    return MiddlewareBatch(stack, contexts, endpoint, slot)


def _copy_slot_for_record(slot: Slot, record: Record) -> Slot:
    own = copy(slot)
    own.record = record
    own.thread_future = own.open_run = own.kept = None  # of the executor's own attempt
    return own
