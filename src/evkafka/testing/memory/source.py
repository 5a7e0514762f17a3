"""The engine's RecordSource on the in-memory Kafka."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from typing import Literal

from evkafka.config.settings import ConsumerSettings
from evkafka.exceptions import BrokerError, BrokerRefused
from evkafka.records import OffsetReset, Record, TopicPartition, Unreadable
from evkafka.runtime.clock import wait_any
from evkafka.runtime.commit_metadata import lists_finished, place_of
from evkafka.runtime.leader_epochs import UNKNOWN, LeaderEpochs
from evkafka.runtime.ports import SourceListener, SourceState
from evkafka.runtime.subscription import TopicPattern
from evkafka.testing.memory.group import Group
from evkafka.testing.memory.offsets import OffsetCommits
from evkafka.testing.memory.partition_log import Isolation, MemoryRecord, PartitionLog
from evkafka.testing.memory.state import ClusterState


class MemorySource:
    """One group member, or a reader without a group. Positions, assignments and commits behave as the real client's.

    Attributes:
        name: its name in the trace and in errors.
        alive: False once it has crashed, or has left.
        haunts: True from a crash until the group has noticed it, when the session expires.
        expired: True while its session has expired and the member has not noticed it yet.
        generation: of its assignment; -1 without one.
        positions: assigned partition -> offset of the next record to return.
        epochs: leader epochs of the records that were read.
    """

    def __init__(self, cluster: ClusterState, settings: ConsumerSettings, group: Group | None, *, order: int) -> None:
        self.name = f"member {order} ({settings.connection.client_id})"
        self.order = order
        self.alive = True
        self.haunts = False
        self.expired = False
        self.generation = -1
        self.positions: dict[TopicPartition, int] = {}
        self.epochs = LeaderEpochs()
        self._cluster = cluster
        self._settings = settings
        self._pattern = TopicPattern.of(settings) if settings.topic_pattern is not None else None
        self._isolation: Isolation = settings.isolation_level
        self._group = group
        self._commits = OffsetCommits(cluster, self, group, settings)
        self._listener: SourceListener | None = None
        self._callback = asyncio.Lock()  # the client runs one callback of its listener at a time
        self._known_topics: frozenset[str] = frozenset()
        self._fetched_at_s: float | None = None  # when the answer to the pending fetch arrives
        self._first_partition = 0
        self._failure: BrokerError | None = None

    # ------------------------------------------------------------------ life

    async def start(self, listener: SourceListener) -> None:
        await self._cluster.reach()
        self._listener = listener
        for topic in self._settings.topics:
            self._cluster.topics.ensure(topic.name)
        self._known_topics = frozenset(self.topics())
        if self._group is None:
            self.reassign()
        else:
            self._group.join(self)
        self._commits.start()

    async def stop(self, *, timeout_s: float) -> None:
        if not self.alive:
            return
        if self._cluster.away:
            self.crash()  # the group cannot be told that it leaves
            return
        self._commits.commit_positions()
        self.alive = False
        self._commits.stop()
        if self._group is not None:
            self._group.leave(self)
        self.positions.clear()

    def crash(self) -> None:
        """The process is killed: the group notices it when the session expires."""
        if not self.alive:
            return
        self._cluster.trace.note("%s has crashed", self.name)
        self.alive = False
        self.positions.clear()
        self._commits.stop()
        if self._group is not None and not self.expired:
            self.haunts = True
            self._cluster.clock.call_later(self._settings.session_timeout_s, self._on_session_expired)

    def _on_session_expired(self) -> None:
        assert self._group is not None
        self.haunts = False
        self._group.leave(self)

    def expire(self) -> None:
        """The session expires without the member knowing: its partitions are reassigned, its commits are refused.

        It notices at its next heartbeat, revokes its partitions and joins again.
        """
        if self._group is None or self.expired or not self.alive:
            return
        self._cluster.trace.note("the session of %s expires", self.name)
        self.expired = True
        self._group.leave(self)
        self._cluster.clock.call_later(self._settings.heartbeat_interval_s, self._on_heartbeat)

    def _on_heartbeat(self) -> None:
        async def join_again() -> None:
            await self.revoke()
            self.expired = False
            if self.alive and self._group is not None:
                self._group.join(self)

        if self.alive:
            self._cluster.background(join_again())

    # ------------------------------------------------------------------ called by the group

    def topics(self) -> Collection[str]:
        """The existing topics of its subscription."""
        topics = self._cluster.topics
        if self._pattern is None:
            return [topic.name for topic in self._settings.topics if topic.name in topics]
        return [name for name in topics.names() if self._pattern.match(name)]

    def reads(self, topic: str) -> bool:
        return topic in self.topics()

    async def revoke(self) -> None:
        async with self._callback:
            if not self.alive or self._listener is None:
                return
            if not self.expired:
                self._commits.commit_positions()
            await self._cluster.hop()
            if self.positions:
                await self._listener.on_revoked(list(self.positions))
            self.positions.clear()
            self.generation = -1
            self._fetched_at_s = None

    async def assign(self, partitions: Collection[TopicPartition], generation: int) -> None:
        async with self._callback:
            if not self.alive or self._listener is None:
                return
            self.generation = generation
            await self._cluster.hop()
            await self._listener.on_assigned(partitions)
            try:
                for tp in partitions:
                    self._locate(tp)
            except BrokerRefused as error:
                self._failure = error
        self._cluster.wake()

    def topic_changed(self, name: str) -> None:
        """A topic was created, or has more partitions. A group rebalances by itself; a reader without one reassigns."""
        if self._group is None and self.alive and self._listener is not None and self.reads(name):
            self.reassign()

    def reassign(self) -> None:
        """Without a group: assign all partitions of its topics; positions are kept."""
        self._cluster.background(self._reassign())

    async def _reassign(self) -> None:
        read = dict(self.positions)
        await self.revoke()
        await self.assign([tp for topic in self.topics() for tp in self._cluster.topics.partitions(topic)], 0)
        self.positions.update(read)

    def _locate(self, tp: TopicPartition) -> None:
        """Set the starting position: the committed offset, or the one of the reset rule."""
        log = self._cluster.topics.log(tp)
        committed = self._group.committed.get(tp) if self._group is not None else None
        epoch = self._group.epochs.get(tp, UNKNOWN) if self._group is not None else UNKNOWN
        self.epochs.begin(tp, epoch)
        if committed is not None and epoch != UNKNOWN and log.end_of(epoch) < committed:
            self._truncate(log, committed, epoch)
        elif committed is not None and log.start <= committed <= log.end:
            self.positions[tp] = committed
        else:
            self._reset(log, committed)

    def _truncate(self, log: PartitionLog, from_offset: int, epoch: int) -> None:
        """An unclean leader election has truncated the log before the position: continue at the log's end."""
        tp, at = log.tp, log.end_of(epoch)
        if self._settings.auto_offset_reset == "none":
            raise BrokerRefused(
                f"{tp.topic}[{tp.partition}] was truncated to offset {at} after it had been read up to {from_offset},"
                " and auto_offset_reset is 'none'"
            )
        self.epochs.go_back(tp, at)
        self._reset_to(tp, OffsetReset(tp, from_offset, at, "truncated"))

    def _reset(self, log: PartitionLog, from_offset: int | None) -> None:
        tp, rule = log.tp, self._settings.auto_offset_reset
        siblings = self._group is not None and any(other.topic == tp.topic for other in self._group.committed)
        if rule == "none":
            raise BrokerRefused(f"{tp.topic}[{tp.partition}] has no valid offset, and auto_offset_reset is 'none'")
        if from_offset is not None and from_offset < log.start and self._has_finished_behind(tp, from_offset):
            self.epochs.begin(tp, UNKNOWN)
            self._reset_to(tp, OffsetReset(tp, from_offset, log.start, "retention"))
            return
        new = from_offset is None and (siblings or tp.topic not in self._known_topics)
        to = log.start if new or rule == "earliest" else log.end_for(self._isolation)
        reason: Literal["new_partition", "no_commit", "out_of_range"] = "out_of_range"
        if from_offset is None:
            reason = "new_partition" if new else "no_commit"
        self.epochs.begin(tp, UNKNOWN)
        self._reset_to(tp, OffsetReset(tp, from_offset, to, reason))

    def _has_finished_behind(self, tp: TopicPartition, offset: int) -> bool:
        if self._settings.at_most_once or self._settings.group_id is None:
            return False
        return lists_finished(self.starting_commit(tp), offset, place_of(self._settings.group_id, tp))

    def _reset_to(self, tp: TopicPartition, reset: OffsetReset) -> None:
        self._cluster.trace.note(
            "%s is reset to %s[%s]@%s (%s)", self.name, tp.topic, tp.partition, reset.to_offset, reset.reason
        )
        self.positions[tp] = reset.to_offset
        self._commits.commit_reset(tp, reset.to_offset)
        assert self._listener is not None
        self._listener.on_reset(reset)

    # ------------------------------------------------------------------ reading

    async def poll(
        self, partitions: Collection[TopicPartition] | None, *, timeout_s: float, max_records: int
    ) -> Mapping[TopicPartition, Sequence[Record]]:
        clock, faults = self._cluster.clock, self._cluster.faults
        deadline_s = clock.now() + timeout_s
        while True:
            await self._wait_for_rebalance()
            if (fault := self._failure or faults.next_poll()) is not None:
                raise fault
            batches = {} if faults.away or self._still_fetching(partitions) else self._take(partitions, max_records)
            left_s = deadline_s - clock.now()
            if batches or left_s <= 0:
                return batches
            if self._fetched_at_s is not None and self._fetched_at_s > clock.now():
                left_s = min(left_s, self._fetched_at_s - clock.now())
            await wait_any(clock, self._cluster.change(), timeout_s=left_s)

    async def _wait_for_rebalance(self) -> None:
        """While its member rebalances, a poll returns no records and does not time out."""
        while not self.alive or (self._group is not None and self._group.rebalancing):
            await self._cluster.change()

    def _still_fetching(self, partitions: Collection[TopicPartition] | None) -> bool:
        """With latency, available records are returned once the fetch for them has been answered."""
        faults, now_s = self._cluster.faults, self._cluster.clock.now()
        if faults.fetch_s[1] == 0.0:
            self._fetched_at_s = None
            return False
        if self._fetched_at_s is None:
            if not any(self._is_behind(tp) for tp in self.positions if partitions is None or tp in partitions):
                return False
            self._fetched_at_s = now_s + faults.latency_s(faults.fetch_s)
        if now_s < self._fetched_at_s:
            return True
        self._fetched_at_s = None
        return False

    def _is_behind(self, tp: TopicPartition) -> bool:
        return self.positions[tp] < self._cluster.topics.log(tp).end_for(self._isolation)

    def _take(
        self, partitions: Collection[TopicPartition] | None, max_records: int
    ) -> dict[TopicPartition, Sequence[Record]]:
        batches: dict[TopicPartition, Sequence[Record]] = {}
        left, assigned = max_records, list(self.positions)
        self._first_partition += (
            1  # start with another partition each time, so that a full one does not starve the others
        )
        for index in range(len(assigned)):
            tp = assigned[(index + self._first_partition) % len(assigned)]
            if left <= 0 or (partitions is not None and tp not in partitions):
                continue
            if records := self._read(tp, left):
                batches[tp] = records
                left -= len(records)
        return batches

    def _read(self, tp: TopicPartition, most: int) -> list[MemoryRecord]:
        log, position = self._cluster.topics.log(tp), self.positions[tp]
        epoch = self.epochs.latest(tp)
        if epoch not in (UNKNOWN, log.epoch) and log.end_of(epoch) < position:
            self._truncate(log, position, epoch)
            return []
        if position < log.start or position > log.end:
            self._reset(log, position)
            return []
        records = log.read(position, most, self._isolation)
        if records:
            self.epochs.read(tp, log.epochs_from(records[0].offset, records[-1].offset))
            self.positions[tp] = log.next_after(records[-1].offset + 1, self._isolation)
            return records
        blocked = log.blocked(position)
        if blocked is not None:
            assert self._listener is not None
            self._listener.on_unreadable(Unreadable(tp, blocked, blocked + 1, ValueError("a bad checksum")))
        else:
            self.positions[tp] = log.next_after(position, self._isolation)
        return []

    def position(self, partition: TopicPartition) -> int | None:
        return self.positions.get(partition)

    def end_offset(self, partition: TopicPartition) -> int | None:
        """The end offset; for `read_committed` the start of the first open transaction."""
        return self._cluster.topics.log(partition).end_for(self._isolation)

    def high_watermark(self, partition: TopicPartition) -> int | None:
        return self._cluster.topics.log(partition).end

    def next_timestamp_ms(self, partition: TopicPartition) -> int | None:
        position = self.positions.get(partition)
        found = self._cluster.topics.log(partition).read(position, 1, self._isolation) if position is not None else []
        return found[0].timestamp if found and found[0].timestamp >= 0 else None

    def receives(self, partition: TopicPartition) -> bool:
        return False  # fetches are answered at once

    def seek(self, partition: TopicPartition, offset: int) -> None:
        if partition in self.positions:
            if offset <= self.positions[partition]:
                self.epochs.go_back(partition, offset)
            else:
                self.epochs.forget(partition)
            self.positions[partition] = offset
            self._cluster.wake()

    def starting_commit(self, partition: TopicPartition) -> tuple[int, str] | None:
        if self._group is None or (offset := self._group.committed.get(partition)) is None:
            return None
        return offset, self._group.metadata.get(partition, "")

    def topic_id(self, topic: str) -> str:
        return self._cluster.topics.id(topic)

    def leader_epoch(self, partition: TopicPartition, offset: int) -> int:
        return self.epochs.before(partition, offset)

    async def commit(
        self,
        offsets: Mapping[TopicPartition, int],
        *,
        timeout_s: float,
        metadata: Mapping[TopicPartition, str] | None = None,
    ) -> None:
        await self._commits.commit(offsets, metadata or {}, timeout_s=timeout_s)

    # ------------------------------------------------------------------ state

    def state(self) -> SourceState:
        if not self.alive or self.expired or self._failure is not None or self._cluster.away:
            return "lost"
        if self._group is not None and self._group.rebalancing:
            return "joining"
        absent = any(topic.name not in self._cluster.topics for topic in self._settings.topics)
        return "connecting" if absent else "steady"

    def assignment(self) -> Collection[TopicPartition]:
        return list(self.positions)

    @property
    def joined(self) -> bool:
        """True once it has its partitions."""
        return self.generation >= 0 and not (self._group is not None and self._group.rebalancing)

    def unfinished(self) -> list[str]:
        """Describe what this member still has to do."""
        if self.haunts:
            return [f"{self.name} has crashed, but its session has not expired yet"]
        if not self.alive:
            return []
        if self.expired:
            return [f"the session of {self.name} has expired, and it has not rejoined"]
        open_work = []
        for tp, position in self.positions.items():
            log = self._cluster.topics.log(tp)
            if lag := log.end_for(self._isolation) - position:
                blocked = f" (offset {position} cannot be read)" if position in log.unreadable else ""
                open_work.append(f"{self.name} has {lag} offsets of {tp.topic}[{tp.partition}] to read{blocked}")
            elif self._commits.is_behind(tp, position):
                open_work.append(f"{self.name} has not committed {tp.topic}[{tp.partition}]@{position}")
        return open_work
