"""What a consumer has: its partitions, the number of records taken, the source that they came from.

The consumer's parts share it. `partitions` is changed by `rebalance.py`, and by a user's seek, alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from evkafka.config.settings import ConsumerSettings
from evkafka.records import Record, TopicPartition
from evkafka.runtime.committer import Committer
from evkafka.runtime.flow_control import FlowControl
from evkafka.runtime.partition import Partition
from evkafka.runtime.ports import Clock, RecordSource
from evkafka.runtime.scheduler import LaneScheduler
from evkafka.telemetry import RecordsLost, Telemetry


class Assignment:
    """The partitions of one consumer.

    Attributes:
        name: the consumer's.
        source, committer: None while there is no source.
        at_most_once: offsets are committed before their records run (pre-commit).
        taken: records put into lanes, without those that were dropped unfinished.
        handing_over: locked from a poll's return until its records are in their lanes.
        commit_due: set when a commit should not wait for the interval.
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
        self.flow = FlowControl(settings, self.partitions)
        self.source: RecordSource | None = None
        self.committer: Committer | None = None
        self.taken = 0
        self.handing_over = asyncio.Lock()
        self.commit_due = asyncio.Event()
        self._ordering = "partition" if settings.concurrency == 1 else settings.ordering

    # ------------------------------------------------------------------ partitions

    def begin(self, tp: TopicPartition) -> Partition:
        """Begin an assignment of this partition, with a new ledger."""
        paused = "user" in self.flow.reasons(tp)
        partition = self.partitions[tp] = Partition(tp, ordering=self._ordering, paused=paused)
        return partition

    def restart(self, partition: Partition) -> Partition:
        """Restart at another offset, with a new ledger; the results of running attempts are ignored."""
        rate = partition.dead_letters.update()
        self.drop(partition)
        partition = self.begin(partition.tp)
        partition.dead_letters.rate = rate
        return partition

    def drop(self, partition: Partition) -> None:
        """End the assignment of this partition. What is not committed by now is never committed here."""
        partition.leave()
        self.report_lost(self.scheduler.close(partition))
        self.taken -= partition.ledger.unfinished
        self.scheduler.end(partition)
        if self.partitions.get(partition.tp) is partition:
            del self.partitions[partition.tp]
            self.flow.forget(partition.tp)

    def close_partition(self, partition: Partition) -> None:
        """A record of the partition fails its consumer: no record behind it begins, in this assignment.

        In at-most-once mode the failed record is never handled again and those behind it are committed: they still run
        within the drain time.
        """
        if not self.at_most_once:
            self.scheduler.close(partition)

    def report_lost(self, records: Sequence[Record]) -> None:
        """These records were read and will not run here. In at-least-once mode they are not lost: their next reader
        gets them."""
        if records and self.at_most_once:
            addresses = tuple((record.topic, record.partition, record.offset) for record in records)
            self.telemetry.emit(RecordsLost(self.name, addresses))

    # ------------------------------------------------------------------ numbers

    @property
    def pending(self) -> int:
        """Records read and not finished, or finished behind an unfinished one."""
        return sum(partition.ledger.pending for partition in self.partitions.values())

    def finished(self) -> int:
        """Records that were finished since the start."""
        return self.taken - sum(partition.ledger.unfinished for partition in self.partitions.values())

    @property
    def uncommitted(self) -> bool:
        """Whether an offset is committable and not confirmed yet."""
        return not self.at_most_once and any(p.to_commit() is not None for p in self.partitions.values())
