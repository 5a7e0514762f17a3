"""The cluster of the in-memory Kafka: topics, consumer groups and injected faults. Sources and sinks use it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from evkafka.config.settings import ConsumerSettings
from evkafka.producer import Headers, Key
from evkafka.records import TopicPartition
from evkafka.testing.memory.faults import CommitFault, Milliseconds, SendFault, latency_range_s
from evkafka.testing.memory.group import Group
from evkafka.testing.memory.partition_log import Isolation, MemoryRecord
from evkafka.testing.memory.source import MemorySource
from evkafka.testing.memory.state import ClusterState
from evkafka.testing.memory.transaction import Transaction


class MemoryCluster(ClusterState):
    """One cluster, and what a test does to it. See `InMemoryKafka` for the arguments."""

    def __init__(self, *, seed: int, partitions: int, auto_create_topics: bool) -> None:
        super().__init__(seed=seed, partitions=partitions, auto_create_topics=auto_create_topics)
        self.topics.on_new_topic = self._on_topic_changed
        self._groups: dict[str, Group] = {}
        self._members: list[MemorySource] = []

    # ------------------------------------------------------------------ topics and records

    def create_topic(self, name: str, partitions: int | None = None) -> None:
        """Create a topic.

        Args:
            partitions: their number; None: as many as an automatically created topic has.

        Raises:
            ValueError: the topic exists, or its name is illegal.
        """
        self.topics.create(name, partitions)

    def add_partitions(self, name: str, count: int) -> None:
        """Add this many partitions to a topic; the groups that read it assign them, as on a metadata refresh."""
        self.topics.add_partitions(name, count)
        self._on_topic_changed(name)

    def delete_topic(self, name: str) -> None:
        """Delete a topic, its records, and the offsets that groups have committed for it. A topic of this name that is
        created later is another topic.

        Raises:
            UnknownTopic: there is no such topic.
        """
        self.trace.note("topic %s is deleted", name)
        self.topics.delete(name)
        for member in self._members:
            member.on_topic_deleted(name)
        for group in self._groups.values():
            group.on_topic_deleted(name)

    def _on_topic_changed(self, name: str) -> None:
        for group in self._groups.values():
            if any(isinstance(member, MemorySource) and member.reads_topic(name) for member in group.members):
                group.start_rebalance()
        for member in self._members:
            member.on_topic_changed(name)

    async def send(
        self,
        topic: str,
        event: Any,
        event_type: str | None = None,
        key: Key | None = None,
        partition: int | None = None,
        timestamp_ms: int | None = None,
        headers: Headers | None = None,
    ) -> MemoryRecord:
        """Write one record, as a producer outside of the app would; also in an outage, and without latency.

        Args:
            event: dict, str, bytes, a pydantic model...; None is a tombstone.
            event_type: None: the record has no `Event-Type` header.

        Raises:
            UnknownTopic: there is no such partition, or no such topic and topics are not created automatically.
        """
        return self.write(topic, event, event_type, key, partition, timestamp_ms, headers, None)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        """A transaction of a producer outside of the app: `async with kafka.transaction() as tx: await tx.send(...)`.

        Committed at the exit; aborted by an error or by `tx.abort()`. Either way its marker takes one offset in each
        partition it has written to."""
        transaction = Transaction(self, self.topics.begin_transaction())
        try:
            yield transaction
        except BaseException:
            transaction.abort()
            raise
        transaction.commit()

    def records(
        self, topic: str, *, partition: int | None = None, isolation_level: Isolation = "read_committed"
    ) -> list[MemoryRecord]:
        """All records of a topic, by partition and offset; none if the topic does not exist yet."""
        found = self.topics.records(topic, isolation_level)
        return found if partition is None else [record for record in found if record.partition == partition]

    def make_gap(self, topic: str, partition: int = 0, *, offsets: int = 1) -> None:
        """Skip offsets: transaction markers and compaction leave offsets without a record."""
        self.topics.log(TopicPartition(topic, partition)).skip_offsets(offsets)
        self.wake_waiters()

    def compact(self, topic: str, *, drop_tombstones: bool = False) -> None:
        """Log compaction: of each key only the last record is kept; offsets do not change."""
        for log in self.topics.logs(topic):
            log.compact(drop_tombstones=drop_tombstones)

    def delete_records(self, topic: str, partition: int = 0, *, before: int) -> None:
        """Retention: delete the records before this offset. A position there is reset (`auto_offset_reset`)."""
        self.topics.log(TopicPartition(topic, partition)).delete_records_before(before)
        self.wake_waiters()

    def lose_records(self, topic: str, partition: int = 0, *, after: int) -> None:
        """An unclean leader election: delete the records from this offset on. A later position is truncated to it."""
        self.topics.log(TopicPartition(topic, partition)).truncate_to_offset(after)
        self.wake_waiters()

    def elect_leader(self, topic: str, partition: int = 0) -> None:
        """A clean leader election: nothing is lost, and a new leader epoch begins."""
        self.topics.log(TopicPartition(topic, partition)).elect_leader()
        self.wake_waiters()

    def make_unreadable(self, topic: str, partition: int = 0, *, offset: int) -> None:
        """Make one record corrupt: the client cannot read it, as with a bad checksum."""
        self.topics.log(TopicPartition(topic, partition)).unreadable.add(offset)

    # ------------------------------------------------------------------ groups

    def group(self, name: str) -> Group:
        """The group of this name; created on first use."""
        if name not in self._groups:
            self._groups[name] = Group(name, self)
        return self._groups[name]

    def source(self, settings: ConsumerSettings) -> MemorySource:
        """A new source: a member of its group, or a reader without a group."""
        group = self.group(settings.group_id) if settings.group_id is not None else None
        source = MemorySource(self, settings, group, order=len(self._members))
        self._members.append(source)
        return source

    # ------------------------------------------------------------------ faults

    def fail_commits(self, *faults: CommitFault) -> None:
        """The next commits fail, in this order: one fault each."""
        self.faults.fail_commits(*faults)

    def fail_polls(self, *errors: Exception) -> None:
        """The next polls raise these."""
        self.faults.fail_polls(*errors)
        self.wake_waiters()

    def fail_sends(self, *faults: SendFault, topic: str | None = None) -> None:
        """The next sends of apps (to this topic) fail, one fault each: refused at once, or never answered. A send that
        an exactly-once endpoint keeps is refused at once by each of them."""
        self.faults.fail_sends(*faults, topic=topic)

    @contextmanager
    def latency(
        self, *, fetch_ms: Milliseconds = 0, commit_ms: Milliseconds = 0, produce_ms: Milliseconds = 0
    ) -> Iterator[None]:
        """Inside, answers take this long on the virtual clock; (least, most) draws each latency, by the seed."""
        faults = self.faults
        before = faults.fetch_s, faults.commit_s, faults.produce_s
        faults.fetch_s = latency_range_s("fetch_ms", fetch_ms)
        faults.commit_s = latency_range_s("commit_ms", commit_ms)
        faults.produce_s = latency_range_s("produce_ms", produce_ms)
        try:
            yield
        finally:
            faults.fetch_s, faults.commit_s, faults.produce_s = before

    def go_away(self) -> None:
        """Begin an outage: polls return nothing, commits and connections fail, sends wait, groups do not rebalance."""
        self.trace.note("the outage begins")
        if not self.is_in_outage:
            self.faults.away_since_s = self.clock.now()

    def come_back(self) -> None:
        """End the outage."""
        self.trace.note("the outage ends")
        self.faults.last_outage_s, self.faults.away_since_s = self.outage_duration_so_far_s, None
        self.wake_waiters()
