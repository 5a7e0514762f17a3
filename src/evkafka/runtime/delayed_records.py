"""Records of retry topics: kept until they are due, then run as the record that failed first.

Everything else is a normal consumer's: ledger, lanes and commits are those of the retry topic.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol, cast

from evkafka.outcomes import Unmatched
from evkafka.records import Record, Unreadable
from evkafka.runtime.assignment import Assignment
from evkafka.runtime.dead_letters.retry_topics import DelayedRecord, RetryTopics, parse_delayed_record
from evkafka.runtime.interfaces import DeadLetterSink
from evkafka.runtime.partition import Partition
from evkafka.runtime.ports import BatchAttempt, Dispatch, OutgoingRecord, Route, Slot, WriteFailed
from evkafka.runtime.settle import SendToDeadLetter, SendToRetryTopic

SHORTEST_WAIT_S = 0.02
"""Records that become due one after the other within this time are handed out together."""


class DelayedRecords:
    """Keeps records that were read before they are due. Its partition is not read meanwhile, so that it keeps at most
    the records of one poll.

    Args:
        take: puts records into their lanes.
    """

    def __init__(
        self,
        assignment: Assignment,
        retry_topics: RetryTopics,
        take: Callable[[Partition, Sequence[Record]], None],
    ) -> None:
        self._assignment = assignment
        self._retry_topics = retry_topics
        self._take = take

    def keep_until_due(self, partition: Partition, records: Sequence[Record]) -> None:
        """Hand out the records that are due, and keep the others until they are. They were just read."""
        partition.early.extend(map(self.parse_retry_topic_record, records))
        self._hand_out_due(partition)

    def parse_retry_topic_record(self, record: Record) -> DelayedRecord:
        """A record that was just read from a retry topic, with the record that failed first."""
        clock = self._assignment.clock
        retry_topic = self._retry_topics[record.topic]
        return parse_delayed_record(record, retry_topic, now_s=clock.now(), now_ms=clock.timestamp_ms())

    def _hand_out_due(self, partition: Partition) -> None:
        assignment, tp, early = self._assignment, partition.tp, partition.early
        if (
            assignment.source is None
            or assignment.partitions.get(tp) is not partition
            or partition.is_being_revoked
            or partition.is_closed
        ):
            return  # the partition was revoked or assigned again: its next reader reads them again
        now_s, due = assignment.clock.now(), []
        while early and early[0].due_s <= now_s:
            due.append(early.popleft())
        if early:
            assignment.flow.add_reason(tp, "early")
            assignment.clock.call_later(
                max(early[0].due_s - now_s, SHORTEST_WAIT_S), lambda: self._hand_out_due(partition)
            )
        else:
            assignment.flow.remove_reason(tp, "early")
        if due:
            self._take(partition, due)


def wrap_dispatch_to_unwrap_delayed_records(dispatch: Dispatch) -> Dispatch:
    """A dispatch for delayed records, which passes the records that failed first to the given one."""

    def call(record: Record, slot: Slot) -> Awaitable[object] | Unmatched:
        delayed = _cast_delayed_record(record)
        slot.earlier = delayed.earlier
        return dispatch.call(delayed.origin, slot)

    def open_batch(records: Sequence[Record], slot: Slot) -> BatchAttempt:
        slot.earlier = max(_cast_delayed_record(record).earlier for record in records)  # a batch has one count
        return dispatch.open_batch([_cast_delayed_record(record).origin for record in records], slot)

    gate = dispatch.limited_route

    def limited_route(record: Record) -> Route | None:
        assert gate is not None
        return gate(_cast_delayed_record(record).origin)

    def route(record: Record) -> Route | None:
        return dispatch.route(_cast_delayed_record(record).origin)

    wait_for = dispatch.awaited

    def awaited(record: Record) -> asyncio.Future[None] | None:
        assert wait_for is not None
        return wait_for(_cast_delayed_record(record).origin)

    return Dispatch(
        call,
        route,
        limited_route if gate is not None else None,
        open_batch,
        awaited=awaited if wait_for is not None else None,
    )


class SourceDeadLetterSink(DeadLetterSink, Protocol):
    """Also takes unreadable records on behalf of another topic."""

    async def send_dead_letter_of_unreadable(
        self, unreadable: Unreadable, *, source: str | None = None
    ) -> Sequence[OutgoingRecord]: ...


class OriginalRecordDeadLetterSink:
    """Writes delayed records, as the records that failed first, to the next retry topic or the dead letters."""

    def __init__(self, sink: SourceDeadLetterSink, retry_topics: RetryTopics) -> None:
        self._sink = sink
        self._retry_topics = retry_topics

    async def send_to_retry_topic(
        self, record: Record, slot: Slot, verdict: SendToRetryTopic, failed: WriteFailed
    ) -> Sequence[OutgoingRecord]:
        return await self._sink.send_to_retry_topic(_cast_delayed_record(record).origin, slot, verdict, failed)

    async def send_to_dead_letter(
        self, record: Record, slot: Slot, verdict: SendToDeadLetter, failed: WriteFailed
    ) -> Sequence[OutgoingRecord]:
        return await self._sink.send_to_dead_letter(_cast_delayed_record(record).origin, slot, verdict, failed)

    async def send_dead_letter_of_unreadable(self, unreadable: Unreadable) -> Sequence[OutgoingRecord]:
        """The record that failed first is unknown: the dead letter has the address in the retry topic."""
        source = self._retry_topics[unreadable.partition.topic].source
        return await self._sink.send_dead_letter_of_unreadable(unreadable, source=source)


def _cast_delayed_record(record: Record) -> DelayedRecord:
    """The poller of a retry consumer creates a `DelayedRecord` of each record that it reads."""
    return cast(DelayedRecord, record)
