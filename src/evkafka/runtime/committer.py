"""Step 7 of 7: commits. Always explicit offsets, one request at a time, each with a deadline."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from evkafka.exceptions import BrokerError, BrokerRefused, CommitUnknown
from evkafka.records import TopicPartition
from evkafka.runtime.clock import acquire
from evkafka.runtime.partition import Partition
from evkafka.runtime.ports import Clock, RecordSource
from evkafka.telemetry import CommitFailed, OffsetsCommitted, Telemetry

COMMIT_TIMEOUT_S = 10.0


class Committer:
    """Commits the offsets that the ledgers call committable.

    The periodic commit and the commit at a revoke share a lock: the second waits for the first, so that no older
    offset can be written after a newer one.
    """

    def __init__(self, source: RecordSource, *, consumer: str, clock: Clock, telemetry: Telemetry) -> None:
        self._source = source
        self._consumer = consumer
        self._clock = clock
        self._telemetry = telemetry
        self._lock = asyncio.Lock()

    async def commit(self, partitions: Iterable[Partition], *, timeout_s: float = COMMIT_TIMEOUT_S) -> bool:
        """Commit the offsets that have advanced. False if one could not be committed; only `BrokerRefused` is raised.

        `timeout_s` includes waiting for a commit under way. If it is still unanswered then, nothing is sent: the
        records are read again. The offsets are read from the ledgers inside the lock, without an `await` before they
        are sent.
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
            # It may have been written or not: commit again, even if no offset has advanced by then.
            for partition in partitions:
                partition.committed = None
            return self._failed(offsets, error)
        except BrokerRefused as error:
            self._failed(offsets, error)
            raise
        except BrokerError as error:
            # If it is `CommitRefused`, another member has the partitions, or a rebalance has begun; its revoke will
            # commit.
            return self._failed(offsets, error)
        for partition in partitions:
            if partition.tp in offsets:
                partition.committed = offsets[partition.tp]
                rate = partition.dead_letters.rate
                if rate is not None and rate.as_text() == metadata[partition.tp]:
                    rate.unsaved = False
        self._telemetry.emit(OffsetsCommitted(self._consumer, offsets, self._clock.now() - began))
        return True

    def _metadata(self, partition: Partition) -> str:
        """The dead-letter rate, which is kept in the commit so that it outlives a restart and moves with the partition.
        Until it was read, the metadata of the last commit."""
        rate = partition.dead_letters.update()
        return rate.as_text() if rate is not None else self._source.metadata(partition.tp)

    def _not_sent(self, partitions: list[Partition], waited_s: float) -> bool:
        offsets = {p.tp: offset for p in partitions if (offset := p.to_commit()) is not None}
        if not offsets:
            return True
        return self._failed(
            offsets, CommitUnknown(f"not sent: an earlier commit has had no answer for {waited_s:.1f} s")
        )

    def _failed(self, offsets: dict[TopicPartition, int], error: BrokerError) -> bool:
        self._telemetry.emit(CommitFailed(self._consumer, offsets, error))
        return False
