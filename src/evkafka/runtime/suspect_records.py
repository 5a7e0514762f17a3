"""Finds the record that ends its process: one that runs out of memory, or calls `os._exit`, or crashes an extension.

An earlier owner of the partition has died, or lost its session, at the offset that it began at. Nobody can tell which
of the two, and one of the records that it had in flight may be the cause. Records are handled one at a time, and each
is committed as the one that is handled (`ALONE`) before its attempt begins. An owner that finds that mark knows the
record.

Both count as an attempt. With a finite `max_attempts` the record's error policy decides in the end, without another
attempt; without one the record is named in the log, and tried again and again.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass

from evkafka.exceptions import BrokerRefused, ProcessDied, StopApp
from evkafka.outcomes import Failed
from evkafka.records import Record
from evkafka.runtime.assignment import Assignment
from evkafka.runtime.clock import wait_any
from evkafka.runtime.commit_metadata import OwnerMark, Ownership
from evkafka.runtime.dead_letters.retry_topics import DelayedRecord
from evkafka.runtime.intake import Intake
from evkafka.runtime.interfaces import ConsumerServices, DecideFor
from evkafka.runtime.last_attempts import LastAttempts
from evkafka.runtime.partition import Partition
from evkafka.runtime.pending_writes import PendingWrites
from evkafka.runtime.ports import Dispatch, Slot
from evkafka.runtime.settle import Wait, address_of

logger = logging.getLogger("evkafka.runtime")

ALONE_S = 30.0
"""How long records are handled one at a time while it is not known which one ends the process."""

READ_S = 1.0
"""How long the next records of the partition are waited for."""


@dataclass(frozen=True, slots=True)
class _Wait:
    """What a record waits for before it may begin, beside the progress of its partition.

    Attributes:
        futures: one of them is done then.
        limit_s: how long this takes at most; None for no limit.
    """

    futures: Sequence[asyncio.Future[None]] = ()
    limit_s: float | None = None


class SuspectRecords:
    """Handles the first records of a partition one at a time, because one of them may have ended the owner before.

    If it is not known which one, this ends after half a minute, or when no more records come.

    Args:
        new_slot: creates the slot of an attempt that is not made.
        owner: identifies this consumer in its marks.
    """

    def __init__(
        self,
        assignment: Assignment,
        services: ConsumerServices,
        writes: PendingWrites,
        dispatch: Dispatch,
        decide: DecideFor,
        new_slot: Callable[[], Slot],
        intake: Intake,
        *,
        owner: str,
    ) -> None:
        self._assignment = assignment
        self._services = services
        self._last_attempts = LastAttempts(services, writes)
        self._dispatch = dispatch
        self._decide = decide
        self._new_slot = new_slot
        self._intake = intake
        self._owner = owner
        # One record of all partitions, not one of each: a crash would count against all of them.
        self._one_at_a_time: AbstractAsyncContextManager[object] = (
            asyncio.Lock() if intake.places_records_at_once else nullcontext()
        )

    async def handle_one_at_a_time(self, partition: Partition, found: OwnerMark) -> None:
        """Handle the records that are held one at a time, until the one that ends the process must be past.

        Args:
            found: the mark of the earlier owner.
        """
        logger.warning(
            "consumer %s: the previous owner of %s[%d] did not release it, and may have died while it handled %s (%d"
            " times so far): records are handled one at a time until that is known",
            self._assignment.name,
            *partition.tp,
            f"@{found.offset}" if found.offset is not None else f"a record from @{partition.began_at} on",
            found.deaths,
        )
        partition.mark = found  # until its first record begins, so that no commit forgets which one is suspect
        until_s = self._assignment.clock.now() + ALONE_S
        while self._assignment.may_partition_begin_records(partition) and (
            found.offset is not None or self._assignment.clock.now() < until_s
        ):
            if not partition.held:
                # The record before has ended: a crash while the next one is waited for must not count against it.
                await self._commit_all_partitions()
                if not await self._read_more_records(partition):
                    return
            record = partition.held[0]
            if _is_past_suspects(partition, record, found):
                return
            await self._handle_record_when_attempt_is_possible(partition, record, found)
            if record.offset == found.offset:
                return

    async def _read_more_records(self, partition: Partition) -> bool:
        """Read more records of the partition. False if none came."""
        flow, more = self._assignment.flow, partition.wait_for_more_held()
        flow.remove_reason(partition.tp, "beginning")
        await wait_any(self._assignment.clock, more, timeout_s=READ_S)
        # Else another assignment of it may be read meanwhile.
        if self._assignment.may_partition_begin_records(partition):
            flow.add_reason(partition.tp, "beginning")
        return bool(partition.held)

    async def _handle_record_when_attempt_is_possible(
        self, partition: Partition, record: Record, found: OwnerMark
    ) -> None:
        """Handle this record as soon as it may begin: no crash before that is its own, and other partitions do not wait
        for it until then."""
        read = self._intake.restore_if_from_retry_topic(record)
        while self._assignment.may_partition_begin_records(partition):
            async with self._one_at_a_time:
                wait = self._wait_before_attempt(partition, read)
                if wait is None:
                    await self._handle_record_and_wait_until_ended(partition, read, found)
                    return
            await wait_any(self._assignment.clock, partition.wait_for_progress(), *wait.futures, timeout_s=wait.limit_s)

    def _wait_before_attempt(self, partition: Partition, read: Record) -> _Wait | None:
        """What the record waits for before it may begin: the end of a pause, its due time, or its schema, which may
        tell its endpoint. None if it may begin."""
        if partition.paused:
            return _Wait()
        if isinstance(read, DelayedRecord) and (wait_s := read.due_s - self._assignment.clock.now()) > 0:
            return _Wait(limit_s=wait_s)
        awaited = self._dispatch.awaited
        if awaited is not None and (ready := awaited(read)) is not None:
            return _Wait((ready,))
        return None

    async def _handle_record_and_wait_until_ended(self, partition: Partition, read: Record, found: OwnerMark) -> None:
        """Handle the first record that is held, and wait for the end of its attempt."""
        if not self._assignment.may_partition_begin_records(partition):
            return
        if partition.has_earlier_in_lane(read):
            # An earlier record of its lane has failed and is to be tried again, perhaps without an end. This one begins
            # after that: the partition must not wait for it, and no crash until then is its own.
            self._intake.place_records_when_due(partition, [partition.held.popleft()])
            return
        offset, known = read.offset, read.offset == found.offset
        failed = partition.failed_attempts.get(offset, 0)
        if not known or not self._settle_suspect_by_error_policy(partition, read, found, failed):
            deaths = found.deaths if known or found.offset is None else 0
            failed += 0 if known else deaths
            # The attempt is counted before it begins, and in each commit until it has ended: if the process dies, the
            # last commit has counted it.
            partition.failed_attempts[offset], partition.counted = failed, (offset, failed + 1)
            partition.mark = OwnerMark(Ownership.ALONE, deaths + 1, offset, self._owner)
            await self._commit_all_partitions()
            if not self._assignment.may_partition_begin_records(partition):
                return
            self._intake.place_records_when_due(partition, [partition.held.popleft()])
            self._services.scheduler.end_batch_waits(partition)
        # A record that is written to another topic is waited for too: if the next record ended the process before that
        # is confirmed and committed, this one would begin again, and both could continue like that forever.
        while self._assignment.may_partition_begin_records(partition) and partition.is_in_attempt(offset, failed):
            await partition.wait_for_progress()
        partition.counted = None
        if partition.mark.ownership is Ownership.ALONE and partition.mark is not found:
            partition.mark = OwnerMark(Ownership.BEGUN, 1, owner=self._owner)

    async def _commit_all_partitions(self) -> None:
        """Commit every partition: what has ended in another one must not count if the next attempt ends the process."""
        committer = self._assignment.committer
        if committer is not None:
            try:
                await committer.commit(self._assignment.partitions.values())
            except BrokerRefused as error:
                self._services.fail(error)

    def _settle_suspect_by_error_policy(
        self, partition: Partition, read: Record, found: OwnerMark, failed: int
    ) -> bool:
        """Let the error policy decide on a record whose attempts are used up. False if it is to be tried again."""
        slot = self._new_slot()
        slot.route, slot.record, slot.attempt = self._dispatch.route(read), read, failed
        slot.earlier = read.earlier if isinstance(read, DelayedRecord) else 0
        what = f"its process died, or lost its session, while it was handled, {found.deaths} times"
        died = Failed(ProcessDied(what))
        verdict = self._decide(read.topic, slot.route, died, failed)
        if isinstance(verdict, Wait):
            # The verdict on any number of attempts says whether there is a limit.
            is_limited = not isinstance(self._decide(read.topic, slot.route, died, sys.maxsize), Wait)
            logger.error(
                "consumer %s: the process died, or lost its session, while it handled %s (%d times so far). The record"
                " is tried again%s",
                self._assignment.name,
                address_of(read),
                found.deaths,
                "" if is_limited else "; a finite `max_attempts` in its error policy limits that",
            )
            return False
        partition.held.popleft()
        self._assignment.taken += 1
        partition.enter_read_offsets([read], read.offset + 1)
        lane = partition.lane_of(read) or partition.new_lane_without_order()
        try:
            self._last_attempts.settle(lane, read, slot, died, verdict, 0.0)
        except StopApp as error:
            self._services.close_partition_and_report_failed(partition, slot, [read], 0.0)
            self._services.fail(error)
        if lane.writes:
            partition.mark = found  # until it is written: the next owner of the partition must not try it again either
        else:
            partition.mark = OwnerMark(Ownership.BEGUN, 1, owner=self._owner)
            partition.forget_lane(lane)
        self._services.resume_reading_and_flush_reports_soon()
        return True


def _is_past_suspects(partition: Partition, record: Record, found: OwnerMark) -> bool:
    """Whether neither this record nor a later one can have ended the earlier owner: the suspect record is known and
    comes before it, or the log was truncated, and this one was written afterwards."""
    ends = (found.offset + 1 if found.offset is not None else None, partition.truncated_at)
    return any(end is not None and record.offset >= end for end in ends)
