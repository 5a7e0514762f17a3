"""One partition during one assignment, as data: its state, its ledger, its lanes and what they hold.

The scheduler (`scheduler.py`) decides what happens to lanes; this module only keeps them.
"""

from __future__ import annotations

import asyncio
import threading
from collections import defaultdict, deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum, auto
from heapq import heappush
from operator import attrgetter
from typing import Literal

from evkafka.records import Record, TopicPartition
from evkafka.runtime.commit_metadata import OPEN, CommitMetadata, OwnerMark, Ownership
from evkafka.runtime.completed_offsets import OffsetRanges
from evkafka.runtime.dead_letters.count import DeadLetterCount
from evkafka.runtime.dead_letters.retry_topics import DelayedRecord
from evkafka.runtime.offsets import OffsetLedger
from evkafka.runtime.polled_bytes import PolledBytes
from evkafka.runtime.ports import BatchLimits, OutgoingRecord, Route, Slot, TimerHandle
from evkafka.runtime.settle import SendToDeadLetter, SendToRetryTopic
from evkafka.runtime.transaction_outbox import Coverage, Outbox
from evkafka.telemetry import Status

_offset = attrgetter("offset")


# ---------------------------------------------------------------------------- lanes


class LaneState(Enum):
    IDLE = auto()  # nothing to do
    READY = auto()  # in the queue of ready lanes
    RUNNING = auto()  # an executor runs its records
    BLOCKED = auto()  # there are reasons why none of its records may begin


BlockReason = Literal["paused", "retry_wait", "straggler", "permit", "gathering", "in_batch", "writing", "schema"]
"""Why a lane is blocked: a user paused its partition; its first record waits for the next attempt; an attempt of an
earlier assignment still runs in the same lane; its event type's `concurrency` is reached; it is a batch that waits for
more records; a batch has its first records; a record of it is being written to another topic; the schema of its first
record is being asked for."""

NO_REASONS: frozenset[BlockReason] = frozenset()
PAUSED: frozenset[BlockReason] = frozenset({"paused"})

MOST_OF_LANE = 8
"""How many records of a lane count as ones that may be finished soon."""


LaneKey = tuple[TopicPartition, bytes | None]
"""The partition, and the records' key if the order is kept by key."""


class Lane:
    """Records that run one after the other. The scheduler writes all of it, if no other writer is named.

    Attributes:
        key: the order that it keeps, also across assignments; None for a single record that needs no order.
        permit: the endpoint with its own `concurrency` that may run one of its records now. Written by `Admission`.
        members: a batch's lanes, whose first records the batch has.
        reasons: why none of its records may begin; empty if one may.
        timer: ends the wait for the next attempt, or for more records of a batch.
        writes: the writes of its records to other topics. The lane waits for all of them and keeps their records.
        settled_after_writes: settled records of a batch that come after some of those. The lane keeps them until
            `writes` is empty.
    """

    __slots__ = (
        "key",
        "partition",
        "permit",
        "queue",
        "reasons",
        "settled_after_writes",
        "state",
        "timer",
        "writes",
    )

    members: Collection[Lane] = ()

    def __init__(self, partition: Partition, key: LaneKey | None) -> None:
        self.partition = partition
        self.key = key
        self.queue: deque[Record] = deque()
        self.state = LaneState.IDLE
        self.reasons = NO_REASONS
        if partition.paused:
            self.state, self.reasons = LaneState.BLOCKED, PAUSED
        self.timer: TimerHandle | None = None
        self.permit: Route | None = None
        self.writes: tuple[PendingWrite, ...] = ()
        self.settled_after_writes: tuple[SettledAfterWrite, ...] = ()

    @property
    def attempt(self) -> int:
        """Which attempt at its first record comes next, from 1."""
        failed = self.partition.failed_attempts
        return failed.get(self.queue[0].offset, 0) + 1 if failed and self.queue else 1

    def withhold_records_from_running_executor(self) -> None:
        """The executor that runs it begins none of its records after the running one.

        The executor knows the queue that it began with, and leaves the lane when that is empty. So the records move to
        a new queue, which is the lane's from here on: the executor need not check the reasons before each record.
        """
        with self.partition.taking:
            running, self.queue = self.queue, self.queue.copy()
            running.clear()

    def remove_records(self, records: Iterable[Record]) -> list[Record]:
        """Remove these records from the queue; returns those that were in it. By identity: records compare by field."""
        removed = {id(record) for record in records}
        with self.partition.taking:
            taken = [record for record in self.queue if id(record) in removed]
            left = [record for record in self.queue if id(record) not in removed]
            self.queue.clear()
            self.queue.extend(left)
        return taken

    def sort_records(self) -> None:
        """Put the records in order, after records of a batch came back one by one, beside those being written."""
        records = sorted(self.queue, key=_offset)
        self.queue.clear()
        self.queue.extend(records)


class Batch(Lane):
    """Records of one partition for one batch endpoint, which are handled in one attempt.

    A batch is a lane too, made of the first records of other lanes. Those lanes, with their later records, are blocked
    until the batch has run: so the records of one key stay in order. It gathers records until it is full, or
    until its time is up and an executor takes it. Records that were tried before gather by themselves, with others of
    as many attempts, because a batch has one count of attempts.

    Attributes:
        route: the endpoint.
        limits: the endpoint's own.
        members: the lanes whose first records these are; lanes of single records are not among them.
    """

    __slots__ = ("_attempt", "limits", "members", "route")

    def __init__(self, partition: Partition, route: Route, limits: BatchLimits, attempt: int) -> None:
        super().__init__(partition, None)
        self.route = route
        self.limits = limits
        self.members: dict[Lane, None] = {}
        self._attempt = attempt
        self.state = LaneState.BLOCKED
        self.reasons |= {"gathering"}

    @property
    def attempt(self) -> int:
        """Which attempt at all of its records comes next, from 1."""
        return self._attempt

    def count_failed_attempt(self) -> None:
        self._attempt += 1

    @property
    def is_full(self) -> bool:
        return len(self.queue) >= self.limits.max_records

    def close_and_take_records(self) -> list[Record]:
        """An executor takes it: no more records are added. Returns its records, in order."""
        self.partition.close_batch(self)
        records = sorted(self.queue, key=_offset)
        self.queue.clear()
        return records


# ---------------------------------------------------------------------------- writes to other topics


class PendingWrite:
    """A record that is being written to another topic, and stays in its lane until that is confirmed.

    Attributes:
        slot: the attempt that ended with this, as it was then.
        since_s: when the write began, on the consumer's clock.
        failed_writes: how many tries to write it have failed.
        topic: the topic that it could not be written to; empty until then.
        error: why the last try failed.
        ended: it is confirmed or abandoned.
    """

    __slots__ = (
        "duration_s", "ended", "error", "failed_writes", "lane", "on_abandoned", "record", "since_s", "slot", "task",
        "topic", "verdict",
    )  # fmt: skip

    def __init__(
        self,
        lane: Lane,
        record: Record,
        slot: Slot,
        verdict: SendToRetryTopic | SendToDeadLetter,
        *,
        duration_s: float,
        since_s: float,
        on_abandoned: Callable[[PendingWrite], object],
    ) -> None:
        self.lane = lane
        self.record = record
        self.slot = slot
        self.verdict = verdict
        self.duration_s = duration_s
        self.since_s = since_s
        self.on_abandoned = on_abandoned
        self.failed_writes = 0
        self.topic = ""
        self.error: BaseException | None = None
        self.task: asyncio.Task[Sequence[OutgoingRecord]] | None = None
        self.ended = False

    @property
    def partition(self) -> Partition:
        return self.lane.partition

    @property
    def has_failed(self) -> bool:
        """Whether it could not be written so far."""
        return self.failed_writes > 0

    def mark_ended(self) -> None:
        """It is no longer pending. The caller removes its record from the lane."""
        self.ended = True
        self.lane.writes = tuple(other for other in self.lane.writes if other is not self)
        if isinstance(self.verdict, SendToDeadLetter):
            self.partition.dead_letters.pending -= 1

    def abandon(self) -> None:
        """Its partition is revoked: the next owner handles the record again."""
        self.mark_ended()
        if self.task is not None:
            self.task.cancel()
        self.on_abandoned(self)


@dataclass(frozen=True, slots=True)
class SettledAfterWrite:
    """A record that is settled, after one of its lane and its batch that is being written to another topic. It is done
    when that write is confirmed: if the written record is handled again, so is this one, after it.

    Attributes:
        slot: the attempt at the batch, as it was then.
    """

    record: Record
    slot: Slot
    status: Status
    duration_s: float


# ---------------------------------------------------------------------------- the partition


class PartitionState(Enum):
    ACTIVE = auto()  # its records begin
    STOPPED = auto()  # no more of them begin: one of them fails the consumer, or a user seeks
    LEAVING = auto()  # it is being revoked; in at-most-once mode its records still begin
    CLOSED = auto()  # it is being revoked, and no more of its records begin
    ENDED = auto()  # its assignment is over; attempts that still run count for nothing


PartitionEvent = Literal["close", "begin_revoke", "end_assignment"]

TRANSITIONS: Mapping[PartitionEvent, Mapping[PartitionState, PartitionState]] = {
    "close": {
        PartitionState.ACTIVE: PartitionState.STOPPED,
        PartitionState.LEAVING: PartitionState.CLOSED,
    },
    "begin_revoke": {
        PartitionState.ACTIVE: PartitionState.LEAVING,
        PartitionState.STOPPED: PartitionState.CLOSED,
    },
    "end_assignment": dict.fromkeys(PartitionState, PartitionState.ENDED),
}
"""The next state by event; an event that does not list a state leaves it as it is."""


class Partition:
    """Created when the partition is assigned (and again at a seek or reset), ended when it is revoked.

    Args:
        ordering: how its records are kept in order: `partition`, `key` or `unordered`.

    Attributes:
        state: what may happen to its records. Changed by `begin_revoke`, `close` and `end` alone.
        gathering: the batches that still take records, by endpoint and attempt.
        committed: the offset last confirmed by the cluster in this assignment; None while there is none. An offset that
            the group committed before does not count: after a transaction marker the first position lies past it.
        saved: that offset, or the one that the assignment began at, with its metadata; None if there is none.
        inherited: what the metadata says that the assignment began at; None while that is not known.
        mark: what its commits say about this owner. Written by `PartitionTakeOver` and `SuspectRecords`.
        began_at: the offset that the first records of this assignment begin at; None until they were read.
        was_reset: the reset rule has set its position.
        truncated_at: the offset from which on the log has other records than those that an earlier owner has left
            something about; None if that is not known of any.
        failed_attempts: the ledger's.
        counted: the record whose attempt its commits count before it has ended, and the number of that attempt; None
            if there is none. Written by `SuspectRecords`.
        held: records that were read and wait until this owner has committed its mark: they are not in the ledger.
        ready: a heap of its lanes that wait for an executor, first the one that comes next. Written by the scheduler.
        running: how many of its lanes an executor runs now. Written by the scheduler.
        polled_bytes: what its records hold in memory.
        paused: a user has paused it: none of its records may begin. Written by the scheduler.
        unreadable: how often in a row the client could not read its next record.
        early: records of a retry topic that were read and are not due yet: they are not in the ledger.
        dead_letters: how many of its records became dead letters.
        outbox: what its finished records have sent, until a transaction writes it (exactly once).
        taking: held while records are taken out of a lane that a thread may be taking records out of (`ThreadRun`).
    """

    __slots__ = (
        "_by_key", "_enqueued", "_keyed", "_more_held", "_progress", "_quiet", "_unkeyed", "_whole", "began_at",
        "committed", "counted", "dead_letters", "early", "failed_attempts", "gathering", "held", "inherited",
        "ledger", "mark", "outbox", "paused", "polled_bytes", "ready", "running", "saved", "state", "taking", "tp",
        "truncated_at", "unreadable", "was_reset",
    )  # fmt: skip

    def __init__(self, tp: TopicPartition, *, ordering: str, paused: bool = False) -> None:
        self.tp = tp
        self.state = PartitionState.ACTIVE
        self.ledger = OffsetLedger()
        self.polled_bytes = PolledBytes()
        self.committed: int | None = None
        self.saved: tuple[int, str] | None = None
        self.inherited: CommitMetadata | None = None
        self.mark: OwnerMark = OPEN
        self.began_at: int | None = None
        self.was_reset = False
        self.truncated_at: int | None = None
        self.failed_attempts = self.ledger.failed_attempts
        self.counted: tuple[int, int] | None = None
        self.held: deque[Record] = deque()
        self.ready: list[tuple[int, int, Lane]] = []
        self.running = 0
        self.paused = paused
        self.unreadable = 0
        self.early: deque[DelayedRecord] = deque()
        self.dead_letters = DeadLetterCount(self.ledger)
        self.outbox = Outbox()
        self.taking = threading.Lock()
        self.gathering: dict[tuple[Route, int], Batch] = {}
        self._enqueued = 0  # lanes, ever
        self._by_key = ordering == "key"
        self._whole = Lane(self, (tp, None)) if ordering == "partition" else None
        self._keyed: dict[bytes, Lane] = {}
        self._unkeyed: dict[Lane, None] = {}  # lanes of single records, and batches
        self._quiet: asyncio.Future[None] | None = None
        self._progress: asyncio.Future[None] | None = None
        self._more_held: asyncio.Future[None] | None = None

    # ------------------------------------------------------------------ its state

    def begin_revoke(self) -> None:
        """It is being revoked."""
        self._change_state_by_event("begin_revoke")

    def close(self) -> None:
        """No more of its records begin."""
        self._change_state_by_event("close")

    def end_assignment(self) -> None:
        """Its assignment is over."""
        self._change_state_by_event("end_assignment")
        self.outbox.clear()

    def _change_state_by_event(self, event: PartitionEvent) -> None:
        self.state = TRANSITIONS[event].get(self.state, self.state)

    @property
    def forbids_retries(self) -> bool:
        """Whether none of its records may be tried again. In at-most-once mode, those that were read may still
        begin."""
        return self.state is not PartitionState.ACTIVE

    @property
    def is_closed(self) -> bool:
        """Whether no more of its records begin, though its last attempts may still run."""
        return self.state not in (PartitionState.ACTIVE, PartitionState.LEAVING)

    @property
    def is_being_revoked(self) -> bool:
        """Whether it is being revoked, or was."""
        return self.state not in (PartitionState.ACTIVE, PartitionState.STOPPED)

    # ------------------------------------------------------------------ reading

    def enter_read_offsets(self, records: Sequence[Record], position: int | None) -> None:
        """These records were just read, up to this position: enter them in the ledger."""
        self.dead_letters.count_records_read(len(records))
        self.unreadable = 0
        first, last = records[0].offset, records[-1].offset
        # Offsets ascend, so these are all that lie between: a range costs half of asking each record.
        without_gaps = last - first == len(records) - 1
        self.ledger.add_open_offsets(range(first, last + 1) if without_gaps else list(map(_offset, records)))
        self.set_read_position(position)
        self.polled_bytes.add(records)

    def set_read_position(self, position: int | None) -> None:
        """The client is at this position, and all that it returned is in the ledger, but for `early` and `held`."""
        waiting = self.early or self.held
        self.ledger.set_read_position(waiting[0].offset if waiting else position)

    @property
    def last_read_offset(self) -> int:
        """The highest offset that was read; -1 if none was."""
        waiting = self.held or self.early
        return waiting[-1].offset if waiting else self.ledger.last

    def inherit_metadata(self, inherited: CommitMetadata) -> None:
        """Go on where an earlier owner of the partition has ended. Called before any of its records begins."""
        if self.was_reset:
            inherited = CommitMetadata(inherited.base, rate=inherited.rate)
        self.inherited = inherited
        self.ledger.inherit_finished(inherited.finished)
        self.outbox.covered = Coverage(inherited.base, inherited.finished)
        self.failed_attempts.update(inherited.attempts)

    @property
    def inherited_mark(self) -> OwnerMark:
        """How far the earlier owner was, as far as that is known."""
        return self.inherited.mark if self.inherited is not None else OPEN

    def forget_inherited_at_or_after(self, offset: int, epoch: int) -> None:
        """The log was truncated, and has other records from this offset on: what an earlier owner has left there is not
        about them. They were just read, with this leader epoch; none has begun."""
        assert self.inherited is not None
        self.ledger.forget_inherited_at_or_after(offset)
        self.truncated_at = offset
        found = self.inherited.mark
        if offset <= self.inherited.suspect_offset:
            self.mark = OPEN if self.mark is found else self.mark
            found = OPEN
        self.inherited = replace(self.inherited, epoch=epoch, mark=found)

    def finish(self, offset: int, sent: Sequence[OutgoingRecord] = ()) -> bool:
        """This record needs nothing more but the commit, which writes what it has sent. False if its assignment is
        over: then nothing of it counts."""
        if not self.ledger.finish(offset):
            return False
        self.outbox.add((offset,), sent)
        return True

    def count_failed_attempt(self, offset: int, attempt: int) -> bool:
        """This record has failed, and is to be tried again: here, or by the partition's next owner, which continues to
        count. False if its assignment is over: then nothing of it counts."""
        if self.ledger.sealed:
            return False
        self.failed_attempts[offset] = attempt
        return True

    @property
    def first_unfinished_offset(self) -> int | None:
        """The first offset that is not finished, as far as is known."""
        if self.ledger.oldest is not None:
            return self.ledger.oldest
        waiting = self.early or self.held
        return waiting[0].offset if waiting else self.ledger.committable()

    @property
    def done_ahead_count(self) -> int:
        """How many offsets after its first unfinished one are finished."""
        base = self.first_unfinished_offset
        return OffsetRanges(self.ledger.finished_ranges_from(base)).offset_count if base is not None else 0

    def attempts_by_offset(self, base: int) -> dict[int, int]:
        """How many attempts at its unfinished records from this offset on count, by offset."""
        if not self.failed_attempts and self.counted is None:
            return {}
        unfinished, last = set(self.ledger.open_offsets()), self.ledger.last
        counted = dict(self.failed_attempts)
        if self.counted is not None:
            offset, attempt = self.counted
            counted[offset] = attempt
        # Those after the last record that was read are inherited, and still to be read.
        counted = {at: tried for at, tried in counted.items() if at >= base and (at in unfinished or at > last)}
        for at in self.failed_attempts.keys() - counted.keys():
            del self.failed_attempts[at]
        return counted

    # ------------------------------------------------------------------ waiting for this owner's mark

    @property
    def is_held(self) -> bool:
        """Whether its records wait until this owner has committed its mark."""
        return self._more_held is not None

    def hold_records(self, records: Sequence[Record]) -> None:
        """Keep these records, which were just read, until the mark is committed."""
        self.held.extend(records)
        self.set_read_position(None)
        if self._more_held is not None and not self._more_held.done():
            self._more_held.set_result(None)
        self._more_held = self._more_held or asyncio.get_running_loop().create_future()

    def wait_for_more_held(self) -> asyncio.Future[None]:
        """Done when more records are held."""
        self._more_held = asyncio.get_running_loop().create_future()
        return self._more_held

    def release_held(self) -> Sequence[Record]:
        """The mark is committed, or its assignment is over: records do not wait any more. Returns those that did."""
        self._more_held = None
        records = list(self.held)
        self.held.clear()
        return records

    def clear_own_mark(self) -> None:
        """Its commits do not say any more that this owner has just begun."""
        if self.mark.ownership is Ownership.BEGUN:
            self.mark = OPEN

    def clear_own_mark_and_attempt_before_revoke(self) -> None:
        """It is released in order: its last commit has no mark but an earlier owner's whose suspect record has not
        begun here, or is being written to another topic, and does not count an attempt that it cuts short."""
        if self.mark is not self.inherited_mark:
            self.mark = OPEN
        self.counted = None

    @property
    def is_suspect_being_written(self) -> bool:
        """Whether the record that ended its process, by the mark of an earlier owner, is being written to another
        topic."""
        return self.mark is self.inherited_mark and any(
            write.record.offset == self.mark.offset for write in self.pending_writes()
        )

    def clear_mark_of_written_suspect(self, offset: int) -> None:
        """This record is written to another topic: if an earlier owner's mark names it, commits do not any more."""
        if self.mark is self.inherited_mark and self.mark.offset == offset:
            self.mark = OPEN

    def is_in_attempt(self, offset: int, failed: int) -> bool:
        """Whether this record has not ended its attempt: it is neither finished, nor has it failed more often than so
        many times, nor could it not be written to another topic."""
        if any(record.offset == offset for record in self.early):
            return True
        return (
            self.ledger.is_open(offset)
            and self.failed_attempts.get(offset, 0) <= failed
            and not any(write.has_failed and write.record.offset == offset for write in self.pending_writes())
        )

    # ------------------------------------------------------------------ lanes

    def lanes(self) -> Iterator[Lane]:
        if self._whole is not None:
            yield self._whole
        yield from tuple(self._keyed.values())
        yield from tuple(self._unkeyed)

    @property
    def only_lane(self) -> Lane | None:
        """The lane of all its records, if the partition as a whole is kept in order."""
        return self._whole

    @property
    def has_backlog_in_only_lane(self) -> bool:
        """Whether its only lane runs, and has more records."""
        return self._whole is not None and self.running > 0 and bool(self._whole.queue)

    def lane_of(self, record: Record) -> Lane | None:
        """The lane that keeps this record in order; None if it needs no order."""
        if self._whole is not None:
            return self._whole
        key = record.key
        if key is None or not self._by_key:
            return None
        lane = self._keyed.get(key)
        if lane is None:
            lane = self._keyed[key] = Lane(self, (self.tp, key))
        return lane

    def has_earlier_in_lane(self, record: Record) -> bool:
        """Whether earlier records of its lane are unfinished, so that it cannot begin before them."""
        lane = self._whole or (self._keyed.get(record.key) if record.key is not None else None)
        return lane is not None and (bool(lane.queue) or lane.state is LaneState.RUNNING or "in_batch" in lane.reasons)

    def sort_into_lanes(self, records: Sequence[Record]) -> Sequence[tuple[Lane, Sequence[Record]]]:
        """The lanes of these records, each with its records, in the order of the lanes' first ones."""
        if self._whole is not None:
            return [(self._whole, records)]
        added: defaultdict[Lane, list[Record]] = defaultdict(list)
        for record in records:
            added[self.lane_of(record) or self.new_lane_without_order()].append(record)
        return list(added.items())

    def new_lane_without_order(self) -> Lane:
        """A new lane for one record that needs no order."""
        lane = Lane(self, None)
        self._unkeyed[lane] = None
        return lane

    def create_open_batch(self, route: Route, limits: BatchLimits, attempt: int) -> Batch:
        """A new batch for this endpoint, which takes records from now on."""
        batch = self.gathering[route, attempt] = Batch(self, route, limits, attempt)
        self._unkeyed[batch] = None
        return batch

    def close_batch(self, batch: Batch) -> None:
        if self.gathering.get((batch.route, batch.attempt)) is batch:
            del self.gathering[batch.route, batch.attempt]

    def forget_lane(self, lane: Lane) -> None:
        """Remove a lane that has no records left."""
        if lane.key is None:
            self._unkeyed.pop(lane, None)
        elif (key := lane.key[1]) is not None:
            self._keyed.pop(key, None)

    def enqueue_lane(self, lane: Lane) -> None:
        """Put it in the queue for an executor, in which the lane with the oldest record comes first.

        Commits stop at the oldest unfinished record; later ones that are finished are handled again after a crash. In
        order of arrival, the lanes of a thousand keys would hold the commit back for as long as all of them take.
        A record that is tried again comes after all that was read before: if it were first again and again, a few
        keys that fail at once would keep the others from ever being taken.
        """
        queue = lane.queue
        self._enqueued += 1  # of two at one offset the first that came is first: both are tried again
        since = self.ledger.last if lane.attempt > 1 else queue[0].offset if queue else -1
        heappush(self.ready, (since, self._enqueued, lane))

    # ------------------------------------------------------------------ becoming quiet

    @property
    def has_running_or_queued_records(self) -> bool:
        """Whether an attempt runs or a record waits for its turn."""
        return self.running > 0 or any(lane.queue for lane in self.lanes())

    def wait_until_idle(self) -> asyncio.Future[None]:
        """Done when no attempt of this partition runs and none of its records waits."""
        if self._quiet is None or self._quiet.done():
            self._quiet = asyncio.get_running_loop().create_future()
            self.notify_waiters()
        return self._quiet

    def wait_for_progress(self) -> asyncio.Future[None]:
        """Done when records have left a lane, or may begin again after a pause."""
        if self._progress is None or self._progress.done():
            self._progress = asyncio.get_running_loop().create_future()
        return self._progress

    def notify_waiters(self) -> None:
        """Called by the scheduler whenever records have left a lane, and at the end of a pause."""
        if self._progress is not None and not self._progress.done():
            self._progress.set_result(None)
        if self._quiet is not None and not self.has_running_or_queued_records and not self._quiet.done():
            self._quiet.set_result(None)

    def count_records_that_may_end_soon(self) -> int:
        """About how many records may be finished before others that were read earlier; 0 if the partition as a whole is
        kept in order. Few of each lane count, because those behind a slow record are finished much later."""
        if self._whole is not None:
            return 0
        return sum(min(len(lane.queue), MOST_OF_LANE) for lane in self.lanes() if not lane.reasons)

    # ------------------------------------------------------------------ for the status

    def count_retrying_lanes(self) -> int:
        """How many lanes wait for their first record's next attempt."""
        return sum("retry_wait" in lane.reasons for lane in self.lanes())

    def oldest_record_failed_attempts(self) -> int:
        """How often its oldest unfinished record has failed, or could not be written elsewhere; 0 while it runs."""
        lane = self._oldest_lane()
        return max([lane.attempt - 1, *(write.failed_writes for write in lane.writes)]) if lane is not None else 0

    def oldest_record_block_reasons(self) -> frozenset[BlockReason]:
        """Why its oldest unfinished record does not begin; empty while it runs, or waits for an executor."""
        lane = self._oldest_lane()
        return lane.reasons if lane is not None else NO_REASONS

    def _oldest_lane(self) -> Lane | None:
        """The lane or batch whose first record is the oldest unfinished one; None while that record runs."""
        oldest = self.ledger.oldest
        return next((lane for lane in self.lanes() if lane.queue and lane.queue[0].offset == oldest), None)

    def pending_writes(self) -> list[PendingWrite]:
        """What is being written to other topics."""
        return [write for lane in self.lanes() for write in lane.writes]
