"""The batches in which a transaction writes the records of one partition."""

from __future__ import annotations

import random
from typing import Any, NamedTuple

import pytest
from aiokafka.record.default_records import DefaultRecordBatch

from evkafka.kafka.client.transaction_protocol import ProducerId
from evkafka.kafka.producer.output_queue import (
    BATCH_BYTES,
    CODECS,
    COMPRESSED_BATCH_BYTES,
    MOST_BYTES,
    OutputQueue,
    reason_too_large_for_any_topic,
    size_as_single_record_batch,
)
from evkafka.records import TopicPartition
from evkafka.runtime.ports import OutgoingRecord

PLACE = TopicPartition("out", 0)
CODEC_NAMES = {code: name for name, code in CODECS.items()}


class Written(NamedTuple):
    """A batch as a broker reads it."""

    compression: str | None
    values: list[bytes | None]
    size: int


def output(value: bytes, compression: Any = None) -> OutgoingRecord:
    return OutgoingRecord("out", value, partition=0, compression_type=compression)


def written(raw: bytes) -> Written:
    batch: Any = DefaultRecordBatch(raw)
    return Written(CODEC_NAMES[batch.compression_type], [record.value for record in batch], len(raw))


def batches(queue: OutputQueue) -> list[Written]:
    """All batches of the queue, each confirmed."""
    found = []
    while queue:
        found.append(written(queue.build_batch(ProducerId(1, 0), 0)))
        queue.remove_confirmed_batch()
    return found


@pytest.mark.parametrize("compression", list(CODECS))
def test_a_batch_is_compressed_as_its_records_say(compression: str | None) -> None:
    values = [b"%d" % number * 1_000 for number in range(10)]
    [batch] = batches(OutputQueue(PLACE, [output(value, compression) for value in values]))
    assert batch.compression == compression
    assert batch.values == values
    assert (batch.size < 5_000) == (compression is not None)


def test_records_of_two_producers_are_in_batches_of_their_own_and_in_order() -> None:
    compressions = ["lz4", "lz4", None, "zstd", "zstd", "lz4"]
    queue = OutputQueue(PLACE, [output(b"%d" % at * 100, one) for at, one in enumerate(compressions)])
    assert [(batch.compression, [(value or b"")[:1] for value in batch.values]) for batch in batches(queue)] == [
        ("lz4", [b"0", b"1"]),
        (None, [b"2"]),
        ("zstd", [b"3", b"4"]),
        ("lz4", [b"5"]),
    ]


@pytest.mark.parametrize(("compression", "most"), [(None, BATCH_BYTES), ("lz4", COMPRESSED_BATCH_BYTES)])
def test_the_size_of_a_batch_is_limited_before_it_is_compressed(compression: str | None, most: int) -> None:
    found = batches(OutputQueue(PLACE, [output(bytes(10_000), compression)] * 200))
    sizes = [sum(len(value or b"") for value in batch.values) for batch in found]
    assert sum(sizes) == 2_000_000
    assert most - 11_000 < max(sizes) <= most


def test_a_batch_that_is_split_keeps_its_compression() -> None:
    queue = OutputQueue(PLACE, [output(b"%d" % number * 100, "gzip") for number in range(4)])
    queue.build_batch(ProducerId(1, 0), 0)
    assert queue.split_batch()
    found = batches(queue)
    assert [len(batch.values) for batch in found] == [2, 2]
    assert {batch.compression for batch in found} == {"gzip"}


def test_the_size_of_a_record_is_that_of_its_own_batch() -> None:
    noise, zeros = random.Random(1).randbytes(100_000), bytes(100_000)
    for value in (noise, zeros):
        [batch] = batches(OutputQueue(PLACE, [output(value, "lz4")]))
        assert size_as_single_record_batch(output(value, "lz4")) == batch.size
    assert size_as_single_record_batch(output(zeros, "lz4")) < 1_000
    assert size_as_single_record_batch(output(zeros)) > 100_000


def test_a_record_is_too_large_for_any_broker_before_it_is_compressed() -> None:
    assert reason_too_large_for_any_topic(output(bytes(MOST_BYTES - 200), "lz4")) is None
    assert f"is larger than {MOST_BYTES} bytes" in (
        reason_too_large_for_any_topic(output(bytes(MOST_BYTES), "lz4")) or ""
    )
