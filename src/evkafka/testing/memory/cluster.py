"""The cluster of the in-memory Kafka: topics, groups, and what goes wrong. Sources and sinks speak to it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from evkafka.config.settings import ConsumerSettings
from evkafka.producer import Headers, Key
from evkafka.records import TopicPartition
from evkafka.testing.memory.clock import VirtualClock
from evkafka.testing.memory.faults import CommitFault, Faults, Milliseconds, SendFault, seconds
from evkafka.testing.memory.group import Group
from evkafka.testing.memory.partition_log import Isolation, MemoryRecord
from evkafka.testing.memory.partition_queue import PendingRecord
from evkafka.testing.memory.source import MemorySource
from evkafka.testing.memory.topics import Topics
from evkafka.testing.memory.trace import Trace
from evkafka.testing.memory.transaction import Transaction, encoded


class MemoryCluster:
    """What the sources and sinks of all apps share, and what a test does to it. See `InMemoryKafka` for the arguments.

    Attributes:
        clock: the virtual clock of every app that runs on it.
        topics: all topics and their logs.
        faults: what goes wrong, and how long answers take.
        trace: what happened, in order.
        sent: what apps have written, in order.
        sending: what they have sent and is not confirmed yet.
    """

    def __init__(self, *, seed: int, partitions: int, auto_create_topics: bool) -> None:
        self.clock = VirtualClock()
        self.chance = random.Random(seed)  # nosec B311 # to be repeated
        self.trace = Trace(self.clock)
        self.faults = Faults(self.chance)
        self.topics = Topics(partitions=partitions, auto_create=auto_create_topics, chance=self.chance)
        self.topics.on_new_topic = self._topic_changed
        self.sent: list[MemoryRecord] = []
        self.sending: dict[PendingRecord, None] = {}
        self._groups: dict[str, Group] = {}
        self._members: list[MemorySource] = []
        self._changes: dict[asyncio.Future[None], None] = {}  # in order, so that all wake in the same one
        self._tasks: dict[asyncio.Task[None], None] = {}
        self._broken: BaseException | None = None

    async def close(self) -> None:
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.raise_if_broken()

    # ------------------------------------------------------------------ topics and records

    def create_topic(self, name: str, partitions: int | None = None) -> None:
        """Make a topic, with so many partitions (None: as many as one that is made by itself).

        Raises:
            ValueError: there is such a topic, or its name is illegal.
        """
        self.topics.create(name, partitions)

    def add_partitions(self, name: str, count: int) -> None:
        """The topic gets so many more; groups that read it rebalance, as they do when metadata shows it."""
        self.topics.add_partitions(name, count)
        self._topic_changed(name)

    def _topic_changed(self, name: str) -> None:
        for group in self._groups.values():
            if any(isinstance(member, MemorySource) and member.reads(name) for member in group.members):
                group.rebalance()
        for member in self._members:
            member.topic_changed(name)

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
        """Write one record, as somebody else's producer would; also in an outage, and without latency.

        Args:
            event: dict, str, bytes, a pydantic model...; None is a tombstone.
            event_type: None writes no `Event-Type` header.

        Raises:
            UnknownTopic: no such topic (where none is made by itself) or partition.
        """
        return self._write(topic, event, event_type, key, partition, timestamp_ms, headers, None)

    def _write(
        self,
        topic: str,
        event: Any,
        event_type: str | None,
        key: Key | None,
        partition: int | None,
        timestamp_ms: int | None,
        headers: Headers | None,
        transaction: int | None,
    ) -> MemoryRecord:
        value, own_key, pairs = encoded(event, event_type, key, headers)
        return self.append(
            self.topics.choose(topic, own_key, partition),
            key=own_key,
            value=value,
            headers=pairs,
            timestamp_ms=self.clock.timestamp_ms() if timestamp_ms is None else timestamp_ms,
            transaction=transaction,
        )

    def append(self, tp: TopicPartition, *, by_app: bool = False, **parts: Any) -> MemoryRecord:
        """Write one record as it stands; see `Topics.append`."""
        record = self.topics.append(tp, **parts)
        if by_app:
            self.sent.append(record)
        self.trace.note("%s[%s]@%s is written", tp.topic, tp.partition, record.offset)
        self.wake()
        return record

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        """Somebody else's transaction: `async with kafka.transaction() as tx: await tx.send(...)`. Committed at the
        exit, aborted by an error or by `tx.abort()`; either way its markers take an offset in each partition."""
        transaction = Transaction(self, self.topics.begin_transaction(), self._write)
        try:
            yield transaction
        except BaseException:
            transaction.abort()
            raise
        transaction.commit()

    def records(
        self, topic: str, *, partition: int | None = None, isolation_level: Isolation = "read_committed"
    ) -> list[MemoryRecord]:
        """All records of a topic, by partition and offset. Nothing of a topic that nobody has made yet."""
        found = self.topics.records(topic, isolation_level)
        return found if partition is None else [record for record in found if record.partition == partition]

    def make_gap(self, topic: str, partition: int = 0, *, offsets: int = 1) -> None:
        """Offsets without a record come next, as markers and compaction leave them."""
        self.topics.log(TopicPartition(topic, partition)).skip(offsets)
        self.wake()

    def compact(self, topic: str, *, drop_tombstones: bool = False) -> None:
        """Log compaction: of each key only the last record stays; offsets stay what they are."""
        for log in self.topics.logs(topic):
            log.compact(drop_tombstones=drop_tombstones)

    def delete_records(self, topic: str, partition: int = 0, *, before: int) -> None:
        """Retention: what lies before this offset is gone. Who stands there is reset (`auto_offset_reset`)."""
        self.topics.log(TopicPartition(topic, partition)).truncate(before)
        self.wake()

    def lose_records(self, topic: str, partition: int = 0, *, after: int) -> None:
        """An unclean election: what lies from this offset on is gone. Who has read further goes on there."""
        self.topics.log(TopicPartition(topic, partition)).truncate_end(after)
        self.wake()

    def elect_leader(self, topic: str, partition: int = 0) -> None:
        """Another leader, with all that was written: a leader epoch of its own begins here."""
        self.topics.log(TopicPartition(topic, partition)).elect()
        self.wake()

    def make_unreadable(self, topic: str, partition: int = 0, *, offset: int) -> None:
        """The client cannot read this record, as if it had a bad checksum."""
        self.topics.log(TopicPartition(topic, partition)).unreadable.add(offset)

    # ------------------------------------------------------------------ groups

    def group(self, name: str) -> Group:
        if name not in self._groups:
            self._groups[name] = Group(name, self)
        return self._groups[name]

    # ------------------------------------------------------------------ faults

    def fail_commits(self, *faults: CommitFault) -> None:
        """The next commits fail, in this order: one fault each."""
        self.faults.fail_commits(*faults)

    def fail_polls(self, *errors: Exception) -> None:
        """The next polls raise these."""
        self.faults.fail_polls(*errors)
        self.wake()

    def fail_sends(self, *faults: SendFault, topic: str | None = None) -> None:
        """The next sends of apps (to this topic) fail, in this order: refused at once, or never answered."""
        self.faults.fail_sends(*faults, topic=topic)

    @contextmanager
    def latency(
        self, *, fetch_ms: Milliseconds = 0, commit_ms: Milliseconds = 0, produce_ms: Milliseconds = 0
    ) -> Iterator[None]:
        """From here to the exit answers take so long, on the virtual clock; (least, most) draws each by the seed."""
        faults = self.faults
        before = faults.fetch_s, faults.commit_s, faults.produce_s
        faults.fetch_s = seconds("fetch_ms", fetch_ms)
        faults.commit_s = seconds("commit_ms", commit_ms)
        faults.produce_s = seconds("produce_ms", produce_ms)
        try:
            yield
        finally:
            faults.fetch_s, faults.commit_s, faults.produce_s = before

    @property
    def away(self) -> bool:
        """True during an outage."""
        return self.faults.away

    def go_away(self) -> None:
        """An outage: polls bring nothing, commits and connections fail, sends wait, groups stand still."""
        self.trace.note("the outage begins")
        self.faults.away = True

    def come_back(self) -> None:
        self.trace.note("the outage ends")
        self.faults.away = False
        self.wake()

    # ------------------------------------------------------------------ the ports' side

    async def hop(self) -> None:
        """An answer takes a turn of the loop, or a few."""
        for _ in range(self.chance.randint(1, 3)):
            await asyncio.sleep(0)

    async def until_back(self) -> None:
        while self.away:
            await self.change()

    def change(self) -> asyncio.Future[None]:
        """Done at the next change of anything: a record, a rebalance, an outage's end."""
        change: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._changes[change] = None
        change.add_done_callback(lambda _: self._changes.pop(change, None))
        return change

    def wake(self) -> None:
        for change in tuple(self._changes):
            if not change.done():
                change.set_result(None)

    def background(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks[task] = None
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.pop(task, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._broken = error

    def raise_if_broken(self) -> None:
        """A fault of the in-memory Kafka itself must not look like one of the app's."""
        if self._broken is not None:
            broken, self._broken = self._broken, None
            raise RuntimeError(
                "the in-memory Kafka itself is broken; this is a fault in EVKafka's test kit"
            ) from broken

    def member(self, settings: ConsumerSettings) -> MemorySource:
        source = MemorySource(self, settings, order=len(self._members))
        self._members.append(source)
        return source
