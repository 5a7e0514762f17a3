"""What a consumer has: its partitions, the number of records taken, the source that they came from.

The consumer's parts share it. `partitions` is changed by `rebalance.py`, by a user's seek, and by `Consumer` when it
discards a source; by nothing else.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Iterable, Sequence

from evkafka.config.settings import ConsumerSettings
from evkafka.records import Record, TopicPartition
from evkafka.runtime.commit_metadata import (
    CommitMetadata,
    MetadataLimit,
    Unusable,
    group_and_partition_text_for_checksum,
    parse_metadata_or_raise,
)
from evkafka.runtime.commit_timer import CommitTimer
from evkafka.runtime.committer import Committer
from evkafka.runtime.flow_control import FlowControl
from evkafka.runtime.partition import Partition
from evkafka.runtime.ports import Clock, RecordSource
from evkafka.runtime.scheduler import LaneScheduler
from evkafka.telemetry import RecordsLost, Telemetry

logger = logging.getLogger("evkafka.runtime")

MOST_IN_ORDER = 128
"""How many records a poll returns at most if each partition is one lane. More would leave the processor's caches before
they run: with six headers, a record of a poll of 500 costs a quarter more. Lanes by key, and batches, are better with
more."""


class Assignment:
    """The partitions of one consumer.

    Attributes:
        name: the consumer's.
        source, committer: None while there is no source.
        at_most_once: offsets are committed before their records run (pre-commit).
        metadata_limit: how much metadata a commit may have.
        taken: records put into lanes, without those that were dropped unfinished.
        committing_polled: at most once, locked while records of a poll are committed, until they are in their lanes.
        commit_timer: when the next commit goes out.
    """

    def __init__(
        self, name: str, settings: ConsumerSettings, scheduler: LaneScheduler, *, clock: Clock, telemetry: Telemetry
    ) -> None:
        self.name = name
        self.settings = settings
        self.scheduler = scheduler
        self.clock = clock
        self.telemetry = telemetry
        self.at_most_once = settings.at_most_once
        self.partitions: dict[TopicPartition, Partition] = {}
        self.metadata_limit = MetadataLimit(settings.commit_metadata_max_bytes)
        self.flow = FlowControl(settings, self.partitions, self.metadata_limit)
        self.source: RecordSource | None = None
        self.committer: Committer | None = None
        self.taken = 0
        self.committing_polled = asyncio.Lock()
        self.commit_timer = CommitTimer(
            clock, settings, records_wait=self._is_any_record_waiting_for_executor, work_runs=self._has_running_work
        )
        self._ordering = "partition" if settings.concurrency == 1 else settings.ordering

    # ------------------------------------------------------------------ partitions

    def add_new_partition(self, tp: TopicPartition) -> Partition:
        """Begin an assignment of this partition, with a new ledger."""
        paused = "user" in self.flow.not_read_reasons(tp)
        partition = self.partitions[tp] = Partition(tp, ordering=self._ordering, paused=paused)
        return partition

    def inherit_last_commit(self, partition: Partition) -> None:
        """Read what an earlier owner of the partition has left in the group's last commit. Called when the position is
        known, before any of its records begins."""
        if partition.inherited is not None:
            return
        source = self.source
        commit = (
            source.last_commit_before_assignment(partition.tp) if source is not None and not self.at_most_once else None
        )
        if source is None or commit is None:
            partition.inherit_metadata(CommitMetadata(-1))
            return
        partition.saved = offset, text = commit
        place = group_and_partition_text_for_checksum(self.settings.group_id or "", partition.tp)
        try:
            partition.inherit_metadata(
                parse_metadata_or_raise(text, offset, source.topic_id(partition.tp.topic), place)
            )
        except Unusable as error:
            logger.warning(
                "consumer %s: the metadata of the committed offset %s[%d]@%d is ignored: %s. Records after that offset"
                " that were finished before are handled again",
                self.name,
                *partition.tp,
                offset,
                error,
            )
            partition.inherit_metadata(CommitMetadata(offset))

    def replace_partition_with_new_ledger(self, partition: Partition) -> Partition:
        """Restart at another offset, with a new ledger; the results of running attempts are ignored."""
        rate, sent = partition.dead_letters.update_rate(), partition.outbox.unwritten()
        self.end_partition(partition)
        partition = self.add_new_partition(partition.tp)
        partition.dead_letters.rate = rate
        partition.outbox.inherit_sends_of_earlier_outbox(sent)
        # Nothing is inherited: what somebody asks to read again is handled again.
        partition.inherit_metadata(CommitMetadata(-1))
        return partition

    def may_partition_begin_records(self, partition: Partition) -> bool:
        """Whether it is assigned now, and its records may begin."""
        return self.partitions.get(partition.tp) is partition and not partition.forbids_retries

    def is_assigned_and_not_being_revoked(self, tp: TopicPartition) -> bool:
        """Whether this partition is assigned, and is not being revoked."""
        partition = self.partitions.get(tp)
        return partition is not None and not partition.is_being_revoked

    def end_partition(self, partition: Partition) -> None:
        """End the assignment of this partition. What is not committed by now is never committed here."""
        partition.begin_revoke()
        self.scheduler.close_partition_and_drop_unbegun(partition)
        self.taken -= partition.ledger.unfinished_count
        self.scheduler.end_partition(partition)
        if self.partitions.get(partition.tp) is partition:
            del self.partitions[partition.tp]
            self.flow.remove_assignment_reasons(partition.tp)

    def end_all_partitions(self) -> None:
        """The source is closed: it has no partitions any more, whatever it was doing with them."""
        self.report_open_as_lost_if_at_most_once(self.partitions.values())
        for partition in tuple(self.partitions.values()):
            self.end_partition(partition)

    def close_partition_after_failed_record(self, partition: Partition, failed: Collection[Record] = ()) -> None:
        """A record of the partition fails its consumer: no later record begins, in this assignment.

        In at-most-once mode the failed record is never handled again and those after it are committed: they still run
        within the drain time.

        Args:
            failed: records whose attempts have failed, and stop the app: they are not reported as lost.
        """
        if not self.at_most_once:
            self.scheduler.close_partition_and_drop_unbegun(partition)
            return
        for record in failed:
            partition.ledger.finish(record.offset)

    def report_open_as_lost_if_at_most_once(self, partitions: Iterable[Partition]) -> None:
        """The assignment of these partitions ends: in at-most-once mode, report their unfinished records as lost.

        They have not begun, or their attempt or dead letter was cancelled. An endpoint that a thread runs cannot be
        cancelled: its record is reported too, because nobody waits for the thread, which ends with the process.
        """
        if not self.at_most_once:
            return
        addresses = [(*partition.tp, offset) for partition in partitions for offset in partition.ledger.open_offsets()]
        if addresses:
            self.telemetry.emit(RecordsLost(self.name, tuple(sorted(addresses))))

    def report_records_as_lost(self, records: Sequence[Record]) -> None:
        """At most once: report records that were read and committed, and will not run here, as lost."""
        if records:
            addresses = tuple((record.topic, record.partition, record.offset) for record in records)
            self.telemetry.emit(RecordsLost(self.name, addresses))

    # ------------------------------------------------------------------ numbers

    def next_poll_max_records(self) -> int:
        """How many records the next poll may return. In at-most-once mode there are never more than `max_poll_records`
        unfinished records."""
        max_records = self.settings.max_poll_records
        if self.at_most_once:
            return max_records - self.unfinished_record_count
        in_order = self._ordering == "partition" and self.scheduler.does_no_lane_need_batch_or_permit
        return min(max_records, MOST_IN_ORDER) if in_order else max_records

    @property
    def unfinished_record_count(self) -> int:
        """Records read and not finished."""
        return sum(partition.ledger.unfinished_count for partition in self.partitions.values())

    def total_finished_records(self) -> int:
        """Records that were finished since the start."""
        return self.taken - sum(partition.ledger.unfinished_count for partition in self.partitions.values())

    def _is_any_record_waiting_for_executor(self) -> bool:
        """Whether a lane waits for an executor, or records of a partition's only lane wait for its running one.
        Records that wait for an earlier one of their key do not count: there are executors that have time."""
        return self.scheduler.has_ready_lane or any(
            partition.has_backlog_in_only_lane for partition in self.partitions.values()
        )

    def _has_running_work(self) -> bool:
        return self.scheduler.has_ready_lane or any(partition.running for partition in self.partitions.values())

    @property
    def has_uncommitted(self) -> bool:
        """Whether an offset is committable and not confirmed yet."""
        committer = self.committer
        if self.at_most_once or committer is None:
            return False
        return any(committer.next_commit_of_partition(partition) is not None for partition in self.partitions.values())
