"""Apps that run on an in-memory Kafka: their running attempts, their unfinished work, and crashes."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from typing import Literal

from evkafka.app import EVKafkaApp
from evkafka.config.settings import ConnectionSettings, ConsumerSettings, ProducerSettings
from evkafka.records import Record
from evkafka.runtime.consumer import Consumer
from evkafka.runtime.ports import RecordSink, RecordSource, TopicIds
from evkafka.service.service import Service
from evkafka.telemetry import AttemptFailed
from evkafka.testing.cluster_ids import ClusterIds
from evkafka.testing.memory.clock_driver import Attempt
from evkafka.testing.memory.cluster import MemoryCluster
from evkafka.testing.memory.sink import MemorySink
from evkafka.testing.memory.source import MemorySource

MOST_NAMED = 5


class ClusterView:
    """The cluster as one app uses it. It keeps the app's sources and sinks, so that this app alone can crash."""

    def __init__(self, kafka: MemoryCluster, cluster_ids: ClusterIds) -> None:
        self._kafka = kafka
        self._cluster_ids = cluster_ids
        self.sources: list[MemorySource] = []
        self.sinks: list[MemorySink] = []

    def source(self, settings: ConsumerSettings) -> RecordSource:
        source = self._kafka.source(settings)
        self.sources.append(source)
        return source

    def sink(self, settings: ProducerSettings) -> RecordSink:
        sink = MemorySink(self._kafka, settings)
        self.sinks.append(sink)
        return sink

    async def ensure_topics(
        self, connection: ConnectionSettings, wanted: Mapping[str, str], *, timeout_s: float
    ) -> Mapping[str, int]:
        await self._kafka.check_reachable()
        topics = self._kafka.topics
        for name, like in wanted.items():
            if name not in topics:
                topics.create(name, len(topics.partitions(like)) or None)
        return {name: len(topics.partitions(name)) for name in wanted}

    async def topic_ids(self, connection: ConnectionSettings, topics: Collection[str], *, timeout_s: float) -> TopicIds:
        await self._kafka.check_reachable()
        found = {name: self._kafka.topics.topic_id(name) for name in topics if name in self._kafka.topics}
        return TopicIds(self._cluster_ids.id_of(connection), found)

    async def read_topic(
        self, connection: ConnectionSettings, topic: str, take: Callable[[Record], object], *, timeout_s: float
    ) -> None:
        await self._kafka.check_reachable()
        for record in self._kafka.records(topic) if topic in self._kafka.topics else ():
            take(record)


class RunningApp:
    """One app that runs on the cluster.

    Attributes:
        phase: outside `running` the clock is advanced for it, so that it can start and drain.
        service: the running service; None while the app starts.
        failures: (topic, partition, offset) -> the last failed attempt.
        stop_listening: stops the collection of failures.
    """

    def __init__(self, app: EVKafkaApp, view: ClusterView) -> None:
        self.app = app
        self.view = view
        self.phase: Literal["starting", "running", "ending", "ended"] = "starting"
        self.service: Service | None = None
        self.failures: dict[tuple[str, int, int], AttemptFailed] = {}
        self.stop_listening = app.telemetry.listen(AttemptFailed, self._on_attempt_failed)

    def _on_attempt_failed(self, event: AttemptFailed) -> None:
        if event.decision == "wait":
            self.failures[event.topic, event.partition, event.offset] = event

    def consumers(self) -> list[tuple[str, Consumer]]:
        return self.service.running_consumers() if self.service is not None else []

    @property
    def has_joined(self) -> bool:
        """True once its members have their partitions, or the app has failed."""
        failed = self.service is None or self.service.failure is not None
        return failed or all(source.has_joined for source in self.view.sources if source.alive)

    def crash(self) -> None:
        """As `kill -9`: no drain, no commit, no leaving of the group, no flush."""
        for source in self.view.sources:
            source.crash()
        for sink in self.view.sinks:
            sink.crash()
        if self.service is not None:
            self.service.abandon()

    # ------------------------------------------------------------------ work

    def running_attempts(self, sending: set[object]) -> list[Attempt]:
        """The attempts whose endpoints run now.

        Args:
            sending: tasks that wait for a send: only the virtual clock can wake them.
        """
        found = []
        for name, consumer in self.consumers():
            plan = self.service.plan_of_consumer(name) if self.service is not None else None
            if plan is not None and plan.formats is not None and plan.formats.is_asking:
                found.append(Attempt(name, "", -1, -1, 0, "the schema registry", in_thread=False))
            for executor in consumer.busy_executors:
                record, slot = executor.slot.record, executor.slot
                if record is None or executor.started_s == math.inf or executor.task in sending:
                    continue  # it writes a dead letter, or waits for a send
                thread = slot.thread_future
                endpoint = slot.route.name if slot.route is not None else "the middleware"
                in_thread = thread is not None and not thread.done()
                found.append(
                    Attempt(
                        name, record.topic, record.partition, record.offset, slot.attempt, endpoint, in_thread=in_thread
                    )
                )
        return found

    def describe_unfinished_work(self) -> list[str]:
        """Describe what it still has to do; empty if nothing."""
        words = []
        for name, consumer in self.consumers():
            if consumer.pending:
                words.append(f"consumer {name} has {consumer.pending} records unfinished")
            elif consumer.has_uncommitted:
                words.append(f"consumer {name} has not committed all finished records")
            elif not consumer.connected:
                words.append(f"consumer {name} is not connected")
        return words

    def explain_why_unfinished(self) -> list[str]:
        """Describe why it does not finish, as far as that is known."""
        words = [
            f"{attempt} is running and awaits something that does not happen"
            for attempt in self.running_attempts(set())
        ]
        for name, _ in self.consumers():
            control = self.app.consumer(name)
            words += [f"{tp.topic}[{tp.partition}] is paused in consumer {name}" for tp in sorted(control.paused)]
        open_ = [event for event in self.failures.values() if self._is_record_unfinished(event)]
        words += [
            f"{event.topic}[{event.partition}]@{event.offset} ({event.event_type}, {event.endpoint}) has failed"
            f" {event.attempt} times, most recently with {event.error!r}"
            for event in open_[:MOST_NAMED]
        ]
        if len(open_) > MOST_NAMED:
            words.append(f"and {len(open_) - MOST_NAMED} more like it")
        return words

    def _is_record_unfinished(self, event: AttemptFailed) -> bool:
        for _, consumer in self.consumers():
            oldest = consumer.oldest_unfinished_offset(event.topic, event.partition)
            if oldest is not None and event.offset >= oldest:
                return True
        return False
