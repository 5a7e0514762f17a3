"""Flow control: which partitions the next poll reads. It limits what is read and not finished.

The client's `pause()` is not used, because it drops what was fetched (16 times the traffic for one slow partition).
Passing the partitions to the poll has the same effect and keeps the buffers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping
from typing import Literal, NamedTuple, get_args

from evkafka.config.settings import ConsumerSettings
from evkafka.records import TopicPartition
from evkafka.runtime.commit_metadata import MetadataLimit
from evkafka.runtime.completed_offsets import text_length_of_ranges
from evkafka.runtime.partition import Partition

READ_UNTIL, READ_AGAIN = 0.7, 0.5
"""A partition is read until the text about its finished offsets takes this share of the metadata, and is read again at
that one. The rest has room for what each text begins with, the count of dead letters, and records that were read and
are finished meanwhile."""

BITS_IN_CHARACTER = 6
"""Of the form with one bit for each offset (base64)."""

CHARACTERS_FOR_RECORD = 4 / 3
"""By how much that text grows at most with each record that is finished: of two neighbours one begins a new range,
which takes two bytes."""

LEAST_METADATA = 128
"""Less metadata has no room for finished offsets beside what each text begins with: a partition that waited for room
would wait at its first finished record, and nothing would be gained."""

MOST_CHARACTERS = 12
"""What one range takes of that text at most."""

NO_PARTITIONS: Collection[TopicPartition] = ()

NotReadReason = Literal["user", "full", "unreadable", "early", "beginning", "metadata", "forecast"]
"""Why a partition is not read: a user has paused it; its share is full; the client cannot read its next record; records
of it that were read are not due yet, or wait for this owner's mark; what is finished after its oldest unfinished
record does not fit into the metadata of a commit, or might not fit when what was read is finished."""


class Limit(NamedTuple):
    """A limit of what is read, with hysteresis.

    Attributes:
        exceeds: whether a partition reaches this share of it.
        stop_at: the share at which a partition is not read any more.
        resume_below: the share below which it is read again.
    """

    exceeds: Callable[[Partition, float], bool]
    stop_at: float
    resume_below: float


class FlowControl:
    """Decides which partitions are read: those without a reason against it.

    Each partition has an equal share of the consumer's limits, with hysteresis: it is full at its share, and is read
    again at half of it.

    Attributes:
        room: set whenever a partition may be read again; the poll loop waits for it.
    """

    def __init__(
        self,
        settings: ConsumerSettings,
        partitions: Mapping[TopicPartition, Partition],
        metadata_limit: MetadataLimit,
    ) -> None:
        self._partitions = partitions
        self._metadata_limit = metadata_limit
        self._settings = settings
        self._reasons: dict[TopicPartition, set[NotReadReason]] = {}
        self._limits: Mapping[NotReadReason, Limit] = {
            "full": Limit(self._exceeds_share, 1.0, 0.5),
            "metadata": Limit(self._do_finished_offsets_fill_metadata, READ_UNTIL, READ_AGAIN),
            "forecast": Limit(self._may_finished_offsets_outgrow_metadata, 1.0, 0.5),
        }
        self.room = asyncio.Event()

    def add_reason(self, tp: TopicPartition, reason: NotReadReason) -> None:
        """Do not read this partition until the reason is gone."""
        self._reasons.setdefault(tp, set()).add(reason)

    def remove_reason(self, tp: TopicPartition, reason: NotReadReason) -> None:
        """Remove this reason; there may be others."""
        reasons = self._reasons.get(tp)
        if reasons is not None:
            reasons.discard(reason)
            if not reasons:
                del self._reasons[tp]
        self.room.set()

    def not_read_reasons(self, tp: TopicPartition) -> frozenset[NotReadReason]:
        return frozenset(self._reasons.get(tp, ()))

    def remove_assignment_reasons(self, tp: TopicPartition) -> None:
        """Its assignment has changed: remove all reasons but a user's."""
        for reason in get_args(NotReadReason):
            if reason != "user":
                self.remove_reason(tp, reason)

    def stop_reading_partition_if_full(self, partition: Partition) -> None:
        """Stop reading this partition if it has reached a limit now. Called after each poll that returned records of
        it."""
        for reason, limit in self._limits.items():
            if limit.exceeds(partition, limit.stop_at):
                self.add_reason(partition.tp, reason)
                self.room.clear()

    def is_partition_full(self, tp: TopicPartition) -> bool:
        """Whether this partition is not read because its share is full."""
        return "full" in self._reasons.get(tp, ())

    def reopen_partitions_with_room(self) -> None:
        """Executors have made progress: read partitions again that are below their limits."""
        for tp in tuple(self._reasons):
            partition = self._partitions.get(tp)
            for reason, limit in self._limits.items():
                if reason in self._reasons.get(tp, ()) and (
                    partition is None or not limit.exceeds(partition, limit.resume_below)
                ):
                    self.remove_reason(tp, reason)

    def partitions_to_poll(self) -> Collection[TopicPartition] | None:
        """The partitions to poll: None for all of them; empty if none may be read."""
        # Executors report progress only at the end of a lane, and their next record may take long.
        self.reopen_partitions_with_room()
        closed = self._reasons
        if not closed or closed.keys().isdisjoint(self._partitions):
            return None
        return [tp for tp in self._partitions if tp not in closed] or NO_PARTITIONS

    def _exceeds_share(self, partition: Partition, share_of_bound: float) -> bool:
        ledger, polled_bytes = partition.ledger, partition.polled_bytes
        count = max(len(self._partitions), 1)
        records = max(self._settings.max_pending_records // count, self._settings.max_poll_records)
        if ledger.unfinished_count >= records * share_of_bound:
            return True
        size = self._settings.max_pending_bytes / count * share_of_bound
        sent = partition.outbox.size  # finished, and still in memory
        polled_bytes.subtract_finished_polls(ledger.oldest)
        if polled_bytes.total + sent >= size and polled_bytes.is_recount_due(ledger.unfinished_count):
            polled_bytes.recount(ledger.open_offsets())
        return polled_bytes.total + sent >= size

    def _do_finished_offsets_fill_metadata(self, partition: Partition, share_of_bound: float) -> bool:
        """Whether the text about finished offsets takes this share of a commit's metadata."""
        if self._metadata_limit.max_bytes < LEAST_METADATA:
            return False
        bound, ledger = self._metadata_limit.max_bytes * share_of_bound, partition.ledger
        if ledger.range_count_upper_bound * MOST_CHARACTERS < bound:
            return False
        base = ledger.oldest
        return base is not None and text_length_of_ranges(base, ledger.finished_ranges_from(base)) >= bound

    def _may_finished_offsets_outgrow_metadata(self, partition: Partition, share_of_room: float) -> bool:
        """Whether the records that were read and may be finished soon, in the worst order, fill this share of the room
        that the finished offsets leave in the metadata. What does not fit into a commit is handled again after a
        restart.

        As long as there is room for one bit for each offset, the order does not matter. Without any room the metadata
        is full, which is another reason.
        """
        ledger, room = partition.ledger, self._metadata_limit.max_bytes * READ_UNTIL
        base = ledger.oldest
        if base is None or (ledger.last - base) / BITS_IN_CHARACTER < room or room < LEAST_METADATA * READ_UNTIL:
            return False
        if (
            ledger.range_count_upper_bound * MOST_CHARACTERS + ledger.unfinished_count * CHARACTERS_FOR_RECORD
            < room / 2
        ):
            return False
        left = room - text_length_of_ranges(base, ledger.finished_ranges_from(base))
        return left > 0 and partition.count_records_that_may_end_soon() * CHARACTERS_FOR_RECORD >= left * share_of_room
