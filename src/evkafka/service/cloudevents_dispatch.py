"""The dispatch of a consumer with the envelope "cloudevents": it takes the event out of each record first."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import TypeVar

from evkafka.exceptions import DecodeError
from evkafka.outcomes import Unmatched
from evkafka.records import Record
from evkafka.runtime.ports import BatchAttempt, Dispatch, Slot, ThreadCall

T = TypeVar("T")

ReadEvent = Callable[[Record], Record]
"""Takes the event out of a record. Raises DecodeError if the record is not an event."""


def wrap_dispatch_to_read_cloudevents(
    dispatch: Dispatch, read: ReadEvent, trace: Callable[[Dispatch], Dispatch]
) -> Dispatch:
    """A dispatch that passes events to the given one, which is traced: a span's parent may be in the event.

    An invalid event has no endpoint. Its attempt raises the DecodeError, in a span whose parent is in the record.
    """
    traced = trace(dispatch)
    refused = trace(replace(dispatch, call=lambda record, slot: dispatch.call(read(record), slot)))

    def call(record: Record, slot: Slot) -> Awaitable[object] | Unmatched:
        slot.route = None
        try:
            event = read(record)
        except DecodeError:
            pass
        else:
            return traced.call(event, slot)
        return refused.call(record, slot)

    def open_batch(records: Sequence[Record], slot: Slot) -> BatchAttempt:
        return traced.open_batch([read(record) for record in records], slot)

    return Dispatch(
        call,
        _wrap_lookup_to_unwrap_cloudevent(traced.route, read),
        _wrap_lookup_to_unwrap_cloudevent(traced.limited_route, read) if traced.limited_route is not None else None,
        open_batch,
        _wrap_thread_call_to_read_cloudevents(traced.thread_call, read) if traced.thread_call is not None else None,
        _wrap_lookup_to_unwrap_cloudevent(traced.awaited, read) if traced.awaited is not None else None,
    )


def _wrap_lookup_to_unwrap_cloudevent(
    of: Callable[[Record], T | None], read: ReadEvent
) -> Callable[[Record], T | None]:
    """What `of` says of the event in a record; None if it is not one."""

    def of_event(record: Record) -> T | None:
        try:
            return of(read(record))
        except DecodeError:
            return None

    return of_event


def _wrap_thread_call_to_read_cloudevents(
    thread_call: Callable[[Record, Slot], ThreadCall | Unmatched | None], read: ReadEvent
) -> Callable[[Record, Slot], ThreadCall | Unmatched | None]:
    def call(record: Record, slot: Slot) -> ThreadCall | Unmatched | None:
        try:
            return thread_call(read(record), slot)
        except DecodeError:
            return None  # the event loop begins its attempt, which raises it

    return call
