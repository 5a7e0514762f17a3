"""Step 7 of 7: commits. Always explicit offsets, one request at a time, every one with a deadline."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from evkafka.exceptions import BrokerError, BrokerRefused, CommitRefused, CommitUnknown
from evkafka.records import TopicPartition
from evkafka.runtime.clock import acquire, sleep, wait_any
from evkafka.runtime.partition import Partition
from evkafka.runtime.ports import Clock, RecordSource
from evkafka.telemetry import CommitFailed, OffsetsCommitted, Telemetry

if TYPE_CHECKING:
    from evkafka.runtime.assignment import Assignment

logger = logging.getLogger("evkafka.runtime")

COMMIT_TIMEOUT_S = 10.0


class Committer:
    """Commits what the ledgers call committable.

    The lock is shared by the interval's commit and the one at a revoke: the second waits for the first, so
    that no older offset can land after a newer one.
    """

    def __init__(self, source: RecordSource, *, consumer: str, clock: Clock, telemetry: Telemetry) -> None:
        self._source = source
        self._consumer = consumer
        self._clock = clock
        self._telemetry = telemetry
        self._lock = asyncio.Lock()

    async def commit(self, partitions: Iterable[Partition], *, timeout_s: float = COMMIT_TIMEOUT_S) -> bool:
        """Commit what moved. False where something could not be committed; nothing is raised but `BrokerRefused`.

        The time includes the wait for a commit that is under way. If that one has no answer by then, nothing is
        sent: the records are read again. The offsets are read from the ledgers inside the lock, in the step that
        sends them.
        """
        partitions = list(partitions)
        until_s = self._clock.now() + timeout_s
        if not await acquire(self._clock, self._lock, timeout_s):
            return self._not_sent(partitions, timeout_s)
        try:
            return await self._commit(partitions, until_s - self._clock.now())
        finally:
            self._lock.release()

    async def _commit(self, partitions: list[Partition], timeout_s: float) -> bool:
        offsets = {p.tp: offset for p in partitions if (offset := p.to_commit()) is not None}
        if not offsets:
            return True
        began = self._clock.now()
        metadata = {p.tp: self._metadata(p) for p in partitions if p.tp in offsets}
        try:
            await self._source.commit(offsets, timeout_s=timeout_s, metadata=metadata)
        except CommitUnknown as error:
            # It may have been written or not: commit again, even if nothing moves until then.
            for partition in partitions:
                partition.committed = None
            return self._failed(offsets, error)
        except BrokerRefused as error:
            self._failed(offsets, error)
            raise
        except CommitRefused as error:
            # The partitions are another's by now, or a rebalance is under way and its revoke commits again.
            return self._failed(offsets, error)
        except BrokerError as error:
            return self._failed(offsets, error)
        for partition in partitions:
            if partition.tp in offsets:
                partition.committed = offsets[partition.tp]
                if partition.tally is not None and partition.tally.as_text() == metadata[partition.tp]:
                    partition.tally.unsaved = False
        self._telemetry.emit(OffsetsCommitted(self._consumer, offsets, self._clock.now() - began))
        return True

    def _metadata(self, partition: Partition) -> str:
        """The tally; what was kept before, while nobody has looked at it."""
        tally = partition.update_tally()
        return tally.as_text() if tally is not None else self._source.metadata(partition.tp)

    def _not_sent(self, partitions: list[Partition], waited_s: float) -> bool:
        offsets = {p.tp: offset for p in partitions if (offset := p.to_commit()) is not None}
        if not offsets:
            return True
        return self._failed(
            offsets, CommitUnknown(f"it was not sent: an earlier commit has had no answer for {waited_s:.1f} s")
        )

    def _failed(self, offsets: dict[TopicPartition, int], error: BrokerError) -> bool:
        self._telemetry.emit(CommitFailed(self._consumer, offsets, error))
        return False


async def commit_loop(held: Assignment, *, while_true: Callable[[], bool]) -> None:
    """Commit on the interval, and at once when something asks for it (a reset; interval 0)."""
    interval_s = held.settings.auto_commit_interval_s
    if held.at_most_once:
        await asyncio.get_running_loop().create_future()  # the client, or the intake, commits
    while while_true():
        due = asyncio.ensure_future(held.commit_due.wait())
        try:
            await wait_any(held.clock, due, timeout_s=interval_s or None)
        finally:
            due.cancel()
        held.commit_due.clear()
        if held.committer is not None and not await held.committer.commit(held.partitions.values()):
            await sleep(held.clock, max(interval_s, 1.0))
            held.commit_due.set()
