"""Readers outside of a consumer: whoever looks at a topic for a person, or for a replay.

They have no group. What they cannot read is handed out as a record of its own, which says why: one batch that is
damaged, or unpacks to gigabytes, hides no other.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from aiokafka import AIOKafkaConsumer
from aiokafka.consumer.fetcher import READ_COMMITTED, Fetcher, FetchResult
from aiokafka.consumer.group_coordinator import NoGroupCoordinator
from aiokafka.structs import TopicPartition as ClientPartition

from evkafka.config.settings import ConnectionSettings, ConsumerSettings
from evkafka.kafka.client.client import Client
from evkafka.kafka.consumer.record_decoder import FetchedRecords, KafkaRecord
from evkafka.kafka.options import connection_options
from evkafka.runtime.ports import UnreadRecord

MOST_UNPACKED = ConsumerSettings().max_decompressed_bytes
"""A consumer's default: whoever looks at a topic may not know which consumers read it."""

AT_ONCE = 100
"""So many records are made of a batch at a time."""


def reader_client(connection: ConnectionSettings, **more: Any) -> Reader:
    """A reader without a group, that is to be started, and stopped in any case."""
    return Reader(connection, **more)


class Reader(AIOKafkaConsumer):
    """AIOKafkaConsumer without a group, with a contained client and a bounded fetcher."""

    _closed = True  # until it is made: aiokafka's __del__ trips over a constructor that raised

    def __init__(self, connection: ConnectionSettings, **more: Any) -> None:
        options = connection_options(connection)
        super().__init__(**options, enable_auto_commit=False, **more)
        self._client = Client(allow_auto_create_topics=True, answer_within_s={}, **options)

    async def start(self) -> None:
        """In place of aiokafka's own, which makes its own fetcher."""
        await self._client.bootstrap()
        self._fetcher = BoundedFetcher(
            self._client,
            self._subscription,
            fetch_min_bytes=self._fetch_min_bytes,
            fetch_max_bytes=self._fetch_max_bytes,
            fetch_max_wait_ms=self._fetch_max_wait_ms,
            max_partition_fetch_bytes=self._max_partition_fetch_bytes,
            check_crcs=self._check_crcs,
            fetcher_timeout=self._consumer_timeout,
            retry_backoff_ms=self._retry_backoff_ms,
            auto_offset_reset=self._auto_offset_reset,
            isolation_level=self._isolation_level,
            client_rack=self._client_rack,
        )
        self._coordinator = NoGroupCoordinator(
            self._client, self._subscription, exclude_internal_topics=self._exclude_internal_topics
        )

    @property
    def coming(self) -> object:
        """Changes while a large answer comes in, piece by piece; the same for answers that come whole."""
        return self._client.coming


class BoundedFetcher(Fetcher):
    """aiokafka's Fetcher, whose batches are unpacked as a consumer's are."""

    async def _proc_fetch_request(self, assignment: Any, node_id: Any, request: Any) -> bool:
        """Take over what a fetch brought, before anybody has seen it."""
        woke = bool(await super()._proc_fetch_request(assignment, node_id, request))
        answer = self._client.fetched.pop(request, None)
        for topic, partitions in answer.topics if answer is not None else ():
            for partition, _, _, *rest in partitions:
                result = self._records.get(ClientPartition(topic, partition))
                if type(result) is FetchResult and not isinstance(result._partition_records, Bounded | None):
                    fetched = result._partition_records
                    result._partition_records = Bounded(
                        FetchedRecords(
                            topic,
                            partition,
                            rest[-1],
                            position=fetched.next_fetch_offset,
                            aborted=fetched._aborted_transactions,
                            read_committed=self._isolation_level == READ_COMMITTED,
                            check_crcs=self._check_crcs,
                            most_unpacked=MOST_UNPACKED,
                        )
                    )
        return woke


class Bounded:
    """What one fetch brought for one partition, record by record, as a FetchResult takes it.

    Attributes:
        next_fetch_offset: the offset of the next record.
    """

    def __init__(self, unread: FetchedRecords) -> None:
        self._unread = unread
        self._made: deque[KafkaRecord] = deque()
        self.next_fetch_offset = unread.position

    def __iter__(self) -> Bounded:
        return self

    def __next__(self) -> KafkaRecord | UnreadRecord:
        if not self._made:
            self._made.extend(self._unread.take(AT_ONCE))
        if self._made:
            record = self._made.popleft()
            self.next_fetch_offset = record.offset + 1 if self._made else self._unread.position
            return record
        self.next_fetch_offset = self._unread.position
        damage, self._unread.damage = self._unread.damage, None
        if damage is None:
            raise StopIteration
        # The next fetch begins behind it.
        self.next_fetch_offset = self._unread.position = damage.next_offset
        return UnreadRecord(self._unread.topic, self._unread.partition, damage.offset, damage.next_offset, damage.error)
