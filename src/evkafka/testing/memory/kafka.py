"""The in-memory Kafka: its topics and groups, its time, what goes wrong in it, and the apps that run on it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Coroutine, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import Any, Self

from evkafka.app import EVKafkaApp
from evkafka.exceptions import EVKafkaError
from evkafka.ports import TopicPartition
from evkafka.runtime.ambient import Ambient, stand_in
from evkafka.runtime.producer import Headers, Key
from evkafka.settings import ConsumerSettings
from evkafka.testing.memory import expect
from evkafka.testing.memory.apps import ClusterView, RunningApp
from evkafka.testing.memory.clock import VirtualClock
from evkafka.testing.memory.driver import Attempt, Driver
from evkafka.testing.memory.faults import CommitFault, Faults, Milliseconds, SendFault, seconds
from evkafka.testing.memory.group import Group
from evkafka.testing.memory.log import Isolation, MemoryRecord
from evkafka.testing.memory.outgoing import Outgoing
from evkafka.testing.memory.source import MemorySource
from evkafka.testing.memory.topics import Topics
from evkafka.testing.memory.trace import Trace
from evkafka.testing.memory.writing import Transaction, encoded

LONGEST_REBALANCE_S = 600.0


class NotSettled(EVKafkaError, AssertionError):
    """The clock ran to its limit and there was still something to do; the message says what."""


class InMemoryKafka:
    """A Kafka without a network. Use as `async with InMemoryKafka() as kafka, kafka.running(app):`.

    Everything in here is done with the loop that it is used in; nothing of it is for threads.

    Args:
        seed: everything that is left to chance (how many turns of the loop an answer takes, the partition of a
            record without a key, the jitter of a backoff) comes from it: the same seed gives the same run.
        partitions: of a topic that is not made by `create_topic`.
        auto_create_topics: a topic is made when something is sent to it, or subscribes to it. False: sends to an
            unknown topic fail, and a consumer waits for its topic, as at a cluster that makes none by itself.

    Attributes:
        clock: the virtual clock of every app that runs on it.
        topics: all topics and their logs.
        faults: what goes wrong, and how long answers take.
        trace: what happened, in order.
    """

    def __init__(self, *, seed: int = 0, partitions: int = 1, auto_create_topics: bool = True) -> None:
        self.clock = VirtualClock()
        self.chance = random.Random(seed)
        self.trace = Trace(self.clock)
        self.faults = Faults(self.chance)
        self.topics = Topics(partitions=partitions, auto_create=auto_create_topics, chance=self.chance)
        self.topics.on_new_topic = self._topic_changed
        self.sending: dict[Outgoing, None] = {}
        self.sent: list[MemoryRecord] = []  # by apps, in order
        self._driver = Driver(self.clock, self._at_work)
        self._groups: dict[str, Group] = {}
        self._members: list[MemorySource] = []
        self._apps: dict[EVKafkaApp, RunningApp] = {}
        self._has_run = False
        self._changes: dict[asyncio.Future[None], None] = {}  # in order, so that all wake in the same one
        self._tasks: dict[asyncio.Task[None], None] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        for group in self._groups.values():
            await group.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # ------------------------------------------------------------------ running an app

    @asynccontextmanager
    async def running(self, app: EVKafkaApp, *, joined: bool = True) -> AsyncIterator[Mapping[str, Any]]:
        """Run the app on this Kafka, with its virtual clock; stopped (drained, committed) at the exit.

        Its producers write here, and so do the `EVKafkaProducer`s that are started inside, by whomever.

        Args:
            joined: enter when its consumers have their partitions (default); False: as soon as it has started.

        Raises:
            StartFailed: at the entry. StopApp, BrokerError: at the exit, when a consumer could not be saved.
        """
        running = RunningApp(app, ClusterView(self))
        self._apps[app] = running
        self._has_run = True
        ending = asyncio.Event()
        self.background(self._move_time_for(running, ending))
        try:
            async with AsyncExitStack() as stack:
                stack.enter_context(stand_in(Ambient(running.view, self.clock, self.chance.random)))
                starts = app.running(cluster=running.view, clock=self.clock, on_failure=lambda _: None)
                state = await stack.enter_async_context(starts)
                running.service, running.phase = app.service, "running"
                if joined and not self.away:
                    await self._driver.drive(lambda: running.joined, most_s=LONGEST_REBALANCE_S)
                try:
                    yield state
                finally:
                    running.phase = "ending"
                    ending.set()
                    if running.service is not None:
                        running.service.stop()
        finally:
            running.phase = "ended"
            ending.set()
            running.deaf()
            if self._apps.get(app) is running:
                del self._apps[app]

    async def _move_time_for(self, running: RunningApp, ending: asyncio.Event) -> None:
        """An app that starts, or ends (at the exit, by `stop()`, by a fatal record), needs time to pass, whether
        somebody lets it pass or not."""
        while running.phase == "starting":
            await self._tick(needed=bool(self.sending))
        if running.service is not None:
            await running.service.until_stop()
            while running.service.draining:
                await self._tick(needed=True)
        await ending.wait()
        while running.phase != "ended":
            await self._tick(needed=bool(self.sending))

    async def _tick(self, *, needed: bool) -> None:
        if not needed:
            await asyncio.sleep(0.001)
            return
        await self._driver.quiet()
        if (due := self.clock.next_due()) is not None:
            self.clock.jump(due)

    def _app(self, app: EVKafkaApp) -> RunningApp:
        if app not in self._apps:
            raise RuntimeError(f"app {app.title!r} does not run on this Kafka: use `async with kafka.running(app):`")
        return self._apps[app]

    async def crash(self, app: EVKafkaApp) -> None:
        """What kill -9 does: no drain, no commit, no leaving. Its group notices when the session has expired.

        Raises:
            RuntimeError: the app is not running here.
        """
        running = self._app(app)
        running.crash()
        del self._apps[app]
        await self._driver.turns()

    async def expire(self, app: EVKafkaApp) -> None:
        """Let the sessions of the app's members expire without their knowing, as a frozen process's do.

        Raises:
            RuntimeError: the app is not running here.
        """
        for source in self._app(app).view.sources:
            source.expire()
        await self._driver.turns()

    async def rebalance(self, group: str | None = None) -> None:
        """Make the group (None: every group) rebalance, and let time pass until it has.

        Raises:
            NotSettled: it has not come to an end within ten minutes of the virtual clock.
        """
        groups = list(self._groups.values()) if group is None else [self._known_group(group)]
        for one in groups:
            one.rebalance()
        if not await self._driver.drive(lambda: not any(one.rebalancing for one in groups), most_s=LONGEST_REBALANCE_S):
            raise NotSettled(f"the rebalance has not ended: {'; '.join(self._explain(self.unfinished()))}")

    # ------------------------------------------------------------------ time

    async def advance(self, *, ms: float) -> None:
        """Let this time pass, timer by timer. Endpoints' own awaits are waited for, really, for a second at most."""
        await self._driver.advance(ms / 1000)

    async def settle(self, *, max_ms: float = 3_600_000) -> None:
        """Let time pass until every record is handled and committed. Endpoints' own awaits are waited for, really.

        Raises:
            NotSettled: this much time has passed and there is still something to do.
            RuntimeError: no app has run here yet.
        """
        if not self._has_run:
            raise RuntimeError("no app has run on this Kafka yet: use `async with kafka.running(app):`")
        if not await self._driver.drive(lambda: not self.unfinished(), most_s=max_ms / 1000):
            words = "\n- ".join(self._explain(self.unfinished()))
            raise NotSettled(f"not settled after {max_ms / 1000:g} s of the virtual clock:\n- {words}")

    def unfinished(self) -> list[str]:
        """What is still to be done, in words; empty where nothing is."""
        words = [f"group {group.name} rebalances" for group in self._groups.values() if group.rebalancing]
        for running in self._apps.values():
            words += running.unfinished()
        for source in self._members:
            words += source.unfinished()
        if self.sending:
            words.append(f"{len(self.sending)} sends are not confirmed yet")
        return words

    def _explain(self, words: list[str]) -> list[str]:
        because = [word for running in self._apps.values() for word in running.explain()]
        away = ["the in-memory Kafka is away: `come_back()` ends the outage"] if self.away else []
        return [*because, *away, *words]

    def _at_work(self) -> list[Attempt]:
        tasks: set[object] = {record.task for record in self.sending}
        return [attempt for running in self._apps.values() for attempt in running.at_work(tasks)]

    # ------------------------------------------------------------------ topics and records

    def create_topic(self, name: str, partitions: int = 1) -> None:
        """Raises:
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
        """An unclean election: what lies from this offset on is gone. Who has read further is reset."""
        self.topics.log(TopicPartition(topic, partition)).truncate_end(after)
        self.wake()

    def make_unreadable(self, topic: str, partition: int = 0, *, offset: int) -> None:
        """The client cannot read this record, as if it had a bad checksum."""
        self.topics.log(TopicPartition(topic, partition)).unreadable.add(offset)

    # ------------------------------------------------------------------ groups, and what tests assert

    def group(self, name: str) -> Group:
        if name not in self._groups:
            self._groups[name] = Group(name, self)
        return self._groups[name]

    def _known_group(self, name: str) -> Group:
        if name not in self._groups:
            raise RuntimeError(expect.no_group(name, self._groups))
        return self._groups[name]

    def committed(self, group: str, topic: str, partition: int = 0) -> int | None:
        """The group's committed offset; None where there is none."""
        return self.group(group).committed.get(TopicPartition(topic, partition))

    def committed_metadata(self, group: str, topic: str, partition: int = 0) -> str:
        """What was committed beside the offset; empty where there was nothing."""
        return self.group(group).metadata.get(TopicPartition(topic, partition), "")

    def commit(self, group: str, topic: str, partition: int = 0, *, offset: int, metadata: str = "") -> None:
        """Write a group's offset by hand, as an admin tool does while nobody of the group runs."""
        tp = TopicPartition(topic, partition)
        self.topics.log(tp)
        self.group(group).write({tp: offset}, {tp: metadata} if metadata else {})

    def assert_committed(self, *, group: str, topic: str, partition: int = 0, offset: int | None) -> None:
        """Fail unless this is the group's committed offset (None: there is none); the error shows what is."""
        expect.committed(self._groups, self.topics, group, TopicPartition(topic, partition), offset)

    def assert_sent(
        self,
        topic: str,
        event_type: str | None = None,
        *,
        event: Any = expect.ANY,
        key: Any = expect.ANY,
        headers: Mapping[str, bytes | str | None] | None = None,
        times: int | None = None,
    ) -> list[MemoryRecord]:
        """Fail unless an app has written such a record; the error shows what is there instead. Returns what matched.

        Args:
            event: what its value must be, encoded as a producer would; JSON is compared by its meaning.
            headers: those that it must have, among others.
            times: exactly so many; None: one or more; 0: none.
        """
        return expect.sent(self, topic, event_type, event=event, key=key, headers=headers, times=times)

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

    @asynccontextmanager
    async def outage(self, *, ms: float = 0) -> AsyncIterator[None]:
        """Away inside, back at the exit, after this much time has passed there."""
        self.go_away()
        try:
            yield
            await self.advance(ms=ms)
        finally:
            self.come_back()

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
        task.add_done_callback(lambda _: self._tasks.pop(task, None))
        return task

    def member(self, settings: ConsumerSettings) -> MemorySource:
        source = MemorySource(self, settings, order=len(self._members))
        self._members.append(source)
        return source
