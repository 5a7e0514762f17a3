"""The engine's RecordSink on the in-memory Kafka."""

from __future__ import annotations

import asyncio

from evkafka.config.settings import ProducerSettings
from evkafka.config.time_limits import seconds_text
from evkafka.exceptions import DeliveryError, EVKafkaError, RecordTooLarge
from evkafka.records import RecordMetadata, TopicPartition
from evkafka.runtime.clock import wait_any
from evkafka.runtime.delivery_error import delivery_error
from evkafka.runtime.ports import OutgoingRecord
from evkafka.testing.memory.partition_queue import PartitionQueue
from evkafka.testing.memory.pending_record import PendingRecord
from evkafka.testing.memory.state import ClusterState
from evkafka.testing.memory.topics import record_size

MAX_REQUEST_SIZE = 1_048_576
"""A producer's default `max_request_size`."""


class MemorySink:
    """Writes each partition's records in order and confirms them. In an outage they wait until their deadlines."""

    def __init__(self, cluster: ClusterState, settings: ProducerSettings) -> None:
        self._cluster = cluster
        self._settings = settings
        self._partitioner = settings.options.get("partitioner")
        self._largest: int = settings.options.get("max_request_size", MAX_REQUEST_SIZE)
        self._queues: dict[TopicPartition, PartitionQueue] = {}
        self._pending: dict[PendingRecord, None] = {}  # ordered: the order of a set differs between processes

    async def start(self) -> None:
        await self._cluster.check_reachable()

    async def queue_record(
        self, record: OutgoingRecord, *, timeout_s: float | None = None
    ) -> asyncio.Future[RecordMetadata]:
        topic, value, key, _, timestamp_ms, headers, event_type, *_ = record
        tp = self._choose_partition(record)
        pending = PendingRecord(
            tp,
            value,
            key,
            tuple(headers),
            self._cluster.clock.timestamp_ms() if timestamp_ms is None else timestamp_ms,
            event_type,
            self._settings.delivery_timeout_s if timeout_s is None else timeout_s,
            asyncio.get_running_loop().create_future(),
        )
        self._pending[pending] = None
        self._cluster.sending[pending] = None
        pending.answer.add_done_callback(lambda _: self._remove_done_record(pending))
        if tp not in self._queues:
            self._queues[tp] = PartitionQueue(self._cluster, tp)
        self._queues[tp].put(pending)
        if self._settings.acks == 0:  # brokers do not answer: the sender continues at once
            pending.answer.set_result(RecordMetadata(topic, tp.partition, -1, pending.timestamp_ms, 0, -1))
        return pending.answer

    async def with_chosen_partition(self, record: OutgoingRecord, *, timeout_s: float | None = None) -> OutgoingRecord:
        tp = self._choose_partition(record)
        if self._cluster.faults.take_send_fault(record.topic) is not None:
            raise _refused_error(record, "refused by the test")
        return record._replace(partition=tp.partition)

    def size_as_single_record_batch(self, record: OutgoingRecord) -> int:
        return record_size(record.key, record.value, record.headers)  # it has no batches, and compresses nothing

    def _choose_partition(self, record: OutgoingRecord) -> TopicPartition:
        """The partition of a record that the client takes."""
        topics = self._cluster.topics
        if (size := record_size(record.key, record.value, record.headers)) > self._largest:
            why = f"the record, {size} bytes, is larger than max_request_size, {self._largest} bytes"
            raise _refused_error(record, why, RecordTooLarge)
        try:
            tp = topics.choose_partition(record.topic, record.key, record.partition)
        except (EVKafkaError, ValueError) as error:  # an illegal name is a ValueError
            raise _refused_error(record, str(error)) from error
        if record.partition is not None or self._partitioner is None:
            return tp
        known = [one.partition for one in topics.partitions(record.topic)]
        partition = self._partitioner(record.key, known, known)
        if partition not in known:
            raise _refused_error(
                record, f"the configured partitioner chose {partition!r}, but the partitions are {known}"
            )
        return TopicPartition(record.topic, partition)

    def _remove_done_record(self, record: PendingRecord) -> None:
        self._pending.pop(record, None)
        self._cluster.sending.pop(record, None)

    def unavailable_reason(self) -> str:
        return "the in-memory Kafka is unavailable" if self._cluster.is_in_outage else ""

    async def flush(self) -> None:
        if self._pending:
            await asyncio.wait([record.answer for record in self._pending])

    async def stop(self, *, timeout_s: float) -> None:
        flushing = asyncio.ensure_future(self.flush())
        try:
            await wait_any(self._cluster.clock, flushing, timeout_s=timeout_s)
        finally:
            flushing.cancel()
        for record in tuple(self._pending):
            record.fail(
                f"its producer was stopped with a timeout of {seconds_text(timeout_s)}",
                may_have_been_written=record.in_flight,
            )

    def crash(self) -> None:
        """The process is killed: what was queued is lost."""
        for queue in self._queues.values():
            queue.drop_unwritten_records_in_crash(arrives=self._cluster.random.random() < 0.5)


def _refused_error(record: OutgoingRecord, why: str, kind: type[DeliveryError] = DeliveryError) -> DeliveryError:
    return delivery_error(record.topic, record.event_type, why, may_have_been_written=False, kind=kind)
