"""A producer's sink, into the in-memory log."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

from evkafka.exceptions import BrokerUnavailable
from evkafka.ports import RecordMetadata

if TYPE_CHECKING:
    from evkafka.testing.memory.kafka import InMemoryKafka


class MemorySink:
    """Writes at once, and confirms a few turns of the loop later."""

    def __init__(self, kafka: InMemoryKafka) -> None:
        self._kafka = kafka
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
    ) -> asyncio.Future[RecordMetadata]:
        confirmed = asyncio.ensure_future(self._write(topic, value, key, partition, timestamp_ms, headers))
        self._pending.add(confirmed)
        confirmed.add_done_callback(self._pending.discard)
        return confirmed

    async def _write(
        self,
        topic: str,
        value: bytes | None,
        key: bytes | None,
        partition: int | None,
        timestamp_ms: int | None,
        headers: Sequence[tuple[str, bytes | None]],
    ) -> RecordMetadata:
        while self._kafka.away:
            await self._kafka.change()
        record = self._kafka.append(
            topic, value=value, key=key, partition=partition, timestamp_ms=timestamp_ms, headers=tuple(headers)
        )
        await self._kafka.hop()
        return RecordMetadata(topic, record.partition, record.offset, record.timestamp, 0, 0)

    async def flush(self) -> None:
        if self._pending:
            await asyncio.wait(self._pending)

    async def stop(self, *, timeout_s: float) -> None:
        if self._pending:
            await asyncio.wait(self._pending, timeout=timeout_s)
