"""Decompression: the same bytes as aiokafka's, up to a limit."""

from __future__ import annotations

import gzip
import struct
import tracemalloc
from typing import Any

import cramjam
import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.record.legacy_records import LegacyRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords

from evkafka.broker import KafkaBroker
from evkafka.kafka.consumer.decompression import TooLargeUnpacked, decompress, is_compressed
from evkafka.kafka.consumer.record_decoder import FetchedRecords
from evkafka.records import TopicPartition
from tests.kafka.batches import batch, with_crc
from tests.support.kafka_reader import Read
from tests.support.kafka_topics import MakeTopic, produce
from tests.support.waiting import eventually

CODECS = {"gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4}
MOST = 1_000_000
HEAD = 61


def values(raw: bytes) -> list[bytes]:
    return [record.value for record in MemoryRecords(raw).next_batch()]


def with_records(raw: bytes, records: bytes) -> bytes:
    """The batch with its compressed records replaced by other bytes."""
    return with_crc(raw[:8] + struct.pack(">i", HEAD - 12 + len(records)) + raw[12:HEAD] + records)


def old(codec: int, *values: bytes, magic: int) -> bytes:
    builder: Any = LegacyRecordBatchBuilder(magic, codec, 10_000_000)
    for offset, value in enumerate(values):
        builder.append(offset, 1_600_000_000_000, b"k", value)
    return bytes(builder.build())


@pytest.mark.parametrize("codec", CODECS.values(), ids=CODECS)
class TestEveryCodec:
    def test_gives_the_same_batch_uncompressed(self, codec: int) -> None:
        given = [b"%d" % number * 50 for number in range(300)]
        raw = batch(*given, codec=codec)

        assert values(decompress(raw, MOST)) == given

    def test_a_batch_of_exactly_the_allowed_size_is_decompressed(self, codec: int) -> None:
        raw = batch(bytes(70_000), codec=codec)
        size = len(batch(bytes(70_000))) - HEAD

        assert values(decompress(raw, size)) == [bytes(70_000)]
        with pytest.raises(TooLargeUnpacked, match=f"unpack to more than max_decompressed_bytes, {size - 1}; raise"):
            decompress(raw, size - 1)

    def test_a_larger_batch_is_refused_before_it_fills_the_memory(self, codec: int) -> None:
        raw = batch(bytes(9_000_000), codec=codec)
        tracemalloc.start()
        try:
            with pytest.raises(TooLargeUnpacked):
                decompress(raw, MOST)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()

        assert peak < 4 * MOST

    def test_a_too_large_batch_does_not_affect_the_others(self, codec: int) -> None:
        raw = batch(b"a", b"b") + batch(bytes(9_000_000), b"d", first=2, codec=codec) + batch(b"e", first=4)
        records = FetchedRecords(
            "t", 0, raw, position=0, aborted=(), read_committed=True, check_crcs=True, max_decompressed_bytes=MOST
        )

        assert [record.offset for record in records.take(100)] == [0, 1]
        assert records.damage is not None
        assert records.damage[:2] == (2, 4)
        assert isinstance(records.damage.error, TooLargeUnpacked)

    def test_bytes_that_it_cannot_read_are_an_error_of_the_codec(self, codec: int) -> None:
        raw = with_records(batch(b"a", codec=codec), b"\xff" * 40)

        with pytest.raises(Exception, match=r".") as caught:
            decompress(raw, MOST)
        assert not isinstance(caught.value, TooLargeUnpacked)

    def test_a_stream_that_ends_too_early_is_an_error(self, codec: int) -> None:
        raw = batch(*[b"%d" % number for number in range(1000)], codec=codec)

        with pytest.raises(Exception, match=r".") as caught:
            decompress(with_records(raw, raw[HEAD:-20]), MOST)
        assert not isinstance(caught.value, TooLargeUnpacked)


class TestForms:
    def test_a_compressed_batch_is_recognized_where_it_begins(self) -> None:
        assert not is_compressed(b"before" + batch(b"a"), 6)
        assert is_compressed(b"before" + batch(b"a" * 100, codec=1), 6)

    def test_an_uncompressed_batch_is_returned_as_it_is(self) -> None:
        raw = batch(b"a", b"b")

        assert decompress(raw, 1) is raw

    def test_gzip_in_several_members(self) -> None:
        plain = batch(b"a", b"b", b"c")
        packed = gzip.compress(plain[HEAD : HEAD + 9]) + gzip.compress(plain[HEAD + 9 :]) + b"\x00\x00"

        assert values(decompress(with_records(batch(b"a", b"b", b"c", codec=1), packed), MOST)) == [b"a", b"b", b"c"]

    def test_snappy_without_javas_framing(self) -> None:
        packed = bytes(cramjam.snappy.compress_raw(batch(b"a", b"b")[HEAD:]))

        assert values(decompress(with_records(batch(b"a", b"b", codec=2), packed), MOST)) == [b"a", b"b"]

    def test_damaged_snappy_after_a_large_block_is_found_without_decompressing(self) -> None:
        large, broken = bytes(cramjam.snappy.compress_raw(bytes(5 * MOST))), b"\xff" * 12
        framed = b"".join(struct.pack(">i", len(block)) + block for block in (large, broken))
        raw = with_records(batch(b"a", codec=2), b"\x82SNAPPY\x00\x00\x00\x00\x01\x00\x00\x00\x01" + framed)
        unread = FetchedRecords(
            "t", 0, raw, position=0, aborted=(), read_committed=True, check_crcs=True, max_decompressed_bytes=MOST
        )
        tracemalloc.start()
        assert unread.take(10) == []
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert unread.damage is not None
        assert peak < 2 * MOST

    def test_snappy_with_a_too_large_size_in_its_header(self) -> None:
        packed = b"\xff\xff\xff\xff\x0f" + bytes(20)  # 4 GiB, by its header

        with pytest.raises(TooLargeUnpacked):
            decompress(with_records(batch(b"a", codec=2), packed), MOST)

    @pytest.mark.parametrize(("magic", "codec"), [(0, 1), (0, 2), (1, 1), (1, 2), (1, 3)])
    def test_older_formats_have_the_limit_too(self, magic: int, codec: int) -> None:
        raw = old(codec, b"a", bytes(500_000), magic=magic)

        assert decompress(raw, MOST) is raw
        with pytest.raises(TooLargeUnpacked):
            decompress(raw, 400_000)


class TestOnKafka:
    async def test_a_too_large_batch_is_reported_and_can_be_skipped(
        self, kafka_broker: KafkaBroker, topic: MakeTopic, name: str, read: Read
    ) -> None:
        servers, orders = kafka_broker.bootstrap_servers, await topic(partitions=2)
        await produce(servers, orders, 2)
        async with AIOKafkaProducer(
            bootstrap_servers=servers, compression_type="zstd", max_request_size=10_000_000
        ) as producer:
            await producer.send_and_wait(orders, bytes(5_000_000), partition=0)
        await produce(servers, orders, 2)
        await produce(servers, orders, 3, partition=1)

        reader = await read(servers, orders, name, max_decompressed_bytes=2_000_000)
        reader.listener.when_unreadable = lambda found: reader.source.seek(found.partition, found.next_offset)

        await eventually(lambda: reader.offsets(0) == [0, 1, 3, 4] and reader.offsets(1) == [0, 1, 2])
        (reported,) = reader.listener.unreadable
        assert (reported.partition, reported.offset, reported.next_offset) == (TopicPartition(orders, 0), 2, 3)
        assert "max_decompressed_bytes, 2000000" in str(reported.error)
