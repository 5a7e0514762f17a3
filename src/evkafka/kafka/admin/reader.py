"""A reader without a group, for whoever looks at a topic from outside of a consumer.

It returns an `UnreadRecord` instead of a record that cannot be read: a batch that is damaged, or decompresses to
gigabytes, does not hide the others.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from aiokafka import AIOKafkaConsumer
from aiokafka.consumer.fetcher import READ_UNCOMMITTED, FetchResult
from aiokafka.consumer.group_coordinator import NoGroupCoordinator
from aiokafka.structs import TopicPartition as ClientPartition

from evkafka.config.settings import ConnectionSettings, ConsumerSettings
from evkafka.kafka.client.client import Client
from evkafka.kafka.consumer.fetcher import RawFetcher
from evkafka.kafka.consumer.record_decoder import FetchedRecords, KafkaRecord
from evkafka.kafka.options import connection_options, fetcher_options_from_consumer
from evkafka.records import Record
from evkafka.runtime.ports import UnreadRecord

MAX_DECOMPRESSED_BYTES = ConsumerSettings().max_decompressed_bytes
"""A consumer's default, because the topic's consumers may not be known."""

DECODE_AT_ONCE = 100
"""How many records of a batch are decoded at a time."""

POLL_MS = 200
"""How long a poll waits for records."""

DECIDE_S = 2.0
"""How long `committed_record_ends` waits for transactions to be decided."""


class Reader(AIOKafkaConsumer):
    """AIOKafkaConsumer without a group, with our client. Start it, and stop it in any case."""

    _closed = True  # until the constructor has succeeded: aiokafka's __del__ fails for a constructor that raised

    def __init__(self, connection: ConnectionSettings, **options: Any) -> None:
        connecting = connection_options(connection)
        super().__init__(**connecting, enable_auto_commit=False, **options)
        self._client = Client(allow_auto_create_topics=True, answer_within_s={}, **connecting)
        self._assigned = 0

    async def start(self) -> None:
        """Replaces aiokafka's own, which creates its own fetcher."""
        await self._client.bootstrap()
        self._fetcher = DecodingFetcher(
            self._client,
            self._subscription,
            auto_offset_reset=self._auto_offset_reset,
            **fetcher_options_from_consumer(self),
        )
        self._coordinator = NoGroupCoordinator(
            self._client, self._subscription, exclude_internal_topics=self._exclude_internal_topics
        )

    @property
    def progress(self) -> object:
        """A value that changes while a large answer arrives, and when other offsets are read next."""
        return self._client.incoming_answer_progress, self._assigned

    # ------------------------------------------------------------------ offsets

    async def partitions_of_topic(self, topic: str) -> list[ClientPartition]:
        """The partitions of a topic; none if it does not exist."""
        return await partitions_of_topic(self, topic)

    async def written_ends(self, partitions: Sequence[ClientPartition]) -> Mapping[ClientPartition, int]:
        """The end of everything written, open transactions included."""
        fetcher = self._fetcher
        configured, fetcher._isolation_level = fetcher._isolation_level, READ_UNCOMMITTED
        try:
            ends: Mapping[ClientPartition, int] = await self.end_offsets(partitions)
        finally:
            fetcher._isolation_level = configured
        return ends

    async def committed_record_ends(self, partitions: Sequence[ClientPartition]) -> Mapping[ClientPartition, int]:
        """The end of the committed records.

        The commit of a transaction is answered a moment before its records can be read. So undecided transactions are
        given that moment; one that stays open is not waited for.
        """
        clock = asyncio.get_running_loop().time
        until_s = clock() + DECIDE_S
        written = await self.written_ends(partitions)
        while True:
            ends: Mapping[ClientPartition, int] = await self.end_offsets(partitions)
            if all(ends[at] >= written[at] for at in partitions) or clock() > until_s:
                return ends
            await asyncio.sleep(0.02)

    # ------------------------------------------------------------------ records

    def assign_at(self, offsets: Mapping[ClientPartition, int]) -> None:
        """Read these partitions from these offsets on."""
        self._assigned += 1
        self.assign(list(offsets))
        for at, offset in offsets.items():
            self.seek(at, offset)

    async def assign_from_beginning(self, topic: str) -> Mapping[ClientPartition, int]:
        """Read all partitions of a topic from their beginnings. Returns the ends of their committed records."""
        partitions = await self.partitions_of_topic(topic)
        ends = await self.committed_record_ends(partitions)
        self.assign_at(await self.beginning_offsets(partitions))
        return ends

    async def partitions_to_read(self, ends: Mapping[ClientPartition, int | None]) -> list[ClientPartition]:
        """The partitions that have not been read to their ends. None is no end: they never finish."""
        return [at for at, end in ends.items() if end is None or await self.position(at) < end]

    async def poll(
        self,
        partitions: Collection[ClientPartition],
        ends: Mapping[ClientPartition, int | None],
        max_records: int | None = None,
    ) -> Mapping[ClientPartition, Sequence[Record]]:
        """Wait up to `POLL_MS` for records of these partitions. Records at or after an end are left out."""
        fetched = await self.getmany(*partitions, timeout_ms=POLL_MS, max_records=max_records)
        batches = {}
        for at, records in fetched.items():
            end = ends[at]
            if wanted := [record for record in records if end is None or record.offset < end]:
                batches[at] = wanted
        return batches


async def partitions_of_topic(consumer: AIOKafkaConsumer, topic: str) -> list[ClientPartition]:
    """The partitions of a topic; none if it does not exist."""
    await consumer._client._wait_on_metadata(topic)
    return [ClientPartition(topic, number) for number in sorted(consumer.partitions_for_topic(topic) or ())]


class DecodingFetcher(RawFetcher):
    """aiokafka's Fetcher, with the decoder of a consumer."""

    async def _proc_fetch_request(self, assignment: Any, node_id: Any, request: Any) -> bool:
        """Replace what a fetch returned by our decoder before anything else can see it."""
        woke = bool(await super()._proc_fetch_request(assignment, node_id, request))
        for tp, raw in self._take_raw_batches_by_partition(request):
            result = self._records.get(tp)
            if type(result) is FetchResult and not isinstance(result._partition_records, DecodedRecords | None):
                decoder = self._create_decoder(FetchedRecords, tp, raw, result, MAX_DECOMPRESSED_BYTES)
                result._partition_records = DecodedRecords(decoder)
        return woke


class DecodedRecords:
    """The records of one fetch and one partition, as the iterator that aiokafka's FetchResult expects.

    Attributes:
        next_fetch_offset: the offset of the next record.
    """

    def __init__(self, unread: FetchedRecords) -> None:
        self._unread = unread
        self._decoded: deque[KafkaRecord] = deque()
        self.next_fetch_offset = unread.position

    def __iter__(self) -> DecodedRecords:
        return self

    def __next__(self) -> KafkaRecord | UnreadRecord:
        if not self._decoded:
            self._decoded.extend(self._unread.take(DECODE_AT_ONCE))
        if self._decoded:
            record = self._decoded.popleft()
            self.next_fetch_offset = record.offset + 1 if self._decoded else self._unread.position
            return record
        self.next_fetch_offset = self._unread.position
        damage, self._unread.damage = self._unread.damage, None
        if damage is None:
            raise StopIteration
        # The next fetch begins after the damage.
        self.next_fetch_offset = self._unread.position = damage.next_offset
        return UnreadRecord(self._unread.topic, self._unread.partition, damage.offset, damage.next_offset, damage.error)
