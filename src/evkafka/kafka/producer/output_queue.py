"""The records that a transaction writes to one partition, in batches."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from aiokafka.record.default_records import DefaultRecordBatch, DefaultRecordBatchBuilder

from evkafka.config.settings import CompressionType
from evkafka.kafka.client.transaction_protocol import NO_PRODUCER, ProducerId
from evkafka.records import TopicPartition
from evkafka.runtime.ports import OutgoingRecord

BATCH_BYTES = 900_000
"""The size of a batch: below the default of `max.message.bytes`. A larger record is a batch of its own."""

COMPRESSED_BATCH_BYTES = 128 * 1024
"""The size of a batch before it is compressed: gzip must not hold the event loop for long. More hardly saves space."""

MOST_BYTES = 64 * 1024 * 1024
"""The largest record, before it is compressed. The topic's own limit is the one that counts; a broker hangs up on a
request of 100 MB."""

MAGIC, IS_TRANSACTIONAL = 2, 1

CODECS: dict[CompressionType | None, int] = {
    None: DefaultRecordBatch.CODEC_NONE,
    "gzip": DefaultRecordBatch.CODEC_GZIP,
    "snappy": DefaultRecordBatch.CODEC_SNAPPY,
    "lz4": DefaultRecordBatch.CODEC_LZ4,
    "zstd": DefaultRecordBatch.CODEC_ZSTD,
}


def reason_too_large_for_any_topic(record: OutgoingRecord) -> str | None:
    """Why no broker takes this record; None if its topic decides."""
    size = DefaultRecordBatchBuilder.estimate_size_in_bytes(record.key, record.value, list(record.headers))
    return f"the record, {size} bytes, is larger than {MOST_BYTES} bytes" if size > MOST_BYTES else None


def size_as_single_record_batch(record: OutgoingRecord) -> int:
    """The size of a batch with only this record."""
    return len(OutputQueue(TopicPartition(record.topic, 0), [record]).build_batch(NO_PRODUCER, 0))


class OutputQueue:
    """The records of one partition that are not confirmed yet, in order. False if there are none."""

    def __init__(self, partition: TopicPartition, records: Iterable[OutgoingRecord]) -> None:
        self.partition = partition
        self._records = deque(records)
        self._most_records = len(self._records)
        self._count = 0
        self._batch: bytes | None = None

    def __bool__(self) -> bool:
        return bool(self._records)

    @property
    def first_record(self) -> OutgoingRecord:
        """The first record of the batch."""
        return self._records[0]

    def build_batch(self, producer: ProducerId, sequence: int) -> bytes:
        """The next batch. It stays the same until it is confirmed or split, so that a broker knows one that it has.

        Its records have the same compression: two producers may send to one partition.

        Args:
            sequence: of its first record.
        """
        if self._batch is None:
            compression = self.first_record.compression_type
            size = BATCH_BYTES if compression is None else COMPRESSED_BATCH_BYTES
            codec = CODECS[compression]
            builder = DefaultRecordBatchBuilder(MAGIC, codec, IS_TRANSACTIONAL, *producer, sequence, size)
            self._count = 0
            for record in self._records:
                if self._count == self._most_records or record.compression_type != compression:
                    break
                if not self._append_to_builder_unless_full(builder, record):
                    break
                self._count += 1
            self._batch = bytes(builder.build())
        return self._batch

    def _append_to_builder_unless_full(self, builder: DefaultRecordBatchBuilder, record: OutgoingRecord) -> bool:
        headers = list(record.headers)
        placed = builder.append(self._count, record.timestamp_ms, key=record.key, value=record.value, headers=headers)
        return placed is not None

    def remove_confirmed_batch(self) -> int:
        """The batch is written. Returns how many records it had."""
        for _ in range(self._count):
            self._records.popleft()
        self._batch = None
        return self._count

    def split_batch(self) -> bool:
        """The broker has refused the batch: build smaller ones. False if it had only one record."""
        if self._count == 1:
            return False
        self._most_records = self._count // 2
        self._batch = None
        return True
