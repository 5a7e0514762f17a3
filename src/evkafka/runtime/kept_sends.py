"""Sends inside of an exactly-once endpoint. They are kept, and written in the transaction that commits the record.

Each attempt has a `KeptSends`, which sends find in a context variable: tasks and threads that an endpoint starts
inherit it. An attempt that fails drops what it kept.
"""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import replace
from typing import Any

from evkafka.outcomes import FailureOutcome, Unmatched
from evkafka.records import Record
from evkafka.runtime.ports import BatchAttempt, Dispatch, OutgoingRecord, RecordSink, Slot
from evkafka.runtime.settle import address_of
from evkafka.runtime.transaction_scope import TransactionScope

RECORD_BYTES = 100
"""What a record takes in memory beside its bytes, about."""


def memory_size_of(record: OutgoingRecord) -> int:
    """How many bytes a record keeps in memory, about."""
    headers = sum(len(name) + len(value or b"") for name, value in record.headers)
    return len(record.key or b"") + len(record.value or b"") + headers + RECORD_BYTES


class KeptSends:
    """What one attempt has sent, in order.

    Attributes:
        addresses: of the attempt's records.
    """

    __slots__ = ("_ended", "addresses", "records", "scope")

    def __init__(self, scope: TransactionScope, addresses: Sequence[str]) -> None:
        self.scope = scope
        self.records: list[OutgoingRecord] = []
        self.addresses = addresses
        self._ended = False

    def add(self, record: OutgoingRecord, sink: RecordSink) -> None:
        """Keep this record, whose partition the sink has chosen.

        Raises:
            RuntimeError: the attempt has ended.
            DeliveryError: a transaction could not write such a record.
        """
        if self._ended:
            raise RuntimeError(
                f"event {record.event_type!r} to topic {record.topic!r} was sent after the attempt at"
                f" {self.addresses[0]} had ended, and so it cannot be part of its transaction: await the send in the"
                ' endpoint; or, for a task that outlives the endpoint, use a producer with "outside_transactions": True'
            )
        self.scope.check_record_not_refused(record, self.addresses, sink)
        self.records.append(record)

    def refuse_further_sends(self) -> None:
        """The attempt is over: nothing more can be sent in it."""
        self._ended = True


kept_sends: ContextVar[KeptSends | None] = ContextVar("evkafka_kept_sends", default=None)
"""The sends of the running attempt; None outside of exactly-once endpoints. An executor sets None once, so that the
context of its task is the same before and after each attempt."""


def take_outputs(slot: Slot) -> Sequence[OutgoingRecord]:
    """What the attempt that has just ended in this slot has sent; it is the caller's now."""
    kept, slot.kept = slot.kept, None
    return kept.records if kept is not None else ()


# ---------------------------------------------------------------------------- around the attempts


def wrap_dispatch_to_keep_sends(dispatch: Dispatch, scope: TransactionScope) -> Dispatch:
    """A dispatch whose attempts keep their sends, in `slot.kept`."""

    def call(record: Record, slot: Slot) -> Awaitable[object] | Unmatched:
        slot.kept = None  # of the attempt before
        attempt = dispatch.call(record, slot)
        if isinstance(attempt, Unmatched):
            return attempt
        return _run_keeping_sends(attempt, _create_kept_sends(scope, (record,), slot))

    def open_batch(records: Sequence[Record], slot: Slot) -> BatchAttempt:
        return _KeepingBatch(dispatch.open_batch(records, slot), _create_kept_sends(scope, records, slot))

    # A thread handles one record at a time: the sends of each are its own.
    return replace(dispatch, call=call, open_batch=open_batch, thread_call=None, keeps_sends=True)


def _create_kept_sends(scope: TransactionScope, records: Sequence[Record], slot: Slot) -> KeptSends:
    slot.kept = kept = KeptSends(scope, [address_of(record) for record in records])
    return kept


async def _run_keeping_sends(attempt: Awaitable[object], kept: KeptSends) -> object:
    try:
        return await _await_keeping_sends(attempt, kept)
    finally:
        kept.refuse_further_sends()


async def _await_keeping_sends(step: Awaitable[Any], kept: KeptSends) -> Any:
    kept_sends.set(kept)
    try:
        return await step
    finally:
        kept_sends.set(None)  # not by a token: a coroutine may be closed in another context


class _KeepingBatch:
    """A batch whose sends are kept, also those of its dependencies' exits."""

    def __init__(self, batch: BatchAttempt, kept: KeptSends) -> None:
        self._batch = batch
        self._kept = kept

    async def run_up_to_endpoint(self) -> Mapping[int, FailureOutcome | None]:
        prepared: Mapping[int, FailureOutcome | None] = await _await_keeping_sends(
            self._batch.run_up_to_endpoint(), self._kept
        )
        return prepared

    async def run_endpoint(self, wanted: Sequence[int]) -> object:
        return await _await_keeping_sends(self._batch.run_endpoint(wanted), self._kept)

    async def close(self) -> None:
        try:
            await _await_keeping_sends(self._batch.close(), self._kept)
        finally:
            self._kept.refuse_further_sends()
