"""What a consumer has in hand: its partitions and their lanes, what was taken, the source that it came from.

The consumer's parts share it. `partitions` is written by `rebalance.py` alone, `taken` by those who put records into
lanes or let go of them.
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
    """One consumer's.

    Attributes:
        source, committer: None while there is no source.
        at_most_once: its offsets are committed before its records run (pre-commit).
        taken: records put into lanes, but for those that were let go unfinished.
        handing_over: held from a poll's return until its records are in their lanes.
        commit_due: set when a commit should not wait for the interval.
    """

    def __init__(
        self, name: str, settings: ConsumerSettings, lanes: LaneScheduler, *, clock: Clock, telemetry: Telemetry
    ) -> None:
        self.name = name
        self.settings = settings
        self.lanes = lanes
        self.clock = clock
        self.telemetry = telemetry
        self.at_most_once = settings.auto_commit_mode == "pre-commit"
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
        """A new epoch of a partition: a new ledger."""
        paused = "user" in self.flow.reasons(tp)
        partition = self.partitions[tp] = Partition(tp, ordering=self._ordering, paused=paused)
        return partition

    def begin_anew(self, partition: Partition) -> Partition:
        """It is read on from somewhere else: a new ledger, to which nothing of what is under way counts any more."""
        tally = partition.update_tally()
        self.drop(partition)
        partition = self.begin(partition.tp)
        partition.tally = tally
        return partition

    def drop(self, partition: Partition) -> None:
        partition.change("leave")
        self.left(self.lanes.close(partition))
        self.taken -= partition.ledger.unfinished
        self.lanes.end(partition)
        if self.partitions.get(partition.tp) is partition:
            del self.partitions[partition.tp]
            self.flow.forget(partition.tp)

    def block(self, partition: Partition) -> None:
        """The consumer fails by a record of it: none behind that record begins, in this assignment.

        At most once that record never comes again, and those behind it are committed: they have their drain time.
        """
        if not self.at_most_once:
            self.lanes.close(partition)

    def left(self, records: Sequence[Record]) -> None:
        """These were read and will not be run here. Post-commit their next reader gets them."""
        if records and self.at_most_once:
            addresses = tuple((record.topic, record.partition, record.offset) for record in records)
            self.telemetry.emit(RecordsLost(self.name, addresses))

    # ------------------------------------------------------------------ figures

    @property
    def pending(self) -> int:
        """Records read and not finished, or finished behind an unfinished one."""
        return sum(partition.ledger.pending for partition in self.partitions.values())

    def finished(self) -> int:
        """Records that were finished since the start."""
        return self.taken - sum(partition.ledger.unfinished for partition in self.partitions.values())

    @property
    def uncommitted(self) -> bool:
        """True while something is committable and not confirmed yet."""
        return not self.at_most_once and any(p.to_commit() is not None for p in self.partitions.values())
