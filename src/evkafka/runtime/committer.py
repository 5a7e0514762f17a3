"""Step 7 of 7: commits. Always explicit offsets, one request at a time, each with a deadline."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable

from evkafka.exceptions import BrokerError, BrokerRefused, CommitUnknown
from evkafka.records import TopicPartition
from evkafka.runtime.clock import acquire
from evkafka.runtime.commit_metadata import MetadataLimit
from evkafka.runtime.partition import Partition
from evkafka.runtime.ports import Clock, MetadataTooLarge, RecordSource
from evkafka.telemetry import CommitFailed, OffsetsCommitted, Telemetry

logger = logging.getLogger("evkafka.runtime")

COMMIT_TIMEOUT_S = 10.0


class Committer:
    """Commits the offsets that the ledgers call committable.

    The periodic commit and the commit at a revoke share a lock: the second waits for the first, so that no older
    offset can be written after a newer one.
    """

    def __init__(
        self,
        source: RecordSource,
        *,
        consumer: str,
        group: str,
        clock: Clock,
        telemetry: Telemetry,
        metadata_limit: MetadataLimit,
    ) -> None:
        self._source = source
        self._consumer = consumer
        self._group = group
        self._clock = clock
        self._telemetry = telemetry
        self._lock = asyncio.Lock()
        self._metadata_limit = metadata_limit

    def next_commit(self, partition: Partition) -> tuple[int, str] | None:
        """The offset to commit now, with its metadata; None if both are saved already."""
        tp = partition.tp
        return partition.to_commit(
            group=self._group,
            topic_id=self._source.topic_id(tp.topic),
            epoch=self._source.leader_epoch(tp, partition.last_read + 1),
            longest=self._metadata_limit.max_bytes,
        )

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
        until_s = self._clock.now() + timeout_s
        while True:
            commits = self._next_commits(partitions)
            if not commits:
                return True
            offsets = {tp: offset for tp, (offset, _) in commits.items()}
            metadata = {tp: text for tp, (_, text) in commits.items()}
            began_s = self._clock.now()
            try:
                await self._source.commit(offsets, timeout_s=max(until_s - began_s, 0.0), metadata=metadata)
            except MetadataTooLarge as error:
                self._shorten(error, max(map(len, metadata.values())))
                continue
            except CommitUnknown as error:
                # It may have been written or not: commit again, even if no offset has advanced by then.
                for partition in partitions:
                    partition.committed = partition.saved = None
                return self._failed(offsets, error)
            except BrokerRefused as error:
                self._failed(offsets, error)
                raise
            except BrokerError as error:
                # If it is `CommitRefused`, another member has the partitions, or a rebalance has begun; its revoke will
                # commit.
                return self._failed(offsets, error)
            for partition in partitions:
                if (commit := commits.get(partition.tp)) is not None:
                    partition.saved, partition.committed = commit, commit[0]
            self._telemetry.emit(OffsetsCommitted(self._consumer, offsets, self._clock.now() - began_s))
            return True

    def _next_commits(self, partitions: Iterable[Partition]) -> dict[TopicPartition, tuple[int, str]]:
        return {p.tp: commit for p in partitions if (commit := self.next_commit(p)) is not None}

    def _shorten(self, error: MetadataTooLarge, length: int) -> None:
        """Metadata must not prevent a commit: what does not fit is handled again after a restart."""
        self._metadata_limit.halve(length)
        logger.warning(
            "consumer %s: the brokers do not accept %d bytes of metadata with an offset (%s); the limit is now %d."
            " Records that are finished behind an unfinished one may not fit, and are handled again after a restart:"
            " raise offset.metadata.max.bytes of the brokers (4096 by default), or lower `commit_metadata_max_bytes`",
            self._consumer,
            length,
            error,
            self._metadata_limit.max_bytes,
        )

    def _not_sent(self, partitions: list[Partition], waited_s: float) -> bool:
        offsets = {tp: offset for tp, (offset, _) in self._next_commits(partitions).items()}
        if not offsets:
            return True
        return self._failed(
            offsets, CommitUnknown(f"not sent: an earlier commit has had no answer for {waited_s:.1f} s")
        )

    def _failed(self, offsets: dict[TopicPartition, int], error: BrokerError) -> bool:
        self._telemetry.emit(CommitFailed(self._consumer, offsets, error))
        return False
