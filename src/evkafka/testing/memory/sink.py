"""A producer's sink, into the in-memory log."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

from evkafka.config.settings import ProducerSettings
from evkafka.exceptions import BrokerUnavailable, EVKafkaError
from evkafka.records import RecordMetadata, TopicPartition
from evkafka.runtime.clock import wait_any
from evkafka.testing.memory.partition_queue import PartitionQueue, PendingRecord, undelivered

if TYPE_CHECKING:
    from evkafka.testing.memory.cluster import MemoryCluster


class MemorySink:
    """Writes each partition's records in order and confirms them. In an outage they wait, as long as they may."""

    def __init__(self, kafka: MemoryCluster, settings: ProducerSettings) -> None:
        self._kafka = kafka
        self._settings = settings
        self._ways: dict[TopicPartition, PartitionQueue] = {}
        self._pending: dict[PendingRecord, None] = {}  # in order: a set's order would not be the same in every process

    async def start(self) -> None:
        await self._kafka.hop()
        if self._kafka.away:
            raise BrokerUnavailable("the in-memory Kafka is away")

    async def send(
        self,
        topic: str,
        *,
        value: bytes | None,
        key: bytes | None,
        partition: int | None,
        timestamp_ms: int | None,
        headers: Sequence[tuple[str, bytes | None]],
        event_type: str | None = None,
        timeout_s: float | None = None,
    ) -> asyncio.Future[RecordMetadata]:
        try:
            tp = self._kafka.topics.choose(topic, key, partition)
        except (EVKafkaError, ValueError) as error:  # an illegal name is a ValueError
            raise undelivered(event_type, topic, str(error), may_have_been_written=False) from error
        record = PendingRecord(
            tp,
            value,
            key,
            tuple(headers),
            self._kafka.clock.timestamp_ms() if timestamp_ms is None else timestamp_ms,
            event_type,
            self._settings.delivery_timeout_s if timeout_s is None else timeout_s,
            asyncio.get_running_loop().create_future(),
        )
        self._pending[record] = None
        self._kafka.sending[record] = None
        record.answer.add_done_callback(lambda _: self._ended(record))
        if tp not in self._ways:
            self._ways[tp] = PartitionQueue(self._kafka, tp)
        self._ways[tp].put(record)
        if self._settings.acks == 0:  # nobody answers, and whoever sends goes on at once
            record.answer.set_result(RecordMetadata(topic, tp.partition, -1, record.timestamp_ms, 0, -1))
        return record.answer

    def _ended(self, record: PendingRecord) -> None:
        self._pending.pop(record, None)
        self._kafka.sending.pop(record, None)

    def unavailable_reason(self) -> str:
        return "the in-memory Kafka is away" if self._kafka.away else ""

    async def flush(self) -> None:
        if self._pending:
            await asyncio.wait([record.answer for record in self._pending])

    async def stop(self, *, timeout_s: float) -> None:
        flushing = asyncio.ensure_future(self.flush())
        try:
            await wait_any(self._kafka.clock, flushing, timeout_s=timeout_s)
        finally:
            flushing.cancel()
        for record in tuple(self._pending):
            record.fail(f"its producer was stopped, within {timeout_s:g} s", may_have_been_written=record.gone)

    def crash(self) -> None:
        """The process is gone, and what was queued with it."""
        for way in self._ways.values():
            way.crash(arrives=self._kafka.chance.random() < 0.5)
