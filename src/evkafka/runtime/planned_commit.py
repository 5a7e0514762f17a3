"""What is committed of one partition: an offset, and the metadata about what is finished after it.

In a transaction also what these records have sent. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from evkafka.runtime.commit_metadata import CommitMetadata, group_and_partition_text_for_checksum
from evkafka.runtime.partition import Partition
from evkafka.runtime.transaction_outbox import Coverage, Sent


class PlannedCommit(NamedTuple):
    """What is committed of one partition.

    Attributes:
        coverage, sent: the records that a transaction commits, and what it writes.
        leaves_out_finished: whether finished offsets do not fit into the metadata.
    """

    partition: Partition
    offset: int
    metadata: str
    coverage: Coverage | None = None
    sent: Sequence[Sent] = ()
    leaves_out_finished: bool = False

    def confirm(self) -> None:
        """It was committed."""
        partition = self.partition
        partition.saved, partition.committed = (self.offset, self.metadata), self.offset
        if self.coverage is not None:
            partition.outbox.set_coverage_and_remove_written(self.coverage, self.sent)
        for record in (record for sent in self.sent for record in sent.records):
            if record.on_committed is not None:
                record.on_committed()


def plan_partition_commit(
    partition: Partition, *, group: str, topic_id: str, epoch: int, longest: int
) -> PlannedCommit | None:
    """The commit of offsets alone; None if it would change nothing.

    Args:
        group: the consumer's.
        epoch: the leader epoch of the last record that was read.
        longest: the most characters of metadata.
    """
    metadata = _create_metadata(partition, topic_id, epoch)
    if metadata is None:
        return None
    base, text = metadata.base, metadata.as_text(longest, group_and_partition_text_for_checksum(group, partition.tp))
    if _changes_nothing(partition, base, text):
        return None
    # A text that is not nearly full has left nothing out: then it is not measured.
    leaves_out = len(text) * 2 > longest and not metadata.fits_into(longest)
    return PlannedCommit(partition, base, text, leaves_out_finished=leaves_out)


def plan_partition_transaction(
    partition: Partition, *, group: str, topic_id: str, epoch: int, longest: int
) -> PlannedCommit | None:
    """The same, with what its records have sent. See the rules in `transaction_outbox.py`."""
    outbox, everything = partition.outbox, _create_metadata(partition, topic_id, epoch)
    if everything is None or outbox.in_doubt:
        return None
    if partition.saved is not None:
        longest = max(longest, len(partition.saved[1]))  # the brokers took so much: what it lists must stay listed

    def metadata(coverage: Coverage) -> CommitMetadata:
        return replace(everything, base=coverage.base, finished=coverage.ranges)

    finished = Coverage(everything.base, everything.finished)
    coverage = outbox.largest_fitting_coverage(finished, lambda some: metadata(some).fits_into(longest))
    if coverage is None:
        return None
    sent = outbox.covered_by(coverage)
    text = metadata(coverage).as_text(longest, group_and_partition_text_for_checksum(group, partition.tp))
    if not sent and _changes_nothing(partition, coverage.base, text):
        return None
    return PlannedCommit(partition, coverage.base, text, coverage, sent)


def _create_metadata(partition: Partition, topic_id: str, epoch: int) -> CommitMetadata | None:
    """What a commit says now, about all finished records; None while no offset is known."""
    ledger, inherited = partition.ledger, partition.inherited
    offset, rate = ledger.committable(), partition.dead_letters.update_rate()
    # Reading began at the oldest unfinished record or before it, and nothing after it is passed.
    base = offset if offset is not None else ledger.oldest
    if base is None:
        return None
    if base != partition.began_at:
        partition.clear_own_mark()
    return CommitMetadata(
        base,
        topic_id,
        max(epoch, inherited.epoch) if inherited is not None else epoch,
        ledger.finished_ranges_from(base),
        partition.attempts_by_offset(base),
        partition.mark,
        rate.to_metadata_text() if rate is not None else inherited.rate if inherited is not None else "",
    )


def _changes_nothing(partition: Partition, offset: int, text: str) -> bool:
    """Whether this commit would change nothing."""
    if partition.ledger.committable() is None and not text and partition.saved is None:
        return True
    return (offset, text) == partition.saved
