"""Records the events that an app sends under test, and confirms them at once."""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

from pydantic_core import to_jsonable_python

from evkafka.config.settings import ConnectionSettings, ConsumerSettings, ProducerSettings
from evkafka.records import Record, RecordMetadata
from evkafka.runtime.kept_sends import kept_sends
from evkafka.runtime.ports import Kept, OutgoingRecord, RecordSource, TopicIds
from evkafka.sender import OutboundEndpoint, Sender
from evkafka.serde.annotations import bytes_or_str_type
from evkafka.serde.cloudevents.reading import event_data_or_value
from evkafka.serde.formats.interface import DecodeValue, FormatError, ValueFormat
from evkafka.testing.cluster_ids import ClusterIds
from evkafka.testing.memory.partition_log import MemoryRecord


@dataclass(frozen=True, slots=True)
class SentEvent:
    """One event that was sent.

    Attributes:
        event: the decoded value: JSON if it is JSON, else text, else the bytes; None for a tombstone. A payload that
            a Sender declares as `str` or `bytes` is always that. Of a CloudEvent, its data. With a `value_format` it is
            the same as for JSON.
        event_type, topic, key: as they were sent.
        value: the bytes. None for a tombstone; the annotation says `bytes` so that tests of other events need no check.
        headers: by name, with the `Event-Type`; the last header of a name, and no null headers.
        partition, timestamp_ms: as given to the send; None if not given.
        producer: the name of the app's producer; for an EVKafkaProducer that the code creates itself, its `client_id`.
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


Decode = Callable[[bytes | None], Any]
"""Decodes a value that was sent."""


class OffsetCounter:
    """Offsets that count up in each partition, for delivered and sent records. Thread-safe."""

    def __init__(self) -> None:
        self._next: defaultdict[tuple[str, int], Iterator[int]] = defaultdict(itertools.count)

    def allocate(self, topic: str, partition: int) -> int:
        return next(self._next[topic, partition])


class SentEvents:
    """What was sent: a list that tests see, and what running exactly-once attempts have sent.

    Args:
        visible: the list.
    """

    def __init__(self, visible: list[SentEvent]) -> None:
        self._visible = visible
        self._kept: defaultdict[Kept | None, list[SentEvent]] = defaultdict(list)

    def add(self, event: SentEvent) -> None:
        self._visible.append(event)

    def keep_for_attempt(self, event: SentEvent) -> None:
        """The running attempt has sent it."""
        self._kept[kept_sends.get()].append(event)

    def add_or_drop_events_of_attempt(self, kept: Kept | None, *, written: bool) -> None:
        """The attempt with these kept sends has ended: what it has sent is written, or dropped."""
        events = self._kept.pop(kept, [])
        if kept is not None and written:
            self._visible += events[: len(kept.records)]  # the others came after its end, and were refused


class ProducerClusterWithoutTopics:
    """A cluster for producers only: its sinks append to a list. It has no topics, so there is nothing to read.

    Args:
        producer: the app's name for the producer; None for producers that the user's code creates itself.
        sender: the producer's Sender, if it is one of the app's.
    """

    def __init__(
        self,
        sent: SentEvents,
        offset_counter: OffsetCounter,
        cluster_ids: ClusterIds,
        producer: str | None = None,
        sender: Sender | None = None,
    ) -> None:
        self._sent = sent
        self._offset_counter = offset_counter
        self._producer = producer
        self._sender = sender
        self._cluster_ids = cluster_ids

    def source(self, settings: ConsumerSettings) -> RecordSource:
        raise RuntimeError("a test client has no Kafka to read from: run the app on evkafka.testing.InMemoryKafka")

    def sink(self, settings: ProducerSettings) -> RecordingSinkWithoutKafka:
        name = self._producer or settings.connection.client_id
        endpoints = self._sender.endpoints if self._sender is not None else ()
        declared = {endpoint.event_type: decoder_of_outbound_endpoint(endpoint) for endpoint in endpoints}
        return RecordingSinkWithoutKafka(self._sent, self._offset_counter, name, declared)

    async def ensure_topics(
        self, connection: ConnectionSettings, wanted: Mapping[str, str], *, timeout_s: float
    ) -> Mapping[str, int]:
        return dict.fromkeys(wanted, 1)

    async def topic_ids(self, connection: ConnectionSettings, topics: Collection[str], *, timeout_s: float) -> TopicIds:
        return TopicIds(self._cluster_ids.id_of(connection), {})

    async def read_topic(
        self, connection: ConnectionSettings, topic: str, take: Callable[[Record], object], *, timeout_s: float
    ) -> None:
        """There is nothing to read."""


class RecordingSinkWithoutKafka:
    """The sink of one producer."""

    def __init__(
        self, sent: SentEvents, offset_counter: OffsetCounter, producer: str, declared: Mapping[str, Decode]
    ) -> None:
        self._sent = sent
        self._offset_counter = offset_counter
        self._producer = producer
        self._declared = declared

    async def start(self) -> None:
        """Nothing to connect to."""

    async def queue_record(
        self, record: OutgoingRecord, *, timeout_s: float | None = None
    ) -> asyncio.Future[RecordMetadata]:
        self._sent.add(self._sent_event(record))
        confirmed: asyncio.Future[RecordMetadata] = asyncio.get_running_loop().create_future()
        number = record.partition or 0
        stamp = int(time.time() * 1000) if record.timestamp_ms is None else record.timestamp_ms
        offset = self._offset_counter.allocate(record.topic, number)
        confirmed.set_result(RecordMetadata(record.topic, number, offset, stamp, 0, 0))
        return confirmed

    async def with_chosen_partition(self, record: OutgoingRecord, *, timeout_s: float | None = None) -> OutgoingRecord:
        self._sent.keep_for_attempt(self._sent_event(record))
        return record._replace(partition=record.partition or 0)

    def _sent_event(self, record: OutgoingRecord) -> SentEvent:
        topic, value, key, partition, timestamp_ms, headers, event_type, *_ = record
        return SentEvent(
            event=self._declared.get(event_type or "", decode_sent_value)(event_data_or_value(value, headers)),
            event_type=event_type or "",
            topic=topic,
            key=key,
            value=cast(bytes, value),
            headers={name: header for name, header in headers if header is not None},
            partition=partition,
            timestamp_ms=timestamp_ms,
            producer=self._producer,
        )

    def size_as_single_record_batch(self, record: OutgoingRecord) -> int:
        return 0  # no topic has a limit

    def unavailable_reason(self) -> str:
        return ""

    async def flush(self) -> None:
        """Everything is confirmed already."""

    async def stop(self, *, timeout_s: float) -> None:
        """Nothing to close."""


def decoder_of_outbound_endpoint(endpoint: OutboundEndpoint[Any]) -> Decode:
    """Decodes the values of a declared event."""
    if endpoint.value_format is None:
        return lambda value: decode_sent_value(value, endpoint.payload_type)
    return partial(_decode_value_by_format, endpoint.value_format, endpoint.value_format.decoder_to_plain_objects())


def _decode_value_by_format(value_format: ValueFormat, decode: DecodeValue, value: bytes | None) -> Any:
    record = MemoryRecord("", -1, -1, -1, None, value, ())  # formats take a record; only its value is known here
    if value is None or not value_format.is_record_schema_known(record):
        return value
    try:
        return to_jsonable_python(decode(value, record))
    except FormatError:  # bytes that the app has encoded itself
        return value


def decode_sent_value(value: bytes | None, declared: Any = None) -> Any:
    """The value decoded for tests; `declared` is the payload's declared type, if there is one."""
    kind = bytes_or_str_type(declared)
    if value is None or kind is bytes:
        return value
    if kind is not str:
        try:
            return json.loads(value)
        except (ValueError, RecursionError):  # not JSON: text or bytes
            pass
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value
