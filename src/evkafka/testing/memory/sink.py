"""A producer's sink, into the in-memory log."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

from evkafka.exceptions import BrokerUnavailable, DeliveryError
from evkafka.ports import RecordMetadata
from evkafka.runtime.clock import wait_any
from evkafka.settings import ProducerSettings

if TYPE_CHECKING:
    from evkafka.testing.memory.kafka import InMemoryKafka


class MemorySink:
    """Writes at once, and confirms a few turns of the loop later. In an outage records wait, as long as they may."""

    def __init__(self, kafka: InMemoryKafka, settings: ProducerSettings) -> None:
        self._kafka = kafka
        self._settings = settings
        self._pending: set[asyncio.Future[RecordMetadata]] = set()

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
        within_s = self._settings.delivery_timeout_s if timeout_s is None else timeout_s

        async def write() -> RecordMetadata:
            await self._outage(topic, event_type, within_s)
            record = self._kafka.append(
                topic, value=value, key=key, partition=partition, timestamp_ms=timestamp_ms, headers=tuple(headers)
            )
            await self._kafka.hop()
            return RecordMetadata(topic, record.partition, record.offset, record.timestamp, 0, 0)

        confirmed = asyncio.ensure_future(write())
        self._pending.add(confirmed)
        confirmed.add_done_callback(self._pending.discard)
        return confirmed

    async def _outage(self, topic: str, event_type: str | None, within_s: float) -> None:
        """Return when the cluster is there."""
        deadline_s = self._kafka.clock.now() + within_s
        while self._kafka.away:
            left_s = deadline_s - self._kafka.clock.now()
            if left_s <= 0:
                raise DeliveryError(
                    f"event {event_type!r} to topic {topic!r} was not delivered: the in-memory Kafka was away for"
                    f" {within_s:g} s; it was not written",
                    topic=topic,
                    event_type=event_type,
                    may_have_been_written=False,
                )
            await wait_any(self._kafka.clock, self._kafka.change(), timeout_s=left_s)

    async def flush(self) -> None:
        if self._pending:
            await asyncio.wait(self._pending)

    async def stop(self, *, timeout_s: float) -> None:
        if self._pending:
            await asyncio.wait(self._pending, timeout=timeout_s)
