"""The engine's RecordSource on the in-memory Kafka."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence

from evkafka.config.settings import ConsumerSettings
from evkafka.exceptions import BrokerError, BrokerRefused
from evkafka.records import Record, TopicPartition
from evkafka.runtime.clock import wait_any
from evkafka.runtime.leader_epochs import LeaderEpochs
from evkafka.runtime.ports import GroupEpoch, OutgoingRecord, SourceListener, SourceState
from evkafka.runtime.session_check import SAFE_SHARE
from evkafka.runtime.topic_pattern import TopicPattern
from evkafka.testing.memory.group import Group
from evkafka.testing.memory.offsets import OffsetCommits
from evkafka.testing.memory.reader import PartitionReader
from evkafka.testing.memory.state import ClusterState
from evkafka.testing.memory.transactional_member import TransactionalMember

BROKER_SESSION_S, BROKER_HEARTBEAT_S = 45.0, 5.0
"""Defaults of the brokers, whose settings these are with the consumer protocol: group.consumer.session.timeout.ms,
group.consumer.heartbeat.interval.ms."""


class MemorySource:
    """One group member, or a reader without a group. Positions, assignments and commits behave as the real client's.

    Attributes:
        name: its name in the trace and in errors.
        incremental: whether it speaks the consumer protocol (KIP-848): only the partitions that move are revoked.
        instance_id: of a static member that speaks that protocol.
        alive: False once it has crashed, or has left.
        awaits_session_expiry: True from a crash until the group has noticed it, when the session expires; also after a
            static member has left, until its session expires or its instance id is back.
        left: whether it has left.
        expired: True while its session has expired and the member has not noticed it yet.
        rejoining: True while it has no assignment.
        generation: of its assignment, or its member epoch; -1 without one.
        assigned_in: assigned partition -> the generation or epoch in which it was assigned.
    """

    def __init__(self, cluster: ClusterState, settings: ConsumerSettings, group: Group | None, *, order: int) -> None:
        self.name = f"member {order} ({settings.connection.client_id})"
        self.order = order
        self.incremental = group is not None and settings.group_protocol != "classic"
        self._session_s, self._heartbeat_s = settings.session_timeout_s, settings.heartbeat_interval_s
        if self.incremental:
            self._session_s, self._heartbeat_s = BROKER_SESSION_S, BROKER_HEARTBEAT_S
        self.instance_id = settings.group_instance_id if self.incremental else None
        self.alive = True
        self.awaits_session_expiry = False
        self.left = False
        self.expired = False
        self.rejoining = group is not None
        self.generation = -1
        self.assigned_in: dict[TopicPartition, int] = {}
        self._topic_ids: dict[str, str] = {}  # of the assigned topics, as they were when they were assigned
        self._cluster = cluster
        self._settings = settings
        self._pattern = TopicPattern.from_settings(settings) if settings.topic_pattern is not None else None
        self._group = group
        self._commits = OffsetCommits(cluster, self, group, settings)
        self._transactions: TransactionalMember | None = None
        if (transactions := settings.transaction_settings) is not None:
            self._transactions = TransactionalMember(cluster, self, self._commits, transactions)
        self._reader = PartitionReader(cluster, settings, group, self._commits, self.name)
        self._listener: SourceListener | None = None
        self._callback = asyncio.Lock()  # the client runs one callback of its listener at a time
        self._leaving: frozenset[TopicPartition] = frozenset()  # being revoked: no record of them is returned
        self._has_changed = True  # the assignment, since the listener was last told of its end
        self._fetched_at_s: float | None = None  # when the answer to the pending fetch arrives
        self._failure: BrokerError | None = None

    @property
    def positions(self) -> dict[TopicPartition, int]:
        """Assigned partition -> offset of the next record to return."""
        return self._reader.positions

    @property
    def crashed(self) -> bool:
        """Whether its process was killed."""
        return not (self.alive or self.left)

    @property
    def epochs(self) -> LeaderEpochs:
        """Leader epochs of the records that were read."""
        return self._reader.epochs

    # ------------------------------------------------------------------ life

    async def start(self, listener: SourceListener) -> None:
        await self._cluster.check_reachable()
        self._listener = self._reader.listener = self._commits.listener = listener
        if self._transactions is not None:
            self._transactions.begin_new_producer_epoch()
        for topic in self._settings.topics:
            self._cluster.topics.ensure_exists(topic.name)
        self._reader.known_topics = frozenset(self.subscribed_topics())
        if self._group is None:
            self._start_reassigning_all_partitions()
        else:
            self._group.join(self)
        self._commits.start_interval_commits()

    async def stop(self, *, timeout_s: float) -> None:
        if not self.alive:
            return
        if self._cluster.is_in_outage:
            self.crash()  # the group cannot be told that it leaves
            return
        if self._transactions is not None:
            # First: once this member has left, others wait for its open transaction.
            self._transactions.abort_open_transaction()
        self._commits.commit_positions()
        self.alive, self.left = False, True
        self._commits.stop_interval_commits()
        if self._group is not None and self.instance_id is not None and not self.expired:
            self._cluster.trace.note("%s leaves; its assignment is kept for a session", self.name)
            self._leave_when_session_expires()
        elif self._group is not None:
            self._group.leave(self)
        self._drop_partitions(self.assigned_in)

    def crash(self) -> None:
        """The process is killed: the group notices it when the session expires."""
        if not self.alive:
            return
        self._cluster.trace.note("%s has crashed", self.name)
        self.alive = False
        self._drop_partitions(self.assigned_in)
        self._commits.stop_interval_commits()
        if self._group is not None and not self.expired:
            self._leave_when_session_expires()

    def _leave_when_session_expires(self) -> None:
        self.awaits_session_expiry = True
        self._cluster.clock.call_later(self._session_s, self._leave_group_after_session_expiry)
        self._cluster.wake_waiters()

    def _leave_group_after_session_expiry(self) -> None:
        assert self._group is not None
        self.awaits_session_expiry = False
        self._group.leave(self)

    def expire(self) -> None:
        """The session expires without the member knowing: its partitions are reassigned, its commits are refused.

        It notices at its next heartbeat, gives its partitions up and joins again.
        """
        if self._group is None or self.expired or not self.alive:
            return
        self._cluster.trace.note("the session of %s expires", self.name)
        self.expired = True
        self._group.leave(self)
        self._cluster.clock.call_later(self._heartbeat_s, self._rejoin_after_session_expiry)

    def _rejoin_after_session_expiry(self) -> None:
        async def join_again() -> None:
            await (self._lose_partitions() if self.incremental else self.revoke())
            self.expired = False
            if self.alive and self._group is not None:
                self._group.join(self)

        if self.alive:
            self._cluster.run_in_background(join_again())

    # ------------------------------------------------------------------ called by the group

    def subscribed_topics(self) -> Collection[str]:
        """The existing topics of its subscription."""
        topics = self._cluster.topics
        if self._pattern is None:
            return [topic.name for topic in self._settings.topics if topic.name in topics]
        return [name for name in topics.names() if self._pattern.match(name)]

    def reads_topic(self, topic: str) -> bool:
        return topic in self.subscribed_topics()

    async def revoke(self, partitions: Collection[TopicPartition] | None = None) -> None:
        """Give these partitions back; None: all of them, and the generation."""
        async with self._callback:
            if not self.alive or self._listener is None:
                return
            moving = [tp for tp in self.assigned_in if partitions is None or tp in partitions]
            self.rejoining = self.rejoining or partitions is None
            self._leaving, self._has_changed = frozenset(moving), True
            if not self.expired:
                self._commits.commit_positions()
            await self._cluster.wait_random_loop_turns()
            if moving:
                await self._listener.on_revoked(moving)
            self._drop_partitions(moving)
            self._leaving = frozenset()
            if partitions is None:
                self.generation = -1
                self._fetched_at_s = None

    async def assign(self, partitions: Collection[TopicPartition], generation: int) -> None:
        """Add these partitions to the assignment, which is of this generation, or member epoch, from now on."""
        async with self._callback:
            if not self.alive or self._listener is None:
                return
            self.generation = generation
            await self._cluster.wait_random_loop_turns()
            if not self.alive:  # it has left, or crashed, meanwhile
                return
            if partitions or self._has_changed:
                self.assigned_in.update(dict.fromkeys(partitions, generation))
                self._topic_ids.update({tp.topic: self._cluster.topics.topic_id(tp.topic) for tp in partitions})
                await self._listener.on_assigned(partitions)
                self._has_changed = False
            existing = [tp for tp in partitions if self._topic_ids[tp.topic] == self._cluster.topics.topic_id(tp.topic)]
            undecided = [tp for tp in existing if self._has_offset_in_open_transaction(tp)]
            self._set_starting_positions([tp for tp in existing if tp not in undecided])
            for tp in undecided:
                self._cluster.run_in_background(self._set_starting_position_when_stable(tp, generation))
            self.rejoining = False
        self._cluster.wake_waiters()

    def _has_offset_in_open_transaction(self, tp: TopicPartition) -> bool:
        """Whether a transaction with an offset of it is open: the offset is not looked up before its end
        (require_stable)."""
        return self._transactions is not None and self._group is not None and bool(self._group.pending.get(tp))

    async def _set_starting_position_when_stable(self, tp: TopicPartition, generation: int) -> None:
        while self._has_offset_in_open_transaction(tp):
            await self._cluster.next_change_future()
        if self.alive and self.assigned_in.get(tp) == generation and tp not in self.positions:
            self._set_starting_positions([tp])
            self._cluster.wake_waiters()

    def _set_starting_positions(self, partitions: Collection[TopicPartition]) -> None:
        try:
            for tp in partitions:
                self._reader.set_starting_position(tp)
        except BrokerRefused as error:
            self._failure = error

    async def _lose_partitions(self) -> None:
        """The group has fenced this member: other members have its partitions. This ends the drain of a revoke too."""
        await self._drop_partitions_and_call_on_lost()
        async with self._callback:
            await self._drop_partitions_and_call_on_lost()  # what was being assigned
            self.generation = -1
            await self._cluster.wait_random_loop_turns()

    async def _drop_partitions_and_call_on_lost(self) -> None:
        lost = list(self.assigned_in)
        self.rejoining = self._has_changed = True
        self._drop_partitions(lost)
        if lost and self._listener is not None:
            await self._listener.on_lost(lost)

    def _drop_partitions(self, partitions: Collection[TopicPartition]) -> None:
        for tp in tuple(partitions):
            self.positions.pop(tp, None)
            self.assigned_in.pop(tp, None)

    def on_topic_changed(self, name: str) -> None:
        """A topic was created, or has more partitions. A group rebalances by itself; a reader without one
        assigns all partitions again."""
        if self._group is None and self.alive and self._listener is not None and self.reads_topic(name):
            self._start_reassigning_all_partitions()

    def on_topic_deleted(self, name: str) -> None:
        """Nothing more of it is read. Its partitions are this member's until they are revoked."""
        for tp in [tp for tp in self.positions if tp.topic == name]:
            del self.positions[tp]
        if self._group is None and self.alive and self._listener is not None:
            self._start_reassigning_all_partitions()

    def _start_reassigning_all_partitions(self) -> None:
        """Without a group: assign all partitions of its topics; positions are kept."""
        self._cluster.run_in_background(self._assign_all_partitions())

    async def _assign_all_partitions(self) -> None:
        read = dict(self.positions)
        await self.revoke()
        await self.assign(
            [tp for topic in self.subscribed_topics() for tp in self._cluster.topics.partitions(topic)], 0
        )
        self.positions.update({tp: offset for tp, offset in read.items() if tp in self.positions})

    # ------------------------------------------------------------------ reading

    async def poll(
        self, partitions: Collection[TopicPartition] | None, *, timeout_s: float, max_records: int
    ) -> Mapping[TopicPartition, Sequence[Record]]:
        clock, faults = self._cluster.clock, self._cluster.faults
        deadline_s = clock.now() + timeout_s
        while True:
            await self._wait_for_rebalance()
            if (fault := self._failure or faults.take_poll_fault()) is not None:
                raise fault
            wanted = [
                tp for tp in self.positions if tp not in self._leaving and (partitions is None or tp in partitions)
            ]
            if not (self._cluster.is_in_outage or self._is_waiting_for_fetch(wanted)) and (
                batches := self._reader.take_records_of_partitions(wanted, max_records)
            ):
                return batches
            left_s = deadline_s - clock.now()
            if left_s <= 0:
                return {}
            if self._fetched_at_s is not None and self._fetched_at_s > clock.now():
                left_s = min(left_s, self._fetched_at_s - clock.now())
            await wait_any(clock, self._cluster.next_change_future(), timeout_s=left_s)

    async def _wait_for_rebalance(self) -> None:
        """While it has no assignment, a poll returns no records and does not time out."""
        while not self.alive or self._is_joining:
            await self._cluster.next_change_future()

    @property
    def _is_joining(self) -> bool:
        if self._group is None:
            return False
        return self.rejoining or (self._group.rebalancing and not self.incremental)

    def _is_waiting_for_fetch(self, partitions: Collection[TopicPartition]) -> bool:
        """With latency, available records are returned once the fetch for them has been answered."""
        faults, now_s = self._cluster.faults, self._cluster.clock.now()
        if faults.fetch_s[1] == 0.0:
            self._fetched_at_s = None
            return False
        if self._fetched_at_s is None:
            if not self._reader.any_partition_has_more_records(partitions):
                return False
            self._fetched_at_s = now_s + faults.draw_latency_s(faults.fetch_s)
        if now_s < self._fetched_at_s:
            return True
        self._fetched_at_s = None
        return False

    def position(self, partition: TopicPartition) -> int | None:
        return self.positions.get(partition)

    def end_offset(self, partition: TopicPartition) -> int | None:
        """The end offset; for `read_committed` the start of the first open transaction."""
        if partition not in self.positions:  # its topic was deleted
            return None
        return self._cluster.topics.log(partition).end_for_isolation(self._reader.isolation)

    def high_watermark(self, partition: TopicPartition) -> int | None:
        return self._cluster.topics.log(partition).end if partition in self.positions else None

    def next_fetched_timestamp_ms(self, partition: TopicPartition) -> int | None:
        return self._reader.next_fetched_timestamp_ms(partition)

    def is_receiving_slowly(self, partition: TopicPartition) -> bool:
        return False  # fetches are answered at once

    def seek(self, partition: TopicPartition, offset: int) -> None:
        self._reader.seek(partition, offset)

    def last_commit_before_assignment(self, partition: TopicPartition) -> tuple[int, str] | None:
        return self._reader.last_commit_before_assignment(partition)

    def topic_id(self, topic: str) -> str:
        return self._topic_ids.get(topic, "")

    def leader_epoch_before(self, partition: TopicPartition, offset: int) -> int:
        return self.epochs.epoch_before(partition, offset)

    async def commit(
        self,
        offsets: Mapping[TopicPartition, int],
        *,
        timeout_s: float,
        metadata: Mapping[TopicPartition, str] | None = None,
    ) -> None:
        await self._commits.commit(offsets, metadata or {}, timeout_s=timeout_s)

    async def commit_transaction(
        self,
        outputs: Sequence[OutgoingRecord],
        offsets: Mapping[TopicPartition, int],
        *,
        timeout_s: float,
        metadata: Mapping[TopicPartition, str],
    ) -> None:
        assert self._transactions is not None
        await self._transactions.commit(outputs, offsets, metadata, timeout_s=timeout_s)

    # ------------------------------------------------------------------ state

    def state(self) -> SourceState:
        if not self.alive or self.expired or self._failure is not None or self._cluster.is_in_outage:
            return "lost"
        if self._is_joining:
            return "joining"
        absent = any(topic.name not in self._cluster.topics for topic in self._settings.topics)
        return "connecting" if absent else "steady"

    def is_session_alive(self) -> bool:
        silent_s = self._cluster.outage_duration_so_far_s
        if self.expired:  # after the outage its next heartbeat is refused, and confirms nothing
            silent_s = max(silent_s, self._cluster.faults.last_outage_s)
        return self._group is None or silent_s < SAFE_SHARE * self._session_s

    def group_epoch(self) -> GroupEpoch | None:
        if self._group is None or self.generation < 0:
            return None
        return GroupEpoch("consumer" if self.incremental else "classic", self.generation)

    def assignment(self) -> Collection[TopicPartition]:
        return list(self.positions)

    @property
    def has_joined(self) -> bool:
        """True once it has its partitions."""
        return self.generation >= 0 and (self._group is None or self._group.settled)

    def describe_unfinished_work(self) -> list[str]:
        """Describe what this member still has to do."""
        if self.awaits_session_expiry:
            return [f"{self.name} has {'left' if self.left else 'crashed'}, but its session has not expired yet"]
        if not self.alive:
            return []
        if self.expired:
            return [f"the session of {self.name} has expired, and it has not rejoined"]
        open_work = [
            f"{self.name} waits for the end of a transaction with an offset of {tp.topic}[{tp.partition}]"
            for tp in self.assigned_in
            if self._has_offset_in_open_transaction(tp) and tp not in self.positions
        ]
        for tp, position in self.positions.items():
            log = self._cluster.topics.log(tp)
            if lag := log.end_for_isolation(self._reader.isolation) - position:
                blocked = f" (offset {position} cannot be read)" if position in log.unreadable else ""
                open_work.append(f"{self.name} has {lag} offsets of {tp.topic}[{tp.partition}] to read{blocked}")
            elif self._commits.is_uncommitted(tp, position):
                open_work.append(f"{self.name} has not committed {tp.topic}[{tp.partition}]@{position}")
        return open_work
