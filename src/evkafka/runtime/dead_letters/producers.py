"""The producers of dead letters, and the partition counts of the topics that they write to."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from typing import Any

from evkafka.config.settings import ProducerSettings
from evkafka.records import Record
from evkafka.runtime.ports import Cluster, RecordSink

logger = logging.getLogger("evkafka.dead_letters")

LOOK_UP_S = 10.0


class DeadLetterProducer:
    """One producer of dead letters. It starts with the first dead letter."""

    def __init__(self, settings: ProducerSettings, cluster: Cluster) -> None:
        self.settings = settings
        self._cluster = cluster
        self._sink: RecordSink | None = None
        self._partitions: dict[str, int] = {}
        self._running: dict[str, asyncio.Task[None]] = {}

    async def look_up_or_create_topics(self, wanted: Mapping[str, str]) -> None:
        """Look up the partition counts of these topics, and create those that do not exist.

        Args:
            wanted: by topic, the topic whose partition count it gets if it is created.
        """
        counts = await self._cluster.ensure_topics(self.settings.connection, wanted, timeout_s=LOOK_UP_S)
        self._partitions.update(counts)

    async def start_sink_once(self) -> RecordSink:
        if self._sink is None:
            await self._share_start_or_topic_look_up("", self._start_sink)
        assert self._sink is not None
        return self._sink

    async def _start_sink(self) -> None:
        sink = self._cluster.sink(self.settings)
        await sink.start()
        self._sink = sink

    async def choose_partition(self, topic: str, record: Record) -> int | None:
        """The record's own partition, if the topic has so many; None to let the key decide."""
        while topic not in self._partitions:  # another write may have dropped the count before this one continues
            await self._share_start_or_topic_look_up(
                topic, lambda: self.look_up_or_create_topics({topic: record.topic})
            )
        return record.partition if record.partition < self._partitions[topic] else None

    async def refresh_and_check_if_record_moves(self, topic: str, record: Record, partition: int | None) -> bool:
        """Look the topic up again, create it if it is gone, and return whether the record now belongs to another
        partition."""
        self.forget_partition_count(topic)
        return await self.choose_partition(topic, record) != partition

    def forget_partition_count(self, topic: str) -> None:
        """Look the topic up again before the next write: it may have been created again with fewer partitions."""
        self._partitions.pop(topic, None)

    async def _share_start_or_topic_look_up(self, topic: str, attempt: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Share one attempt among all callers that need it, and raise its failure in each of them. If they took turns,
        each would learn that nothing can be written only after the timeouts of all callers before it.

        Args:
            topic: the topic that is looked up; empty for the start of the producer.
        """
        task = self._running.get(topic)
        if task is None:
            task = self._running[topic] = asyncio.ensure_future(attempt())
            task.add_done_callback(partial(self._forget_ended_start_or_look_up, topic))
        await asyncio.wait({task})
        await task

    def _forget_ended_start_or_look_up(self, topic: str, task: asyncio.Task[None]) -> None:
        del self._running[topic]
        # All callers may have been cancelled: asyncio would then report an error that nobody has retrieved.
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.debug("an attempt failed for %s: %s", topic or "the start of a dead-letter producer", error)

    async def stop(self, *, timeout_s: float) -> None:
        if running := set(self._running.values()):
            for task in running:
                task.cancel()
            await asyncio.wait(running, timeout=timeout_s)
        if self._sink is not None:
            await self._sink.stop(timeout_s=timeout_s)
