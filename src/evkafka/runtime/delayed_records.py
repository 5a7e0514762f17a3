"""The way of a record out of a retry topic: held back until it is due, then run as the record that failed first.

The engine around it is a consumer's own: ledger, lanes and commits are those of the retry topic.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol, cast

from evkafka.outcomes import Unmatched
from evkafka.records import Record, Unreadable
from evkafka.runtime.assignment import Assignment
from evkafka.runtime.dead_letters.retry_topics import DelayedRecord, RetryTopics, read_delayed
from evkafka.runtime.interfaces import DeadLetterSink, WriteFailed
from evkafka.runtime.partition import Partition
from evkafka.runtime.ports import BatchAttempt, Dispatch, Route, Slot
from evkafka.runtime.settle import SendToDeadLetter, SendToRetryTopic

GRAIN_S = 0.02
"""Records that become due one by one are handed out together with what becomes due so soon after."""


class DelayedRecords:
    """Keeps what was read before it is due. No more is read of a partition meanwhile, so that it is one poll's at most.

    Args:
        take: puts records into their lanes.
    """

    def __init__(
        self, held: Assignment, retry_topics: RetryTopics, take: Callable[[Partition, Sequence[Record]], None]
    ) -> None:
        self._held = held
        self._tiers = retry_topics
        self._take = take

    def keep(self, partition: Partition, records: Sequence[Record]) -> None:
        """These were just read: what is due goes on, the rest when it is."""
        tier, clock = self._tiers[partition.tp.topic], self._held.clock
        now_s, now_ms = clock.now(), clock.timestamp_ms()
        partition.begun = True
        partition.early.extend(read_delayed(record, tier, now_s=now_s, now_ms=now_ms) for record in records)
        self._hand_out(partition)

    def _hand_out(self, partition: Partition) -> None:
        held, tp, early = self._held, partition.tp, partition.early
        if held.source is None or held.partitions.get(tp) is not partition or partition.leaving or partition.closed:
            return  # another epoch's: its next reader reads them again
        now_s, due = held.clock.now(), []
        while early and early[0].due_s <= now_s:
            due.append(early.popleft())
        if early:
            held.flow.close(tp, "early")
            held.clock.call_later(max(early[0].due_s - now_s, GRAIN_S), lambda: self._hand_out(partition))
        else:
            held.flow.open(tp, "early")
        if due:
            self._take(partition, due)


def dispatch_origins(dispatch: Dispatch) -> Dispatch:
    """The dispatch of the topic that the records failed in, for those that come back."""

    def call(record: Record, slot: Slot) -> Awaitable[object] | None:
        back = _back(record)
        slot.earlier = back.earlier
        return dispatch.call(back.origin, slot)

    def unmatched(record: Record) -> Unmatched:
        return dispatch.unmatched(_back(record).origin)

    def open_batch(records: Sequence[Record], slot: Slot) -> BatchAttempt:
        slot.earlier = max(_back(record).earlier for record in records)  # a batch has one count
        return dispatch.open_batch([_back(record).origin for record in records], slot)

    gate = dispatch.gated

    def gated(record: Record) -> Route | None:
        assert gate is not None
        return gate(_back(record).origin)

    return Dispatch(call, unmatched, gated if gate is not None else None, open_batch)


class Letters(DeadLetterSink, Protocol):
    async def send_unreadable(self, unreadable: Unreadable, *, source: str | None = None) -> None: ...


class DelayedRecordSink:
    """Where records of a retry topic go: on to the next one, or to the dead letters, as what they were at first."""

    def __init__(self, letters: Letters, retry_topics: RetryTopics) -> None:
        self._sink = letters
        self._tiers = retry_topics

    async def send_to_retry_topic(
        self, record: Record, slot: Slot, verdict: SendToRetryTopic, failed: WriteFailed
    ) -> None:
        await self._sink.send_to_retry_topic(_back(record).origin, slot, verdict, failed)

    async def send_to_dead_letter(
        self, record: Record, slot: Slot, verdict: SendToDeadLetter, failed: WriteFailed
    ) -> None:
        await self._sink.send_to_dead_letter(_back(record).origin, slot, verdict, failed)

    async def send_unreadable(self, unreadable: Unreadable) -> None:
        """Which record it was cannot be told: its address in the retry topic can."""
        await self._sink.send_unreadable(unreadable, source=self._tiers[unreadable.partition.topic].source)


def _back(record: Record) -> DelayedRecord:
    """What the intake of retry topics has made of each record that it read."""
    return cast(DelayedRecord, record)
