"""Step 7 of 7: commits. Always explicit offsets, one request at a time, each with a deadline."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from evkafka.exceptions import BrokerError, BrokerRefused, CommitUnknown
from evkafka.records import TopicPartition
from evkafka.runtime.clock import acquire_lock
from evkafka.runtime.commit_metadata import MetadataLimit
from evkafka.runtime.partition import Partition
from evkafka.runtime.planned_commit import PlannedCommit, plan_partition_commit, plan_partition_transaction
from evkafka.runtime.ports import Clock, MetadataTooLarge, OutputRefused, RecordSource
from evkafka.runtime.transaction_scope import TransactionScope
from evkafka.telemetry import CommitFailed, OffsetsCommitted, Telemetry, TransactionEnded

logger = logging.getLogger("evkafka.runtime")

COMMIT_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class Transactions:
    """For a committer that commits in transactions (exactly once).

    Attributes:
        owns: whether this partition is assigned now, and is not being revoked.
        take_back: called with the error if a transaction failed so that its records must be read again: restarts the
            source.
    """

    scope: TransactionScope
    owns: Callable[[TopicPartition], bool]
    take_back: Callable[[BrokerError], object]


@dataclass(frozen=True, slots=True)
class OpenTransaction:
    """A transaction under way.

    Attributes:
        records: how many records it writes.
        began_s: when it began, on the consumer's clock.
    """

    records: int
    began_s: float


class Committer:
    """Commits the offsets that the ledgers call committable; in transactions, together with what their records have
    sent.

    The periodic commit and the commit at a revoke share a lock: the second waits for the first, so that no older
    offset can be written after a newer one.

    Args:
        transactions: None: offsets are committed alone.

    Attributes:
        open_transaction: the transaction under way; None while there is none.
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
        transactions: Transactions | None = None,
    ) -> None:
        self._source = source
        self._consumer = consumer
        self._group = group
        self._clock = clock
        self._telemetry = telemetry
        self._lock = asyncio.Lock()
        self._metadata_limit = metadata_limit
        self._transactions = transactions
        self.open_transaction: OpenTransaction | None = None
        self._has_warned_of_left_out = False
        self._given_up = False  # the records of a transaction must be read again: no later one may be committed

    def next_commit_of_partition(self, partition: Partition) -> tuple[int, str] | None:
        """The offset to commit now, with its metadata; None if both are saved already."""
        planned = self._plan_commit_of_partition(partition)
        return (planned.offset, planned.metadata) if planned is not None else None

    def _plan_commit_of_partition(self, partition: Partition) -> PlannedCommit | None:
        tp = partition.tp
        plan = plan_partition_commit if self._transactions is None else plan_partition_transaction
        return plan(
            partition,
            group=self._group,
            topic_id=self._source.topic_id(tp.topic),
            epoch=self._source.leader_epoch_before(tp, partition.last_read_offset + 1),
            longest=self._metadata_limit.max_bytes,
        )

    async def commit(self, partitions: Iterable[Partition], *, timeout_s: float = COMMIT_TIMEOUT_S) -> bool:
        """Commit the offsets that have advanced. False if one could not be committed; only `BrokerRefused` is raised.

        `timeout_s` includes waiting for a commit under way. If it is still unanswered then, nothing is sent: the
        records are read again. The offsets are read from the ledgers inside the lock, without an `await` before they
        are given to the source.
        """
        partitions = list(partitions)
        until_s = self._clock.now() + timeout_s
        if not await acquire_lock(self._clock, self._lock, timeout_s):
            return self._report_not_sent(partitions, timeout_s)
        try:
            return await self._commit_shortening_refused_metadata(partitions, until_s - self._clock.now())
        finally:
            self._lock.release()

    async def _commit_shortening_refused_metadata(self, partitions: list[Partition], timeout_s: float) -> bool:
        until_s, refused = self._clock.now() + timeout_s, -1
        while True:
            commits = self._next_commits(partitions)
            if not commits:
                return True
            offsets = {tp: commit.offset for tp, commit in commits.items()}
            began_s = self._clock.now()
            try:
                await self._send_commit(commits, offsets, timeout_s=max(until_s - began_s, 0.0))
            except MetadataTooLarge as error:
                longest = max(len(commit.metadata) for commit in commits.values())
                if longest == refused:  # already the minimum: a transaction's metadata must list all its offsets
                    return self._report_failed_commit(offsets, error)
                refused = longest
                self._lower_metadata_limit(error, longest)
                continue
            except (CommitUnknown, OutputRefused) as error:
                self._repeat_commit_in_doubt_or_reread(commits, error)
                return self._report_failed_commit(offsets, error)
            except asyncio.CancelledError:
                self._repeat_commit_in_doubt_or_reread(commits, CommitUnknown("cancelled before there was an answer"))
                raise
            except BrokerRefused as error:
                self._report_failed_commit(offsets, error)
                raise
            except BrokerError as error:
                # If it is `CommitRefused`, another member has the partitions, or a rebalance has begun. The commit of
                # the revoke, or the next one, says the same again, or more.
                return self._report_failed_commit(offsets, error)
            for commit in commits.values():
                commit.confirm()
            self._warn_once_of_left_out_offsets(commits)
            self._telemetry.emit(OffsetsCommitted(self._consumer, offsets, self._clock.now() - began_s))
            return True

    def _next_commits(self, partitions: Iterable[Partition]) -> dict[TopicPartition, PlannedCommit]:
        if self._given_up:
            return {}
        return {p.tp: commit for p in partitions if (commit := self._plan_commit_of_partition(p)) is not None}

    async def _send_commit(
        self,
        commits: Mapping[TopicPartition, PlannedCommit],
        offsets: Mapping[TopicPartition, int],
        *,
        timeout_s: float,
    ) -> None:
        metadata = {tp: commit.metadata for tp, commit in commits.items()}
        if self._transactions is None:
            await self._source.commit(offsets, timeout_s=timeout_s, metadata=metadata)
            return
        outputs = [record for commit in commits.values() for sent in commit.sent for record in sent.records]
        began_s = self._clock.now()
        self.open_transaction = OpenTransaction(len(outputs), began_s)
        result: Literal["committed", "aborted", "unknown"] = "aborted"
        try:
            await self._source.commit_transaction(outputs, offsets, timeout_s=timeout_s, metadata=metadata)
            result = "committed"
        except CommitUnknown:
            result = "unknown"
            raise
        finally:
            self.open_transaction = None
            took_s = self._clock.now() - began_s
            self._telemetry.emit(TransactionEnded(self._consumer, result, len(outputs), took_s))

    def _repeat_commit_in_doubt_or_reread(
        self, commits: Mapping[TopicPartition, PlannedCommit], error: CommitUnknown | OutputRefused
    ) -> None:
        """It is not known what was committed, or a transaction with these records never can be.

        A commit of offsets alone is repeated, even if no offset has advanced by then. A transaction must not be:
        it would write everything twice if it was committed. Its records are read again from the offset that was
        committed.
        """
        if self._transactions is None:
            for commit in commits.values():
                commit.partition.committed = commit.partition.saved = None
            return
        if isinstance(error, OutputRefused):
            self._transactions.scope.fail_later_sends_like(error)
        for commit in commits.values():
            commit.partition.outbox.in_doubt = True
        if any(map(self._transactions.owns, commits)):  # otherwise their next owner reads them
            self._given_up = True
            self._transactions.take_back(error)

    def _lower_metadata_limit(self, error: MetadataTooLarge, length: int) -> None:
        """Metadata must not prevent a commit: what does not fit is handled again after a restart."""
        level = logging.DEBUG if self._metadata_limit.is_halved else logging.WARNING  # said once
        self._metadata_limit.halve_after_refusal(length)
        logger.log(
            level,
            "consumer %s: the brokers do not accept %d bytes of metadata with an offset (%s); the limit is now %d."
            " Records that are finished after an unfinished one may not fit, and are handled again after a restart:"
            " raise offset.metadata.max.bytes of the brokers (4096 by default), or lower `commit_metadata_max_bytes`",
            self._consumer,
            length,
            error,
            self._metadata_limit.max_bytes,
        )

    def _warn_once_of_left_out_offsets(self, commits: Mapping[TopicPartition, PlannedCommit]) -> None:
        cut = [tp for tp, commit in commits.items() if commit.leaves_out_finished]
        if not cut or self._has_warned_of_left_out:
            return
        self._has_warned_of_left_out = True
        logger.warning(
            "consumer %s: the finished offsets of %s[%d] do not all fit into the metadata of a commit (%d bytes)."
            " Records that do not fit are handled again if the partition gets another owner now. Limit the attempts"
            " of records that fail (`max_attempts` with `then`), or raise `commit_metadata_max_bytes`",
            self._consumer,
            *cut[0],
            self._metadata_limit.max_bytes,
        )

    def _report_not_sent(self, partitions: list[Partition], waited_s: float) -> bool:
        offsets = {tp: commit.offset for tp, commit in self._next_commits(partitions).items()}
        if not offsets:
            return True
        return self._report_failed_commit(
            offsets, CommitUnknown(f"not sent: an earlier commit has had no answer for {waited_s:.1f} s")
        )

    def _report_failed_commit(self, offsets: dict[TopicPartition, int], error: BrokerError) -> bool:
        self._telemetry.emit(CommitFailed(self._consumer, offsets, error))
        return False
