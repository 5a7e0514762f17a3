"""The state of a consumer and of an app at one moment: values for health checks, metrics and pages.

`consumer_status` reads a consumer's parts and changes nothing. Of the runtime's modules only `consumer.py` imports this
one.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal

from evkafka.exceptions import message_of
from evkafka.runtime.assignment import Assignment
from evkafka.runtime.blocking_records import BlockingRecords
from evkafka.runtime.commit_metadata import Ownership
from evkafka.runtime.consumer_watchdog import ConsumerWatchdog
from evkafka.runtime.executor import Executor
from evkafka.runtime.flow_control import NotReadReason as UnreadReason
from evkafka.runtime.partition import BlockReason, Partition, PendingWrite
from evkafka.runtime.ports import GroupEpoch, SourceState

ERROR_CHARACTERS = 300

Membership = SourceState | Literal["none"]
"""The state of the group membership; `none` while there is no source: before the start, between two sources, and after
the end."""


@dataclass(frozen=True, slots=True)
class UnwrittenStatus:
    """A record that could not be written to another topic so far (a dead letter, a retry). The write is tried again.

    Attributes:
        offset: of the record in the topic that it was read from.
        topic: the topic that it is written to.
        tries: how many writes have failed.
        error: the error of the last one.
    """

    offset: int
    topic: str
    tries: int
    age_s: float
    error: str


@dataclass(frozen=True, slots=True)
class SuspectRecordStatus:
    """Processes died, or lost their sessions, while they handled records of a partition: its records are handled one at
    a time for a while.

    Attributes:
        deaths: how many processes.
        suspect: the offset of the record that they handled; None while that is not known.
    """

    deaths: int
    suspect: int | None

    @property
    def reason(self) -> str:
        """Why records are handled one at a time: a part of a sentence for health and the dashboard."""
        at = f"offset {self.suspect}" if self.suspect is not None else "an unknown record"
        if self.deaths == 1:
            return f"1 process died, or lost its session, at {at}"
        return f"{self.deaths} processes died, or lost their sessions, at {at}"


@dataclass(frozen=True, slots=True)
class PartitionStatus:
    """One assigned partition.

    Attributes:
        position: the offset that is read next; None while unknown.
        committed: the last offset that was committed in this assignment; None if none was.
        end: the end of the partition as last seen; with `isolation_level=read_committed` the last stable offset. None
            while unknown.
        high_watermark: the end of everything written, as last seen; None while unknown. Between `end` and this are
            open transactions, and the records after them.
        pending: records that were read and are not finished.
        oldest: the oldest unfinished offset; None if there is none.
        oldest_timestamp_ms: when that record was written, or if there is none, when the next record to read was
            written; in milliseconds since the epoch, None while unknown.
        retrying: lanes whose first record waits for its next attempt.
        held: True while the client cannot read its next record.
        paused: True while a user has paused it.
        full: True while it is not read because too many of its records, or bytes, are unfinished.
        due_in_s: of a retry topic: the seconds until its next record is due; None if no record waits for that.
        oldest_age_s: how long the oldest unfinished record has been the oldest one; None if there is none.
        failed_attempts: how many attempts at that record have failed, while it waits.
        blocked_by: why that record cannot begin; empty if it runs, waits for an executor, or there is none. See
            `BlockReason` in `partition.py`.
        unwritten: records that could not be written to another topic so far.
        done_ahead: how many offsets after the oldest unfinished one are finished. The partition's next owner skips
            those that the last commit names.
        unread_because: why it is not read at the moment; empty if it is. See `NotReadReason` in `flow_control.py`.
        one_at_a_time: why records are handled one at a time; None if they are not.
    """

    topic: str
    partition: int
    position: int | None
    committed: int | None
    end: int | None
    pending: int
    oldest: int | None
    oldest_timestamp_ms: int | None
    retrying: int
    held: bool
    paused: bool
    full: bool
    due_in_s: float | None = None
    high_watermark: int | None = None
    oldest_age_s: float | None = None
    failed_attempts: int = 0
    blocked_by: tuple[BlockReason, ...] = ()
    unwritten: tuple[UnwrittenStatus, ...] = ()
    done_ahead: int = 0
    unread_because: tuple[UnreadReason, ...] = ()
    one_at_a_time: SuspectRecordStatus | None = None

    @property
    def metadata_full(self) -> bool:
        """Whether it is not read because what is finished after its oldest unfinished record does not fit into the
        metadata of a commit."""
        return "metadata" in self.unread_because

    @property
    def offset_count_after_open_transaction(self) -> int:
        """Offsets after the first open transaction, which a reader of committed records cannot read yet."""
        if self.high_watermark is None or self.end is None:
            return 0
        return max(self.high_watermark - self.end, 0)

    @property
    def lag(self) -> int | None:
        """Records from the oldest unfinished one, or else from the position, to the end; None while unknown."""
        done = self.oldest if self.oldest is not None else self.position
        return max(self.end - done, 0) if self.end is not None and done is not None else None


@dataclass(frozen=True, slots=True)
class AttemptStatus:
    """One running attempt.

    Attributes:
        overran: True if it is past its time limit and cannot be cancelled.
    """

    topic: str
    partition: int
    offset: int
    event_type: str | None
    endpoint: str
    attempt: int
    age_s: float
    overran: bool


@dataclass(frozen=True, slots=True)
class TransactionStatus:
    """The transactions of an exactly-once consumer.

    Attributes:
        kept_records, kept_bytes: what finished records have sent and no transaction has written, the open one included.
        open_records: how many records the open transaction writes; None while none is open.
        open_s: for how long it has been open.
    """

    kept_records: int
    kept_bytes: int
    open_records: int | None = None
    open_s: float = 0.0


@dataclass(frozen=True, slots=True)
class ConsumerStatus:
    """One consumer.

    Attributes:
        topics: the topics that it subscribes to, by name or as a pattern.
        group_epoch: which assignment of its group it has; None without one.
        silent_s: how long the current poll has been running.
        joining_s: how long the current rebalance has been running.
        longest_poll_s: the longest time that either may take.
        rebuilds: how many times the source was replaced.
        stopping: True once a stop was requested.
        now_ms: the time of this status on the consumer's clock, as records carry it.
        awaited: what records wait for because a server outside of Kafka does not answer: schemas.
        transactions: None unless it commits in transactions (exactly once).
    """

    name: str
    group_id: str | None
    topics: tuple[str, ...]
    required: bool
    membership: Membership
    group_epoch: GroupEpoch | None
    partitions: tuple[PartitionStatus, ...]
    attempts: tuple[AttemptStatus, ...]
    silent_s: float
    joining_s: float
    longest_poll_s: float
    rebuilds: int
    stopping: bool
    now_ms: int
    awaited: tuple[str, ...] = ()
    transactions: TransactionStatus | None = None

    @property
    def done_ahead(self) -> int:
        """How many offsets after the oldest unfinished ones of its partitions are finished."""
        return sum(partition.done_ahead for partition in self.partitions)


Phase = Literal["new", "starting", "running", "stopping", "ended"]


@dataclass(frozen=True, slots=True)
class ProducerStatus:
    """One producer; `unavailable_reason` says why it cannot send at the moment, and is empty if it can."""

    name: str
    unavailable_reason: str


@dataclass(frozen=True, slots=True)
class AppStatus:
    """An app.

    Attributes:
        phase: `new` before its first start, `ended` after a run.
        failure: the error that ended a consumer for good; None while all run.
        ended: names of the consumers that no longer run.
        loop_lag_s: the longest delay of the event loop in the last seconds; None while it is not monitored.
    """

    phase: Phase
    failure: BaseException | None = None
    consumers: tuple[ConsumerStatus, ...] = ()
    ended: frozenset[str] = frozenset()
    producers: tuple[ProducerStatus, ...] = ()
    loop_lag_s: float | None = None


# ---------------------------------------------------------------------------- reading it


def consumer_status(
    assignment: Assignment,
    running: Sequence[Executor],
    watchdog: ConsumerWatchdog,
    blocking: BlockingRecords,
    *,
    rebuilds: int,
    stopping: bool,
) -> ConsumerStatus:
    """The state of a consumer now.

    Args:
        running: its executors that run an attempt.
        blocking: the oldest unfinished record of each partition.
    """
    settings, now_s = assignment.settings, assignment.clock.now()
    topics = tuple(topic.name for topic in settings.topics)
    late = overrunning_executors(running)
    return ConsumerStatus(
        name=assignment.name,
        group_id=settings.group_id,
        topics=topics or ((settings.topic_pattern.pattern,) if settings.topic_pattern is not None else ()),
        required=settings.required,
        membership=assignment.source.state() if assignment.source is not None else "none",
        group_epoch=assignment.source.group_epoch() if assignment.source is not None else None,
        partitions=tuple(
            _partition_status(assignment, one, running, blocking) for one in assignment.partitions.values()
        ),
        attempts=tuple(_attempt_status(executor, now_s, overran=executor in late) for executor in running),
        silent_s=watchdog.current_poll_duration_s,
        joining_s=watchdog.joining_s,
        longest_poll_s=watchdog.longest_allowed_poll_duration_s,
        rebuilds=rebuilds,
        stopping=stopping,
        now_ms=assignment.clock.timestamp_ms(),
        transactions=_transaction_status(assignment, now_s) if settings.transaction_settings is not None else None,
    )


def _transaction_status(assignment: Assignment, now_s: float) -> TransactionStatus:
    outboxes = [partition.outbox for partition in assignment.partitions.values()]
    open_transaction = assignment.committer.open_transaction if assignment.committer is not None else None
    return TransactionStatus(
        kept_records=sum(map(len, outboxes)),
        kept_bytes=sum(outbox.size for outbox in outboxes),
        open_records=open_transaction.records if open_transaction is not None else None,
        open_s=now_s - open_transaction.began_s if open_transaction is not None else 0.0,
    )


def overrunning_executors(running: Collection[Executor]) -> list[Executor]:
    """The executors whose endpoint is past its time limit and cannot be cancelled."""
    return [executor for executor in running if executor.overrun is executor.slot.record]


def _partition_status(
    assignment: Assignment, partition: Partition, running: Sequence[Executor], blocking: BlockingRecords
) -> PartitionStatus:
    tp, ledger, source, early = partition.tp, partition.ledger, assignment.source, partition.early
    position = source.position(tp) if source is not None else None
    written_ms = _oldest_timestamp_ms(partition, running)
    if ledger.oldest is None and not early and source is not None:
        written_ms = source.next_fetched_timestamp_ms(tp)
    now_s, since_s = assignment.clock.now(), blocking.oldest_record_became_oldest_at_s(partition)
    return PartitionStatus(
        topic=tp.topic,
        partition=tp.partition,
        position=early[0].offset if early else position,
        committed=partition.committed,
        end=source.end_offset(tp) if source is not None else None,
        pending=ledger.unfinished_count + len(early) + len(partition.held),
        oldest=ledger.oldest,
        oldest_timestamp_ms=written_ms,
        retrying=partition.count_retrying_lanes(),
        held="unreadable" in assignment.flow.not_read_reasons(tp),
        paused=partition.paused,
        full=assignment.flow.is_partition_full(tp),
        high_watermark=source.high_watermark(tp) if source is not None else None,
        due_in_s=max(early[0].due_s - now_s, 0.0) if early else None,
        oldest_age_s=now_s - since_s if since_s is not None else None,
        failed_attempts=partition.oldest_record_failed_attempts(),
        blocked_by=tuple(sorted(partition.oldest_record_block_reasons())),
        unwritten=tuple(
            _status_of_pending_write(write, now_s) for write in partition.pending_writes() if write.has_failed
        ),
        done_ahead=partition.done_ahead_count,
        unread_because=tuple(sorted(assignment.flow.not_read_reasons(tp))),
        one_at_a_time=_suspect_record_status_of_partition(partition),
    )


def _suspect_record_status_of_partition(partition: Partition) -> SuspectRecordStatus | None:
    """Records wait for this owner's mark while others are handled alone, if an earlier owner's mark was found."""
    found = partition.inherited.mark if partition.inherited is not None else None
    if found is None or found.ownership is Ownership.OPEN or not partition.is_held:
        return None
    return SuspectRecordStatus(found.deaths, found.offset)


def _status_of_pending_write(write: PendingWrite, now_s: float) -> UnwrittenStatus:
    error = write.error
    return UnwrittenStatus(
        offset=write.record.offset,
        topic=write.topic,
        tries=write.failed_writes,
        age_s=now_s - write.since_s,
        error=f"{type(error).__name__}: {message_of(error)}"[:ERROR_CHARACTERS] if error is not None else "",
    )


def _oldest_timestamp_ms(partition: Partition, running: Sequence[Executor]) -> int | None:
    """The timestamp of the oldest unfinished record, if an executor runs it or it is the first of its lane."""
    oldest = partition.ledger.oldest
    if oldest is None:
        return None
    in_flight = (executor.slot.record for executor in running)
    first = (lane.queue[0] for lane in partition.lanes() if lane.queue)
    for record in (*in_flight, *first):
        if record is not None and record.offset == oldest and (record.topic, record.partition) == partition.tp:
            return record.timestamp if record.timestamp >= 0 else None
    return None


def _attempt_status(executor: Executor, now_s: float, *, overran: bool) -> AttemptStatus:
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
