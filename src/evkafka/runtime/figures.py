"""A consumer's state at one moment, as `status.py` has it. Looking changes nothing."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from evkafka.exceptions import message_of
from evkafka.runtime.assignment import Assignment
from evkafka.runtime.executor import Executor
from evkafka.runtime.partition import Partition
from evkafka.runtime.status import AttemptStatus, ConsumerStatus, PartitionStatus, UnwrittenStatus

if TYPE_CHECKING:
    from evkafka.runtime.blocking_records import BlockingRecords
    from evkafka.runtime.pending_writes import PendingWrite
    from evkafka.runtime.supervision.watchdog import Watchdog

MOST_SHOWN = 300
"""Characters of an error."""


def status_of(
    held: Assignment,
    at_work: Sequence[Executor],
    watchdog: Watchdog,
    hold_ups: BlockingRecords,
    *,
    rebuilds: int,
    stopping: bool,
) -> ConsumerStatus:
    """What a consumer is doing now.

    Args:
        at_work: its executors with an attempt under way.
    """
    settings, now_s = held.settings, held.clock.now()
    topics = tuple(topic.name for topic in settings.topics)
    late = overran(at_work)
    return ConsumerStatus(
        name=held.name,
        group_id=settings.group_id,
        topics=topics or ((settings.topic_pattern.pattern,) if settings.topic_pattern is not None else ()),
        required=settings.required,
        membership=held.source.state() if held.source is not None else "none",
        partitions=tuple(_partition(held, partition, at_work, hold_ups) for partition in held.partitions.values()),
        attempts=tuple(_attempt(executor, now_s, overran=executor in late) for executor in at_work),
        silent_s=watchdog.silent_s,
        joining_s=watchdog.joining_s,
        longest_poll_s=watchdog.longest_poll_s,
        rebuilds=rebuilds,
        stopping=stopping,
    )


def overran(at_work: Collection[Executor]) -> list[Executor]:
    """Those held by an endpoint that ran past its limit and cannot be cut."""
    return [executor for executor in at_work if executor.overrun is executor.slot.record]


def _partition(
    held: Assignment, partition: Partition, at_work: Sequence[Executor], hold_ups: BlockingRecords
) -> PartitionStatus:
    tp, ledger, source, early = partition.tp, partition.ledger, held.source, partition.early
    position = source.position(tp) if source is not None else None
    written_ms = _written_ms(partition, at_work)
    if ledger.oldest is None and not early and source is not None:
        written_ms = source.next_timestamp_ms(tp)
    now_s, since_s = held.clock.now(), hold_ups.since_s(partition)
    return PartitionStatus(
        topic=tp.topic,
        partition=tp.partition,
        position=early[0].offset if early else position,
        committed=partition.committed,
        end=source.end_offset(tp) if source is not None else None,
        pending=ledger.pending + len(early),
        oldest=ledger.oldest,
        oldest_timestamp_ms=written_ms,
        retrying=partition.waiting(),
        held=partition.held,
        paused=partition.paused,
        full=held.flow.is_full(tp),
        high_watermark=source.high_watermark(tp) if source is not None else None,
        due_in_s=max(early[0].due_s - now_s, 0.0) if early else None,
        oldest_age_s=now_s - since_s if since_s is not None else None,
        failed_attempts=partition.failed_attempts(),
        blocked_by=tuple(sorted(partition.blocked_by())),
        unwritten=tuple(_unwritten(write, now_s) for write in partition.writes() if write.fails),
    )


def _unwritten(write: PendingWrite, now_s: float) -> UnwrittenStatus:
    error = write.error
    return UnwrittenStatus(
        offset=write.record.offset,
        topic=write.topic,
        tries=write.tries,
        age_s=now_s - write.since_s,
        error=f"{type(error).__name__}: {message_of(error)}"[:MOST_SHOWN] if error is not None else "",
    )


def _written_ms(partition: Partition, at_work: Sequence[Executor]) -> int | None:
    """The timestamp of the oldest unfinished record, where it is at work or the first of its lane."""
    oldest = partition.ledger.oldest
    if oldest is None:
        return None
    running = (executor.slot.record for executor in at_work)
    first = (lane.queue[0] for lane in partition.lanes() if lane.queue)
    for record in (*running, *first):
        if record is not None and record.offset == oldest and (record.topic, record.partition) == partition.tp:
            return record.timestamp if record.timestamp >= 0 else None
    return None


def _attempt(executor: Executor, now_s: float, *, overran: bool) -> AttemptStatus:
    slot = executor.slot
    record, route = slot.record, slot.route
    assert record is not None
    return AttemptStatus(
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        event_type=route.event_type if route is not None else None,
        endpoint=route.name if route is not None else "",
        attempt=slot.attempt,
        age_s=max(now_s - executor.started_s, 0.0),
        overran=overran,
    )
