"""Batches: one attempt at many records, by one call of a batch endpoint.

With the default stack the values are decoded and the endpoint is called (`DirectBatch`). With a stack of one's own
each record goes through it in a task of its own, and at its core they meet (`StackBatch`): the endpoint is called
once, and what became of each record comes out of its own stack.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from evkafka.context import App, Context
from evkafka.endpoints.endpoint import Endpoint
from evkafka.outcomes import BatchError, Failed, FailureOutcome, PartialFailure
from evkafka.records import Record
from evkafka.runtime.failure_cause import Fatal, classify_exception
from evkafka.runtime.ports import BatchAttempt, Slot
from evkafka.serde.decoding import DECODE_FAILURES


def end_of(befell: object) -> FailureOutcome:
    """How a record ended by this exception or outcome; a bare class counts as its instance.

    Raises:
        MemoryError, KeyboardInterrupt, SystemExit: what is no record's failure.
        TypeError: it is neither exception nor outcome.
    """
    match befell:
        case type() if issubclass(befell, BaseException):
            return end_of(befell())
        case StopIteration():
            # As out of any coroutine. A future refuses it, and each record of a stack waits for one.
            error = RuntimeError("BatchError says StopIteration of a record")
            error.__cause__ = befell
            return end_of(error)
        case BaseException():
            meaning = classify_exception(befell)
            if isinstance(meaning, Fatal):
                raise befell
            return meaning
        case _:
            raise TypeError(f"BatchError says {befell!r} of a record: give an exception or an outcome")


def apart(error: BatchError, wanted: Sequence[int]) -> PartialFailure:
    """A BatchError's places in the endpoint's lists, as places in the batch.

    Raises:
        TypeError: it says something of a record that the endpoint was not given.
    """
    ends = {}
    for position, befell in error.failed.items():
        if not isinstance(position, int) or not 0 <= position < len(wanted):  # type: ignore[redundant-expr]
            raise TypeError(f"BatchError names record {position!r}, the batch has records 0 to {len(wanted) - 1}")
        ends[wanted[position]] = end_of(befell)
    return PartialFailure(ends)


async def _apart_or_all(attempt: Awaitable[object], wanted: Sequence[int]) -> object:
    try:
        returned = await attempt
    except BatchError as error:
        return apart(error, wanted)
    return apart(returned, wanted) if isinstance(returned, BatchError) else returned


# ---------------------------------------------------------------------------- the default stack


class DirectBatch:
    """A batch through the default stack."""

    def __init__(self, endpoint: Endpoint, records: Sequence[Record], slot: Slot) -> None:
        self._endpoint = endpoint
        self._records = records
        self._slot = slot
        self._payloads: list[Any] = []

    async def prepare(self) -> Mapping[int, FailureOutcome | None]:
        decode = self._endpoint.resolve().from_bytes
        values = [record.value for record in self._records]
        try:  # the plain way first: one bad value among thousands is rare
            self._payloads = [decode(value) if value is not None else None for value in values]
        except DECODE_FAILURES:
            pass
        else:
            return {}
        # Outside of the `except` block: an outcome that another record's validator raises would have this context.
        return self._decode_one_by_one(decode, values)

    def _decode_one_by_one(
        self, decode: Callable[[bytes], Any], values: list[bytes | None]
    ) -> dict[int, FailureOutcome | None]:
        faults: dict[int, FailureOutcome | None] = {}
        payloads = self._payloads = [None] * len(values)
        for index, value in enumerate(values):
            try:
                payloads[index] = decode(value) if value is not None else None
            except DECODE_FAILURES as error:
                faults[index] = end_of(self._endpoint.decoding_fault(error, self._records[index]))
        return faults

    async def run(self, wanted: Sequence[int]) -> object:
        payloads, records = self._payloads, self._records
        if len(wanted) < len(payloads):
            payloads, records = [payloads[index] for index in wanted], [records[index] for index in wanted]
        endpoint, slot = self._endpoint, self._slot
        contexts = (Context(record, slot, None, endpoint.event_type) for record in records)
        return await _apart_or_all(endpoint.call_batch(payloads, contexts, slot), wanted)

    async def close(self) -> None:
        self._payloads = []


async def batch_of_one(endpoint: Endpoint, record: Record, slot: Slot) -> object:
    """A batch endpoint as an ordinary one: for records that come by themselves."""
    batch = DirectBatch(endpoint, [record], slot)
    faults = await batch.prepare()
    return _own(faults[0] if faults else await batch.run([0]), 0)


def _own(result: object, index: int) -> object:
    """What of a batch's result is this record's: returned where it is an outcome, raised where it is a failure."""
    end = result.ends.get(index) if isinstance(result, PartialFailure) else result
    if isinstance(end, Failed):
        raise end.error
    return end


# ---------------------------------------------------------------------------- a stack of one's own


async def run_in_batch(endpoint: Endpoint, context: Context) -> object:
    """The core of a stack, for a record of a batch endpoint: it waits there until the batch has been run.

    A record that is no part of a batch, for its type was set by a middleware, is a batch of its own.
    """
    payload = await endpoint.payload_of(context)
    if context.place is not None:
        return await context.place.meet(payload, context)
    return _own(await _apart_or_all(endpoint.call_batch([payload], [context], context.slot), [0]), 0)


class BatchSlot:
    """One record of a batch in its stack. `ready` is done when it has come to the core, or has ended before."""

    def __init__(self, stack: App, context: Context) -> None:
        loop = asyncio.get_running_loop()
        self.context = context
        self.payload: Any = None
        self.met = False
        self.let_go = False
        self.fatal: BaseException | None = None
        self.ready: asyncio.Future[None] = loop.create_future()
        self.end: asyncio.Future[object] = loop.create_future()
        context.place = self
        self.task = loop.create_task(self._run(stack))

    async def _run(self, stack: App) -> FailureOutcome | None:
        try:
            await stack(self.context)
        except asyncio.CancelledError as error:
            if self.let_go:
                raise
            return Failed(error)
        except BaseException as error:
            meaning = classify_exception(error)
            if not isinstance(meaning, Fatal):
                return meaning
            self.fatal = error  # raised out of a task of its own it would tear through the loop
        finally:
            if not self.ready.done():
                self.ready.set_result(None)
        return self.context.outcome

    async def ended(self) -> FailureOutcome | None:
        """How the record ended; raises what is no record's failure."""
        end = await self.task
        if self.fatal is not None:
            raise self.fatal
        return end

    def cancel(self) -> None:
        self.let_go = True
        self.task.cancel()

    def meet(self, payload: Any, context: Context) -> Awaitable[object]:
        self.payload, self.met = payload, True
        if not self.ready.done():
            self.ready.set_result(None)
        return self.end


class StackBatch:
    """A batch through a stack of one's own."""

    def __init__(self, stack: App, contexts: Sequence[Context], endpoint: Endpoint, slot: Slot) -> None:
        self._endpoint = endpoint
        self._slot = slot
        self._contexts = contexts
        self._stack = stack
        self._places: list[BatchSlot] = []

    async def prepare(self) -> Mapping[int, FailureOutcome | None]:
        self._places = [BatchSlot(self._stack, context) for context in self._contexts]
        await asyncio.wait([place.ready for place in self._places])
        ended = [index for index, place in enumerate(self._places) if not place.met]
        return {index: await self._places[index].ended() for index in ended}

    async def run(self, wanted: Sequence[int]) -> object:
        places = [self._places[index] for index in wanted]
        self._places = places + [place for index, place in enumerate(self._places) if index not in set(wanted)]
        for left_out in self._places[len(places) :]:
            left_out.cancel()
        try:
            result = await _apart_or_all(self._call(places), wanted)
        except Exception as error:
            return await self._all_failed(places, wanted, error)
        for index, place in zip(wanted, places, strict=True):
            end = result.ends.get(index) if isinstance(result, PartialFailure) else result
            if isinstance(end, Failed):
                place.end.set_exception(end.error)
            else:
                place.end.set_result(end)
        return await self._together(places, wanted)

    def _call(self, places: Sequence[BatchSlot]) -> Awaitable[object]:
        payloads = [place.payload for place in places]
        return self._endpoint.call_batch(payloads, [place.context for place in places], self._slot)

    async def _all_failed(self, places: Sequence[BatchSlot], wanted: Sequence[int], error: Exception) -> object:
        """It comes out of every stack; where none has made anything else of it, it is the batch's own failure."""
        for place in places:
            place.end.set_exception(error)
        result = await self._together(places, wanted)
        if len(result.ends) == len(wanted) and all(_is(end, error) for end in result.ends.values()):
            raise error
        return result

    async def _together(self, places: Sequence[BatchSlot], wanted: Sequence[int]) -> PartialFailure:
        ends = [await place.ended() for place in places]
        return PartialFailure({index: end for index, end in zip(wanted, ends, strict=True) if end is not None})

    async def close(self) -> None:
        left = [place for place in self._places if not place.task.done()]
        for place in left:
            if not place.let_go:  # once: what a stack does when it is cancelled must not be broken off
                place.cancel()
        if left:
            await asyncio.wait([place.task for place in left])
        for place in self._places:
            if place.end.done() and not place.end.cancelled():
                place.end.exception()  # looked at: a stack that did not await it is no news


def _is(end: FailureOutcome, error: Exception) -> bool:
    return end is error or (isinstance(end, Failed) and end.error is error)


def stack_batch(stack: App, records: Sequence[Record], slot: Slot, topic_types: Mapping[str, str]) -> BatchAttempt:
    """Open a batch through this stack. Each record has a slot like the batch's, which its stack may write to."""
    endpoint = slot.route
    assert isinstance(endpoint, Endpoint)
    contexts = [Context(record, _like(slot, record), topic_types.get(record.topic)) for record in records]
    return StackBatch(stack, contexts, endpoint, slot)


def _like(slot: Slot, record: Record) -> Slot:
    own = Slot(slot.consumer, slot.state, slot.threads)
    own.attempt, own.record, own.route, own.overrides = slot.attempt, record, slot.route, slot.overrides
    return own
