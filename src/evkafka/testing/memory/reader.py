"""What a member reads: its positions, where they begin, and the resets on the way. As the real client's."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Literal

from evkafka.config.settings import ConsumerSettings
from evkafka.exceptions import BrokerRefused
from evkafka.records import OffsetReset, Record, TopicPartition, Unreadable
from evkafka.runtime.commit_metadata import group_and_partition_text_for_checksum, has_finished_offsets_after
from evkafka.runtime.leader_epochs import UNKNOWN, LeaderEpochs
from evkafka.runtime.ports import SourceListener
from evkafka.testing.memory.group import Group
from evkafka.testing.memory.offsets import OffsetCommits
from evkafka.testing.memory.partition_log import Isolation, MemoryRecord, PartitionLog
from evkafka.testing.memory.state import ClusterState


class PartitionReader:
    """Reads the assigned partitions of one source.

    Args:
        name: the source's, in the trace.

    Attributes:
        positions: assigned partition -> offset of the next record to return.
        epochs: leader epochs of the records that were read.
        known_topics: the topics that existed when the source was started: others are read from their beginning.
        listener: is told of resets and of records that cannot be read. Set before anything is read.
    """

    listener: SourceListener

    def __init__(
        self, cluster: ClusterState, settings: ConsumerSettings, group: Group | None, commits: OffsetCommits, name: str
    ) -> None:
        self.positions: dict[TopicPartition, int] = {}
        self.epochs = LeaderEpochs()
        self.known_topics: frozenset[str] = frozenset()
        self.isolation: Isolation = settings.isolation_level
        self._cluster = cluster
        self._settings = settings
        self._group = group
        self._commits = commits
        self._name = name
        self._first_partition = 0

    # ------------------------------------------------------------------ where it begins

    def set_starting_position(self, tp: TopicPartition) -> None:
        """Set the starting position: the committed offset, or the one of the reset rule.

        Raises:
            BrokerRefused: there is none, and `auto_offset_reset` is "none".
        """
        log = self._cluster.topics.log(tp)
        committed = self._group.committed.get(tp) if self._group is not None else None
        epoch = self._group.epochs.get(tp, UNKNOWN) if self._group is not None else UNKNOWN
        self.epochs.start_with_epoch(tp, epoch)
        if committed is not None and epoch != UNKNOWN and log.end_of_epoch(epoch) < committed:
            self._reset_after_truncation(log, committed, epoch)
        elif committed is not None and log.start <= committed <= log.end:
            self.positions[tp] = committed
        else:
            self._reset_by_rule(log, committed)

    def last_commit_before_assignment(self, partition: TopicPartition) -> tuple[int, str] | None:
        if self._group is None or (offset := self._group.committed.get(partition)) is None:
            return None
        return offset, self._group.metadata.get(partition, "")

    def _reset_after_truncation(self, log: PartitionLog, from_offset: int, epoch: int) -> None:
        """An unclean leader election has truncated the log before the position: continue at the log's end."""
        tp, at = log.tp, log.end_of_epoch(epoch)
        if self._settings.auto_offset_reset == "none":
            raise BrokerRefused(
                f"{tp.topic}[{tp.partition}] was truncated to offset {at} after it had been read up to {from_offset},"
                " and auto_offset_reset is 'none'"
            )
        self.epochs.go_back(tp, at)
        self._reset_position_and_tell_listener(tp, OffsetReset(tp, from_offset, at, "truncated"))

    def _reset_by_rule(self, log: PartitionLog, from_offset: int | None) -> None:
        tp, rule = log.tp, self._settings.auto_offset_reset
        siblings = self._group is not None and any(other.topic == tp.topic for other in self._group.committed)
        if rule == "none":
            raise BrokerRefused(f"{tp.topic}[{tp.partition}] has no valid offset, and auto_offset_reset is 'none'")
        if from_offset is not None and from_offset < log.start and self._has_finished_offsets_after(tp, from_offset):
            self.epochs.start_with_epoch(tp, UNKNOWN)
            self._reset_position_and_tell_listener(tp, OffsetReset(tp, from_offset, log.start, "retention"))
            return
        new = from_offset is None and (siblings or tp.topic not in self.known_topics)
        to = log.start if new or rule == "earliest" else log.end_for_isolation(self.isolation)
        reason: Literal["new_partition", "no_commit", "out_of_range"] = "out_of_range"
        if from_offset is None:
            reason = "new_partition" if new else "no_commit"
        self.epochs.start_with_epoch(tp, UNKNOWN)
        self._reset_position_and_tell_listener(tp, OffsetReset(tp, from_offset, to, reason))

    def _has_finished_offsets_after(self, tp: TopicPartition, offset: int) -> bool:
        if self._settings.at_most_once or self._settings.group_id is None:
            return False
        return has_finished_offsets_after(
            self.last_commit_before_assignment(tp),
            offset,
            group_and_partition_text_for_checksum(self._settings.group_id, tp),
        )

    def _reset_position_and_tell_listener(self, tp: TopicPartition, reset: OffsetReset) -> None:
        self._cluster.trace.note(
            "%s is reset to %s[%s]@%s (%s)", self._name, tp.topic, tp.partition, reset.to_offset, reset.reason
        )
        self.positions[tp] = reset.to_offset
        self._commits.commit_reset_position(tp, reset.to_offset)
        self.listener.on_reset(reset)

    # ------------------------------------------------------------------ records

    def any_partition_has_more_records(self, partitions: Collection[TopicPartition]) -> bool:
        """Whether one of these partitions has records at or after its position."""
        return any(
            self.positions[tp] < self._cluster.topics.log(tp).end_for_isolation(self.isolation) for tp in partitions
        )

    def take_records_of_partitions(
        self, partitions: Collection[TopicPartition], max_records: int
    ) -> Mapping[TopicPartition, Sequence[Record]]:
        """The next records of these assigned partitions."""
        batches: dict[TopicPartition, Sequence[Record]] = {}
        left, assigned = max_records, list(self.positions)
        # start with another partition each time, so that a full one does not starve the others
        self._first_partition += 1
        for index in range(len(assigned)):
            tp = assigned[(index + self._first_partition) % len(assigned)]
            if left <= 0 or tp not in partitions:
                continue
            if records := self._read_partition(tp, left):
                batches[tp] = records
                left -= len(records)
        return batches

    def _read_partition(self, tp: TopicPartition, most: int) -> list[MemoryRecord]:
        log, position = self._cluster.topics.log(tp), self.positions[tp]
        epoch = self.epochs.latest_epoch(tp)
        if epoch not in (UNKNOWN, log.epoch) and log.end_of_epoch(epoch) < position:
            self._reset_after_truncation(log, position, epoch)
            return []
        if position < log.start or position > log.end:
            self._reset_by_rule(log, position)
            return []
        records = log.read(position, most, self.isolation)
        if records:
            self._advance_to(tp, log.position_past_gap_at_end(records[-1].offset + 1, self.isolation))
            return records
        blocked = log.next_unreadable_offset(position)
        if blocked is not None:
            self.listener.on_unreadable_records(Unreadable(tp, blocked, blocked + 1, ValueError("a bad checksum")))
        else:
            self._advance_to(tp, log.position_past_gap_at_end(position, self.isolation))
        return []

    def _advance_to(self, tp: TopicPartition, end: int) -> None:
        """All up to this offset was read. A gap has an epoch too, as transaction markers have."""
        if end > self.positions[tp]:
            epochs = self._cluster.topics.log(tp).epochs_between_offsets(self.positions[tp], end - 1)
            self.epochs.add_read(tp, epochs)
            self.positions[tp] = end

    def next_fetched_timestamp_ms(self, partition: TopicPartition) -> int | None:
        position = self.positions.get(partition)
        found = self._cluster.topics.log(partition).read(position, 1, self.isolation) if position is not None else []
        return found[0].timestamp if found and found[0].timestamp >= 0 else None

    def seek(self, partition: TopicPartition, offset: int) -> None:
        if partition in self.positions:
            if offset <= self.positions[partition]:
                self.epochs.go_back(partition, offset)
            else:
                self.epochs.forget_partition(partition)
            self.positions[partition] = offset
            self._cluster.wake_waiters()
