"""One partition during one assignment: its ledger, its lanes, what it holds in memory."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator, Sequence
from heapq import heappush
from operator import attrgetter
from typing import TYPE_CHECKING

from evkafka.config.settings import DeadLetterLimitSettings
from evkafka.records import Record, TopicPartition
from evkafka.runtime.dead_letters.rate import DeadLetterRate
from evkafka.runtime.offsets import OffsetLedger
from evkafka.runtime.ports import Route
from evkafka.runtime.scheduler import NO_REASONS, Lane, LaneScheduler, Reason

if TYPE_CHECKING:
    from evkafka.runtime.admission import Batch
    from evkafka.runtime.dead_letters.retry_topics import DelayedRecord
    from evkafka.runtime.pending_writes import PendingWrite

_offset = attrgetter("offset")
_value = attrgetter("value")


class Partition:
    """Made when the partition is assigned (and anew at a seek or reset), sealed when it goes.

    Attributes:
        ordering: how its records are kept in order: `partition`, `key` or `unordered`.
        gathering: the batches that still take records, by endpoint and attempt. Written by the gate.
        committed: the offset last confirmed by the cluster in this assignment; None while there is none. What the
            group had committed before is not taken for it: behind a marker the first position lies past that.
        closed: True once nothing more of it may begin, though its last attempts may still run.
        leaving: True from the moment that the partition is being given back: no record begins, no retry waits.
        ready: a heap of its lanes that wait for an executor, first the one that comes next. Written by Lanes.
        running: lanes of it that an executor walks right now. Written by Lanes.
        bytes: values read and not committable, in bytes.
        begun: True once a record of it was read.
        paused: True while none of its records may begin, by a user's wish. Written by Lanes.
        held: True while it is not read because the client cannot read its next record.
        unreadable: how often that has been so in a row.
        early: what was read of a retry topic and is not due yet: the ledger knows nothing of it.
        tally: how many of its records became dead letters; None until its position, and what was kept, is known.
        burying: dead letters of it that are being written just now.
    """

    __slots__ = (
        "_batches",
        "_by_key",
        "_enqueued",
        "_keyed",
        "_lanes",
        "_quiet",
        "_taken",
        "_tallied",
        "_whole",
        "begun",
        "burying",
        "bytes",
        "closed",
        "committed",
        "early",
        "gathering",
        "held",
        "leaving",
        "ledger",
        "paused",
        "ready",
        "running",
        "tally",
        "tp",
        "unreadable",
    )

    def __init__(self, tp: TopicPartition, lanes: LaneScheduler, *, ordering: str, paused: bool = False) -> None:
        self.tp = tp
        self.ledger = OffsetLedger()
        self.committed: int | None = None
        self.closed = False
        self.leaving = False
        self.ready: list[tuple[int, int, Lane]] = []
        self.running = 0
        self.bytes = 0
        self.begun = False
        self.paused = paused
        self.held = False
        self.unreadable = 0
        self.early: deque[DelayedRecord] = deque()
        self.tally: DeadLetterRate | None = None
        self.burying = 0
        self._enqueued = 0  # lanes, ever
        self._taken = 0  # records read
        self._tallied = 0  # of those that have ended, how many the tally knows
        self._batches: deque[tuple[int, int]] = deque()  # (last offset, bytes) of each poll, oldest first
        self._lanes = lanes
        self.gathering: dict[tuple[Route, int], Batch] = {}
        self._by_key = ordering == "key"
        self._whole = Lane(self, tp) if ordering == "partition" else None
        self._keyed: dict[object, Lane] = {}  # by key; by id the lanes of free records, and batches
        self._quiet: asyncio.Future[None] | None = None

    # ------------------------------------------------------------------ reading

    def take(self, records: Sequence[Record], position: int | None) -> None:
        """These records were just read, up to this position: open them in the ledger, hand them to their lanes."""
        self.begun = True
        self._taken += len(records)
        self.unreadable = 0
        self.ledger.begin(list(map(_offset, records)))
        self.arrive(position)
        size = sum(map(len, filter(None, map(_value, records))))
        self.bytes += size
        self._batches.append((records[-1].offset, size))
        if self._whole is not None:
            self._lanes.hand_over(self._whole, records)
        else:
            for record in records:
                self._lanes.hand_over(self.lane_of(record) or self.free_lane(), (record,))

    def arrive(self, position: int | None) -> None:
        """The client stands here, and all that it handed out is in the ledger, but for what is not due yet."""
        self.ledger.read_to(position if not self.early else self.early[0].offset)

    @property
    def last_read(self) -> int:
        """The highest offset that was read; -1 where nothing was."""
        return self.early[-1].offset if self.early else self.ledger.last

    def enqueue(self, lane: Lane) -> None:
        """It waits for an executor; the lane with the oldest record comes first.

        For the watermark stands at the oldest record, and all that ends behind it is handled again after a crash. In
        the order of their coming, a thousand keys' lanes would hold it back for as long as all of them take.
        A record that is tried again stands behind all that was read before: were it first again and again, a few
        keys that fail at once would keep the others from ever being taken.
        """
        queue = lane.queue
        self._enqueued += 1  # of two at one offset, the first that came: both are tried again
        since = self.ledger.last if lane.attempt > 1 else queue[0].offset if queue else -1
        heappush(self.ready, (since, self._enqueued, lane))

    def lane_of(self, record: Record) -> Lane | None:
        """The lane that keeps this record in order; None where nothing does."""
        if self._whole is not None:
            return self._whole
        key = record.key
        if key is None or not self._by_key:
            return None
        keyed = self._keyed.get(key)
        if keyed is None:
            keyed = self._keyed[key] = Lane(self, (self.tp, key))
        return keyed

    def free_lane(self) -> Lane:
        """A lane for one record that needs no order."""
        lane = Lane(self, None)
        self._keyed[id(lane)] = lane
        return lane

    def add(self, batch: Batch) -> None:
        self._keyed[id(batch)] = batch

    def is_whole(self, lane: Lane) -> bool:
        """Whether all records of the partition stand in this lane."""
        return lane is self._whole

    def forget_lane(self, lane: Lane) -> None:
        """A lane has nothing left: it ceases to exist."""
        if lane is not self._whole:
            self._keyed.pop(id(lane) if lane.key is None else lane.key[1], None)  # type: ignore[index]

    def release_bytes(self) -> None:
        """Count out the batches that the watermark has passed."""
        oldest = self.ledger.oldest
        batches = self._batches
        while batches and (oldest is None or batches[0][0] < oldest):
            self.bytes -= batches.popleft()[1]

    def lanes(self) -> Iterator[Lane]:
        if self._whole is not None:
            yield self._whole
        yield from tuple(self._keyed.values())

    # ------------------------------------------------------------------ committing

    def to_commit(self) -> int | None:
        """The offset to commit now, None where nothing moved since the last confirmed one."""
        offset = self.ledger.committable()
        if self.tally is not None and self.tally.unsaved:
            # Reading began there or before, and nothing behind it is passed.
            return offset if offset is not None else self.ledger.oldest
        return offset if offset != self.committed else None

    # ------------------------------------------------------------------ dead letters

    def reached(self, limit: DeadLetterLimitSettings | None) -> str | None:
        """Why none of its records may become a dead letter now; None where they may."""
        tally = self.tally_up()
        if tally is None or limit is None:
            return None
        why = tally.reached(limit, under_way=self.burying)
        if why is not None:
            tally.stop()
        return why

    def buried(self) -> None:
        """A record of it has just become a dead letter, and ends in this step."""
        tally = self.tally_up()
        if tally is not None:
            tally.count_dead_letter()
            self._tallied += 1

    def count_unreadable(self) -> None:
        """The same of a record that the client could not read, which was never taken."""
        self.buried()
        self._taken += 1

    def tally_up(self) -> DeadLetterRate | None:
        """The tally, told of what has ended since it was last looked at: records need not be counted one by one."""
        if self.tally is not None and not self.ledger.sealed:
            ended = self._taken - self.ledger.unfinished
            if ended > self._tallied:
                self.tally.count_other(ended - self._tallied)
                self._tallied = ended
        return self.tally

    # ------------------------------------------------------------------ going away

    def clear(self) -> list[Record]:
        """Take back every record that has not begun; the attempts under way go on."""
        self.early.clear()
        return [record for lane in self.lanes() for record in self._lanes.clear(lane)]

    def close(self) -> list[Record]:
        """Nothing more of it begins; returns what had not."""
        self.closed = True
        return self.clear()

    def end_writes(self) -> list[Record]:
        """Give up what is on its way to another topic; returns the records."""
        return [record for lane in self.lanes() for record in self._lanes.end_writes(lane, failing=False)]

    def seal(self) -> None:
        """The assignment is over. What still runs is left behind: its result will be refused."""
        self.end_writes()
        for lane in self.lanes():
            self._lanes.leave_behind(lane)
        self.ledger.seal()

    @property
    def begins_nothing(self) -> bool:
        """True once none of its records may begin any more, nor be tried again."""
        return self.closed or self.leaving or self.ledger.sealed

    @property
    def busy(self) -> bool:
        """True while an attempt runs or a record waits for its turn."""
        return self.running > 0 or any(lane.queue for lane in self.lanes())

    def on_quiet(self) -> None:
        """Called by Lanes whenever an executor leaves one of the lanes."""
        if self._quiet is not None and not self.busy and not self._quiet.done():
            self._quiet.set_result(None)

    def quiet(self) -> asyncio.Future[None]:
        """Done when nothing of this partition runs or waits any more."""
        if self._quiet is None or self._quiet.done():
            self._quiet = asyncio.get_running_loop().create_future()
            if not self.busy:
                self._quiet.set_result(None)
        return self._quiet

    def waiting(self) -> int:
        """Lanes whose first record waits for its next attempt."""
        return sum("retry_wait" in lane.reasons for lane in self.lanes())

    def failed_attempts(self) -> int:
        """How often its oldest unfinished record has failed, or could not be written elsewhere, while it waits."""
        lane = self._oldest_lane()
        return max([lane.attempt - 1, *(write.tries for write in lane.writes)]) if lane is not None else 0

    def blocked_by(self) -> frozenset[Reason]:
        """Why its oldest unfinished record does not begin; empty while it runs, or waits for an executor."""
        lane = self._oldest_lane()
        return lane.reasons if lane is not None else NO_REASONS

    def _oldest_lane(self) -> Lane | None:
        """The lane or batch whose first record is the oldest unfinished one; None while that one runs."""
        oldest = self.ledger.oldest
        return next((lane for lane in self.lanes() if lane.queue and lane.queue[0].offset == oldest), None)

    def tried(self) -> list[tuple[Record, int]]:
        """Records that wait for their next attempt, and how many have failed."""
        return [(lane.queue[0], lane.attempt - 1) for lane in self.lanes() if lane.queue and lane.attempt > 1]

    def writes(self) -> list[PendingWrite]:
        """What is on its way to another topic."""
        return [write for lane in self.lanes() for write in lane.writes]
