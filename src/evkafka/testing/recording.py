"""What an app sends while it is under test: recorded, and confirmed at once."""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from evkafka.config.settings import ConnectionSettings, ConsumerSettings, ProducerSettings
from evkafka.records import Record, RecordMetadata
from evkafka.runtime.ports import RecordSource, TopicIds
from evkafka.sender import Sender
from evkafka.serde.annotations import raw_kind


@dataclass(frozen=True, slots=True)
class SentEvent:
    """One event that was sent.

    Attributes:
        event: the value, decoded: JSON where it is JSON, else text, else the bytes; None for a tombstone. What a
            Sender declares as `str` or `bytes` is that.
        event_type, topic, key: as they went out.
        value: the bytes; a tombstone has none (None, whatever the annotation says, so that others need no check).
        headers: by name, the `Event-Type` among them; the last one of a name, and none that is null.
        partition, timestamp_ms: as the send gave them; None where it left them open.
        producer: the name of the app's producer; for an EVKafkaProducer of the code's own, its `client_id`.
    """

    event: Any
    event_type: str
    topic: str
    key: bytes | None
    value: bytes
    headers: Mapping[str, bytes]
    partition: int | None
    timestamp_ms: int | None
    producer: str


class Positions:
    """Offsets that count up in each partition, for what is delivered and what is sent. From any thread."""

    def __init__(self) -> None:
        self._next: defaultdict[tuple[str, int], Iterator[int]] = defaultdict(itertools.count)

    def take(self, topic: str, partition: int) -> int:
        return next(self._next[topic, partition])


class RecordingCluster:
    """Stands where Kafka would: its sinks write into a list.

    Args:
        producer: how the app names the producer; None for those that the user's code makes itself.
        sender: what declares the producer's events, where the app does.
    """

    def __init__(
        self, sent: list[SentEvent], positions: Positions, producer: str | None = None, sender: Sender | None = None
    ) -> None:
        self._sent = sent
        self._positions = positions
        self._producer = producer
        self._sender = sender

    def source(self, settings: ConsumerSettings) -> RecordSource:
        raise RuntimeError(
            "a test client has no Kafka that an app could read from: run the app on evkafka.testing.InMemoryKafka"
        )

    def sink(self, settings: ProducerSettings) -> RecordingSink:
        name = self._producer or settings.connection.client_id
        declared = {e.event_type: e.payload for e in self._sender.endpoints} if self._sender is not None else {}
        return RecordingSink(self._sent, self._positions, name, declared)

    async def ensure_topics(
        self, connection: ConnectionSettings, wanted: Mapping[str, str], *, timeout_s: float
    ) -> Mapping[str, int]:
        return dict.fromkeys(wanted, 1)

    async def topic_ids(self, connection: ConnectionSettings, topics: Collection[str], *, timeout_s: float) -> TopicIds:
        return TopicIds(None, {})

    async def read_topic(
        self, connection: ConnectionSettings, topic: str, take: Callable[[Record], object], *, timeout_s: float
    ) -> None:
        """There is nothing to read."""


class RecordingSink:
    """One producer's."""

    def __init__(self, sent: list[SentEvent], positions: Positions, producer: str, declared: Mapping[str, Any]) -> None:
        self._sent = sent
        self._positions = positions
        self._producer = producer
        self._declared = declared

    async def start(self) -> None:
        """Nothing to connect to."""

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
        self._sent.append(
            SentEvent(
                event=decoded(value, self._declared.get(event_type or "")),
                event_type=event_type or "",
                topic=topic,
                key=key,
                value=cast(bytes, value),
                headers={name: header for name, header in headers if header is not None},
                partition=partition,
                timestamp_ms=timestamp_ms,
                producer=self._producer,
            )
        )
        confirmed: asyncio.Future[RecordMetadata] = asyncio.get_running_loop().create_future()
        place = partition or 0
        stamp = int(time.time() * 1000) if timestamp_ms is None else timestamp_ms
        confirmed.set_result(RecordMetadata(topic, place, self._positions.take(topic, place), stamp, 0, 0))
        return confirmed

    def unavailable_reason(self) -> str:
        return ""

    async def flush(self) -> None:
        """Everything is confirmed already."""

    async def stop(self, *, timeout_s: float) -> None:
        """Nothing to close."""


def decoded(value: bytes | None, declared: Any = None) -> Any:
    """A value as a test wants to see it; `declared` is the payload's type, where one is declared."""
    kind = raw_kind(declared)
    if value is None or kind is bytes:
        return value
    if kind is not str:
        try:
            return json.loads(value)
        except (ValueError, RecursionError):  # no JSON: text, or whatever
            pass
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value
