"""The in-memory Kafka: what a test sets up, runs its app on, breaks, and looks into."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Literal, Self

from evkafka.app import EVKafkaApp
from evkafka.codec import encode
from evkafka.exceptions import EVKafkaError
from evkafka.ports import RecordSink, RecordSource, TopicPartition
from evkafka.runtime.producer import Headers, Key, header_list, key_bytes
from evkafka.service import Service
from evkafka.settings import ConsumerSettings, ProducerSettings
from evkafka.testing.memory.clock import VirtualClock
from evkafka.testing.memory.group import Group
from evkafka.testing.memory.log import MemoryRecord, PartitionLog, partition_of
from evkafka.testing.memory.sink import MemorySink
from evkafka.testing.memory.source import MemorySource

CommitFault = Literal["refused", "unavailable", "unknown, written", "unknown, lost"]

STUCK_S = 1.0
"""How long (really) an endpoint may await something before the virtual clock goes on without it."""


class NotSettled(EVKafkaError, AssertionError):
    """The clock ran to its limit and there was still something to do; the message says what."""


class InMemoryKafka:
    """A Kafka without a network. Use as `async with InMemoryKafka() as kafka, kafka.running(app):`.

    Args:
        seed: everything that is left to chance (how many turns of the loop an answer takes, the partition of a
            record without a key) comes from it: the same seed gives the same run.
        partitions: of a topic that is not made by `create_topic`.

    Attributes:
        clock: the virtual clock of every app that runs on it.
        away: True during an outage.
    """

    def __init__(self, *, seed: int = 0, partitions: int = 4) -> None:
        self.clock = VirtualClock()
        self.away = False
        self._random = random.Random(seed)
        self._partitions = partitions
        self._logs: dict[str, list[PartitionLog]] = {}
        self._groups: dict[str, Group] = {}
        self._members: list[tuple[MemorySource, ClusterView]] = []
        self._services: dict[int, Service] = {}
        self._views: dict[int, ClusterView] = {}
        self._commit_faults: list[CommitFault] = []
        self._poll_faults: list[Exception] = []
        self._changes: set[asyncio.Future[None]] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._turning = 0

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
    async def running(self, app: EVKafkaApp) -> AsyncIterator[Mapping[str, Any]]:
        """Run the app on this Kafka, with its virtual clock; stopped (drained, committed) at the exit.

        Raises:
            StartFailed: at the entry. StopApp, BrokerError: at the exit, when a consumer could not be saved.
        """
        view = ClusterView(self)
        async with app.running(cluster=view, clock=self.clock, on_failure=lambda _: None) as state:
            assert app.service is not None
            self._services[id(app)], self._views[id(app)] = app.service, view
            self.background(self._tick_when_leaving(app.service))
            try:
                yield state
            finally:
                app.service.stop()
                self._services.pop(id(app), None)
                self._views.pop(id(app), None)

    async def _tick_when_leaving(self, service: Service) -> None:
        """An app that ends (at the exit, by `stop()`, by a fatal record) drains on the virtual clock: let it move."""
        await service.until_stop()
        patience_until_s = asyncio.get_running_loop().time() + STUCK_S
        while service.draining:
            await self._turns()
            await asyncio.sleep(0.001 if self._busy_in_user_code(service) else 0)
            # Endpoints may end by themselves, really; one that does not must be cut by the drain's time.
            stuck = asyncio.get_running_loop().time() > patience_until_s
            if (stuck or not self._busy_in_user_code(service)) and (due := self.clock.next_due()) is not None:
                self.clock.jump(due)

    async def crash(self, app: EVKafkaApp) -> None:
        """What kill -9 does: no drain, no commit, no leaving. Its group notices when the session has expired."""
        for source in self._views[id(app)].sources:
            source.crash()
        self._services.pop(id(app)).abandon()
        await self._turns()

    async def rebalance(self, group: str) -> None:
        """Make the group rebalance, and wait for its end."""
        self.group(group).rebalance()
        while self.group(group).rebalancing:
            await self._turns()
            if self.group(group).rebalancing and (due := self.clock.next_due()) is not None:
                self.clock.jump(due)

    async def expire(self, app: EVKafkaApp) -> None:
        """Let the sessions of the app's members expire without their knowing, as a frozen process's do."""
        for source in self._views[id(app)].sources:
            source.expire()
        await self._turns()

    # ------------------------------------------------------------------ time

    async def advance(self, *, ms: float) -> None:
        """Let this time pass, timer by timer."""
        until_s = self.clock.now() + ms / 1000
        await self._turns()
        while (due := self.clock.next_due()) is not None and due <= until_s:
            self.clock.jump(due)
            await self._turns()
        self.clock.jump(until_s)
        await self._turns()

    async def settle(self, *, max_ms: float = 3_600_000) -> None:
        """Let time pass until every record is handled and committed. Endpoints' own awaits are waited for, really.

        Raises:
            NotSettled: this much time has passed and there is still something to do.
        """
        until_s = self.clock.now() + max_ms / 1000
        while True:
            await self._turns()
            await self._wait_for_user_code()
            unfinished = self.unfinished()
            if not unfinished:
                return
            due = self.clock.next_due()
            if due is None or due > until_s:
                raise NotSettled(
                    f"not settled after {max_ms / 1000:.0f} s of the virtual clock: {'; '.join(unfinished)}"
                )
            self.clock.jump(due)

    def unfinished(self) -> list[str]:
        """What is still to be done, in words; empty where nothing is."""
        words = [f"group {group.name} rebalances" for group in self._groups.values() if group.rebalancing]
        for service in self._services.values():
            for name, consumer in service.alive():
                if consumer.pending:
                    words.append(f"consumer {name} has {consumer.pending} records unfinished")
                elif consumer.uncommitted:
                    words.append(f"consumer {name} has not committed all that it has done")
                elif not consumer.connected:
                    words.append(f"consumer {name} is not connected")
        words += [f"a member {todo}" for source, _ in self._members if (todo := source.unfinished())]
        words += ["a crashed member's session has not expired yet" for source, _ in self._members if source.haunts]
        words += [
            "a member's session has expired and it has not joined again"
            for s, _ in self._members
            if s.alive and s.expired
        ]
        return words

    async def _turns(self) -> None:
        """Give the loop turns until nobody else wants one, but others who do the same."""
        ready = getattr(asyncio.get_running_loop(), "_ready", ())
        self._turning += 1
        try:
            for _ in range(10_000):
                await asyncio.sleep(0)
                if len(ready) < self._turning:
                    return
        finally:
            self._turning -= 1

    async def _wait_for_user_code(self) -> None:
        """An endpoint that awaits something real is waited for, for a while."""
        loop = asyncio.get_running_loop()
        until_s = loop.time() + STUCK_S
        while loop.time() < until_s and any(map(self._busy_in_user_code, self._services.values())):
            await asyncio.sleep(0.001)
            await self._turns()

    @staticmethod
    def _busy_in_user_code(service: Service) -> bool:
        return any(consumer.in_flight for _, consumer in service.alive())

    # ------------------------------------------------------------------ topics and records

    def create_topic(self, name: str, partitions: int) -> None:
        self._logs[name] = [PartitionLog(TopicPartition(name, number)) for number in range(partitions)]

    def add_partitions(self, name: str, count: int) -> None:
        """The topic gets more partitions; groups that read it rebalance, as they do when metadata shows it."""
        logs = self._logs[name]
        logs.extend(PartitionLog(TopicPartition(name, len(logs) + number)) for number in range(count))
        for group in self._groups.values():
            if any(name in member.topics() for member in group.members):
                group.rebalance()

    def ensure_topic(self, name: str) -> None:
        if name not in self._logs:
            self.create_topic(name, self._partitions)

    def topics(self) -> Sequence[str]:
        return sorted(self._logs)

    def partitions(self, topic: str) -> Sequence[TopicPartition]:
        self.ensure_topic(topic)
        return [log.tp for log in self._logs[topic]]

    def log(self, tp: TopicPartition) -> PartitionLog:
        return self._logs[tp.topic][tp.partition]

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
        """Write one record; None is a tombstone, no event type means no `Event-Type` header."""
        pairs = header_list(headers, event_type or "")
        if event_type is None:
            pairs = [*(headers.items() if isinstance(headers, Mapping) else headers or ())]
        return self.append(
            topic,
            value=None if event is None else encode(event),
            key=key_bytes(key),
            partition=partition,
            timestamp_ms=timestamp_ms,
            headers=tuple(pairs),
        )

    def append(
        self,
        topic: str,
        *,
        value: bytes | None,
        key: bytes | None,
        partition: int | None,
        timestamp_ms: int | None,
        headers: tuple[tuple[str, bytes | None], ...],
    ) -> MemoryRecord:
        self.ensure_topic(topic)
        logs = self._logs[topic]
        if partition is None:
            partition = partition_of(key, len(logs)) if key is not None else self._random.randrange(len(logs))
        record = logs[partition].append(
            key=key,
            value=value,
            headers=headers,
            timestamp_ms=int(self.clock.now() * 1000) if timestamp_ms is None else timestamp_ms,
        )
        self.wake()
        return record

    def records(self, topic: str) -> list[MemoryRecord]:
        """All records of a topic, by partition and offset."""
        return [record for log in self._logs.get(topic, ()) for record in log.records]

    # ------------------------------------------------------------------ groups

    def group(self, name: str) -> Group:
        if name not in self._groups:
            self._groups[name] = Group(name, self)
        return self._groups[name]

    def committed(self, group: str, topic: str, partition: int) -> int | None:
        """The group's committed offset; None where there is none."""
        return self.group(group).committed.get(TopicPartition(topic, partition))

    def assert_committed(self, *, group: str, topic: str, partition: int, offset: int | None) -> None:
        """Fail unless this is the committed offset (None: there is none)."""
        found = self.committed(group, topic, partition)
        assert found == offset, f"group {group!r} has committed {found} of {topic}[{partition}], not {offset}"

    # ------------------------------------------------------------------ faults

    def fail_commits(self, *faults: CommitFault) -> None:
        """The next commits fail, in this order: one fault each."""
        self._commit_faults.extend(faults)

    def fail_polls(self, *errors: Exception) -> None:
        """The next polls raise these."""
        self._poll_faults.extend(errors)
        self.wake()

    def go_away(self) -> None:
        """An outage: polls bring nothing, commits and connections fail, sends wait."""
        self.away = True

    def come_back(self) -> None:
        self.away = False
        self.wake()

    def take_commit_fault(self) -> CommitFault | None:
        return self._commit_faults.pop(0) if self._commit_faults else None

    def take_poll_fault(self) -> Exception | None:
        return self._poll_faults.pop(0) if self._poll_faults else None

    # ------------------------------------------------------------------ the ports' side

    async def hop(self) -> None:
        """An answer takes a turn of the loop, or a few."""
        for _ in range(self._random.randint(1, 3)):
            await asyncio.sleep(0)

    def change(self) -> asyncio.Future[None]:
        """Done at the next change of anything: a record, a rebalance, an outage's end."""
        change: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._changes.add(change)
        change.add_done_callback(self._changes.discard)
        return change

    def wake(self) -> None:
        for change in tuple(self._changes):
            if not change.done():
                change.set_result(None)

    def background(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def member(self, view: ClusterView, settings: ConsumerSettings) -> MemorySource:
        source = MemorySource(self, settings, order=len(self._members))
        self._members.append((source, view))
        return source


class ClusterView:
    """This Kafka as one app sees it: it remembers the app's sources, so that the app alone can crash."""

    def __init__(self, kafka: InMemoryKafka) -> None:
        self._kafka = kafka
        self.sources: list[MemorySource] = []

    def source(self, settings: ConsumerSettings) -> RecordSource:
        source = self._kafka.member(self, settings)
        self.sources.append(source)
        return source

    def sink(self, settings: ProducerSettings) -> RecordSink:
        return MemorySink(self._kafka, settings)
