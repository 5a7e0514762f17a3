"""What the source tells its consumer: partitions come and go, positions are reset.

A revoke is here, and so is the draining at a stop, for they are the same. `Assignment.partitions` is written by nobody
but this and a user's seek.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Collection, Sequence

from evkafka.exceptions import BrokerRefused
from evkafka.records import OffsetReset, TopicPartition, Unreadable
from evkafka.runtime.assignment import Assignment
from evkafka.runtime.clock import acquire, wait_any
from evkafka.runtime.committer import COMMIT_TIMEOUT_S
from evkafka.runtime.corrupt_records import CorruptRecords
from evkafka.runtime.executor import Executor
from evkafka.runtime.partition import Partition
from evkafka.runtime.reporting import TelemetryReporter
from evkafka.runtime.settle import address_of
from evkafka.runtime.supervision.stop_signal import StopSignal
from evkafka.telemetry import PartitionsAssigned, PartitionsRevoked, PositionReset

logger = logging.getLogger("evkafka.runtime")

CUT_S = 1.0
"""How long a cancelled attempt may take to end before it is left behind."""


class RebalanceListener:
    """One consumer's; implements SourceListener.

    Attributes:
        cut_at_stop: attempts that the stop's drain time did not suffice for.
    """

    def __init__(
        self,
        held: Assignment,
        ending: StopSignal,
        executors: Sequence[Executor],
        report: TelemetryReporter,
        unreadable: CorruptRecords,
    ) -> None:
        self._held = held
        self._ending = ending
        self._executors = executors
        self._report = report
        self._unreadable = unreadable
        self.cut_at_stop = 0

    # ------------------------------------------------------------------ the source's calls

    async def on_revoked(self, partitions: Collection[TopicPartition]) -> None:
        """Let what runs end within the drain time, commit it, and give the partitions back."""
        held = self._held
        drain_s = await self._handed_over(held.settings.revoke_drain_timeout_s)
        going = [held.partitions[tp] for tp in partitions if tp in held.partitions]
        try:
            await self.release(going, drain_s, lambda: COMMIT_TIMEOUT_S)
        except BrokerRefused as error:
            self._ending.fail(error)

    async def on_assigned(self, partitions: Collection[TopicPartition]) -> None:
        """A new assignment, a new epoch: new ledgers for all of it."""
        held = self._held
        for left in tuple(held.partitions.values()):
            # The old assignment ended without a revoke: nothing of it may be committed any more.
            held.drop(left)
        for tp in partitions:
            held.flow.forget(tp)
            held.begin(tp)
        held.flow.room.set()
        held.telemetry.emit(PartitionsAssigned(held.name, tuple(sorted(partitions))))

    def on_reset(self, reset: OffsetReset) -> None:
        """The position that the rule found is committed at once: a crash before the first commit skips nothing."""
        held = self._held
        held.telemetry.emit(PositionReset(held.name, reset))
        partition = held.partitions.get(reset.partition)
        if partition is None:
            return
        to_offset = reset.to_offset
        if to_offset <= partition.last_read:  # it comes again: that needs a new ledger
            to_offset = self._unfinished_before(partition, reset)
            partition = held.begin_anew(partition)
        partition.arrive(to_offset)
        held.commit_due.set()

    def _unfinished_before(self, partition: Partition, reset: OffsetReset) -> int:
        """A cut log still holds what lies before the cut, and what of it is unfinished is read again from there."""
        done, source = partition.ledger.committable(), self._held.source
        if reset.reason != "truncated" or done is None or done >= reset.to_offset or self._held.at_most_once:
            return reset.to_offset
        assert source is not None
        source.seek(reset.partition, done)
        return done

    def on_unreadable(self, unreadable: Unreadable) -> None:
        self._unreadable.handle(unreadable)

    # ------------------------------------------------------------------ giving partitions back

    async def release_all(self, drain_s: float, commit_s: Callable[[], float]) -> None:
        """Give back everything, as `release` does."""
        drain_s = await self._handed_over(drain_s)
        await self.release(list(self._held.partitions.values()), drain_s, commit_s)

    async def _handed_over(self, drain_s: float) -> float:
        """Wait for what a poll is just handing over: at most once it is committed by then, and must be run. It is part
        of the drain; returns what is left of that. A commit without an answer does not hold up the drain any longer.
        """
        clock, until_s = self._held.clock, self._held.clock.now() + drain_s
        if await acquire(clock, self._held.handing_over, drain_s):
            self._held.handing_over.release()
        return max(until_s - clock.now(), 0.0)

    async def release(self, going: Collection[Partition], drain_s: float, commit_s: Callable[[], float]) -> None:
        """Give partitions back: let what runs end, cut what does not, commit, seal.

        Post-commit, what has not begun is let go at once, its next owner reads it. Pre-commit, its offset may
        be committed already, so it is still run within the drain time, and what is left is lost, by address.

        Args:
            commit_s: the time that the commit has, asked when it begins.
        """
        held = self._held
        going = [partition for partition in going if not partition.ledger.sealed]
        if not going:
            return
        self._unreadable.release(going)
        self._tell_of_attempts(going)
        for partition in going:
            partition.change("leave")
            if not held.at_most_once:
                held.lanes.clear(partition)
                continue
            held.lanes.resume(partition)  # by a user's wish or not: what was received is still run
            held.lanes.close_batches(partition)
        await self._quiet(going, drain_s)
        held.left([record for partition in going for record in held.lanes.close(partition)])
        cut = self._cut(going)
        held.left(unwritten := [record for partition in going for record in held.lanes.abandon_writes(partition)])
        cut += len(unwritten)
        if self._ending.stopping.done():
            self.cut_at_stop += cut
        if cut:
            await self._quiet(going, CUT_S)
        if held.committer is not None and not held.at_most_once:
            await held.committer.commit(going, timeout_s=commit_s())
        for partition in going:
            held.drop(partition)
        self._report.flush()
        held.telemetry.emit(PartitionsRevoked(held.name, tuple(sorted(p.tp for p in going)), cut))

    def _tell_of_attempts(self, going: Collection[Partition]) -> None:
        """How often a record has failed is known to this assignment alone."""
        tried = [one for partition in going for one in partition.tried()]
        if tried and not self._held.at_most_once:
            record, failed = tried[0]
            logger.warning(
                "consumer %s gives back %s after %d failed attempts%s: they are counted from 1 again by its next owner",
                self._held.name,
                address_of(record),
                failed,
                f", and {len(tried) - 1} other records that have failed" if len(tried) > 1 else "",
            )

    async def _quiet(self, going: list[Partition], timeout_s: float) -> None:
        if any(partition.busy for partition in going):
            # A revoke and the stop may wait for the same partition; the one that gives up cancels the other's wait.
            all_quiet = asyncio.gather(*(partition.quiet() for partition in going), return_exceptions=True)
            await wait_any(self._held.clock, all_quiet, timeout_s=timeout_s)
            if not all_quiet.done():
                all_quiet.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await all_quiet

    def _cut(self, going: list[Partition]) -> int:
        """Cancel the attempts that the drain time did not suffice for; a thread runs on, and its lane with it."""
        count = 0
        for executor in self._executors:
            if executor.lane is not None and executor.lane.partition in going:
                count += 1
                executor.cancel("abandoned")
        return count
