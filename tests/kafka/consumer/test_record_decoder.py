"""Decoding: the same records as aiokafka's, and a damaged one costs only its own offset."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from aiokafka.codec import gzip_encode
from aiokafka.consumer.fetcher import READ_COMMITTED, READ_UNCOMMITTED, PartitionRecords
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.legacy_records import LegacyRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.structs import TopicPartition

from evkafka.kafka.consumer.record_decoder import FetchedRecords
from tests.kafka.batches import batch, control, with_bad_header, with_codec, with_crc, with_flipped_bit

MOST = 64 * 1024 * 1024

FIELDS = (
    "topic", "partition", "offset", "timestamp", "timestamp_type", "key", "value", "headers",
    "serialized_key_size", "serialized_value_size",
)  # fmt: skip


def unread(
    raw: bytes, *, position: int = 0, aborted: Any = (), read_committed: bool = True, most: int = MOST
) -> FetchedRecords:
    return FetchedRecords(
        "t", 0, raw, position=position, aborted=aborted, read_committed=read_committed, check_crcs=True,
        max_decompressed_bytes=most,
    )  # fmt: skip


def aiokafkas_own(raw: bytes, *, position: int = 0, aborted: Any = (), read_committed: bool = True) -> Any:
    isolation = READ_COMMITTED if read_committed else READ_UNCOMMITTED
    return PartitionRecords(TopicPartition("t", 0), MemoryRecords(raw), aborted, position, None, None, True, isolation)


def offsets(records: Any) -> list[int]:
    return [record.offset for record in records]


WHOLE = {
    "plain": batch(b"a", b"b", b"c"),
    "null and empty values": batch(None, b"", b"x"),
    "null keys": batch(b"a", key=None),
    "headers": batch(b"a", headers=[("h", b"1"), ("h", None), ("é", b"")]),
    "several batches with a gap": batch(b"a", b"b") + batch(b"c", first=7),
    "gzip": batch(*[b"x" * 100] * 20, codec=1),
    "snappy": batch(*[b"x" * 100] * 20, codec=2),
    "lz4": batch(*[b"x" * 100] * 20, codec=3),
    "zstd": batch(*[b"x" * 100] * 20, codec=4),
    "a committed transaction": batch(b"a", b"b", producer=5, transactional=True)
    + control(first=2, producer=5, commit=True)
    + batch(b"c", first=3),
    "an aborted transaction": batch(b"a", b"b", producer=5, transactional=True)
    + control(first=2, producer=5, commit=False)
    + batch(b"c", first=3, producer=5, transactional=True),
    "nothing but a control batch": control(first=0, producer=5, commit=True),
}


def _legacy() -> bytes:
    builder: Any = LegacyRecordBatchBuilder(1, 0, 10_000)
    for offset in range(3):
        builder.append(offset, 1_600_000_000_000 + offset, b"k", b"v%d" % offset)
    return bytes(builder.build())


class TestWholeBatches:
    @pytest.mark.parametrize("kind", [*WHOLE, "format 1"])
    @pytest.mark.parametrize("position", [0, 1])
    @pytest.mark.parametrize("read_committed", [True, False])
    @pytest.mark.parametrize("most", [1, 2, 1000])
    def test_decodes_the_same_as_aiokafka(self, kind: str, position: int, read_committed: bool, most: int) -> None:
        raw = WHOLE.get(kind) or _legacy()
        aborted = [(5, 0)] if kind == "an aborted transaction" else []
        theirs = aiokafkas_own(raw, position=position, aborted=aborted, read_committed=read_committed)
        expected = [tuple(getattr(record, field) for field in FIELDS) for record in theirs]
        ours = unread(raw, position=position, aborted=aborted, read_committed=read_committed)

        found = []
        while not ours.exhausted:
            found += ours.take(most)

        assert [tuple(getattr(record, field) for field in FIELDS) for record in found] == expected
        assert ours.position == theirs.next_fetch_offset
        assert ours.damage is None

    def test_takes_no_more_than_asked_for_and_keeps_the_rest(self) -> None:
        records = unread(batch(b"a", b"b", b"c") + batch(b"d", b"e", first=3))

        assert offsets(records.take(2)) == [0, 1]
        assert records.position == 2
        assert offsets(records.take(2)) == [2, 3]
        assert records.position == 4
        assert not records.exhausted
        assert offsets(records.take(2)) == [4]
        assert records.exhausted
        assert records.position == 5

    def test_decodes_no_more_records_than_asked_for(self, monkeypatch: pytest.MonkeyPatch) -> None:
        decoded: list[Any] = []
        monkeypatch.setattr(
            "evkafka.kafka.consumer.record_decoder._NEW",
            lambda kind, fields: decoded.append(fields) or tuple.__new__(kind, fields),
        )
        records = unread(batch(*[b"x"] * 100))

        assert offsets(records.take(3)) == [0, 1, 2]
        assert offsets(records.take(2)) == [3, 4]
        assert len(decoded) == 5

    def test_each_record_has_its_own_headers(self) -> None:
        each = [[("h", b"1")], [("h", b"1")], [("h", b"2")], [], [("h", None)], [("h", b"1")]]
        builder: Any = DefaultRecordBatchBuilder(2, 0, 0, -1, 0, 0, 10_000)
        for offset, headers in enumerate(each):
            builder.append(offset, 1_700_000_000_000, None, b"v", headers)

        records = unread(bytes(builder.build())).take(10)

        assert [record.headers for record in records] == [tuple(headers) for headers in each]

    def test_a_record_is_read_only(self) -> None:
        (record,) = unread(batch(b"a")).take(1)

        with pytest.raises(AttributeError):
            record.value = b"b"  # type: ignore[misc]


class TestDamagedBatches:
    def test_a_wrong_checksum_stops_reading_and_gives_the_next_offset(self) -> None:
        records = unread(batch(b"a", b"b") + with_flipped_bit(batch(b"c", b"d", first=2)) + batch(b"e", first=4))

        assert offsets(records.take(100)) == [0, 1]
        assert records.exhausted
        assert records.position == 2
        assert records.damage is not None
        assert records.damage[:2] == (2, 4)
        assert "CRC" in str(records.damage.error)

    def test_records_before_the_damage_are_returned_by_the_call_that_finds_it(self) -> None:
        records = unread(batch(b"a", b"b") + with_flipped_bit(batch(b"c", first=2)))

        assert offsets(records.take(2)) == [0, 1]
        assert offsets(records.take(2)) == []
        assert records.damage is not None

    def test_reading_continues_after_the_damage(self) -> None:
        raw = batch(b"a", b"b") + with_flipped_bit(batch(b"c", b"d", first=2)) + batch(b"e", first=4)

        assert offsets(unread(raw[len(batch(b"a", b"b") + batch(b"c", b"d")) :], position=4).take(100)) == [4]

    @pytest.mark.parametrize("codec", [5, 6, 7])
    def test_an_unknown_codec_stops_reading(self, codec: int) -> None:
        records = unread(batch(b"a") + with_codec(batch(b"b", b"c", first=1), codec))

        assert offsets(records.take(100)) == [0]
        assert records.damage is not None
        assert records.damage[:2] == (1, 3)

    @pytest.mark.parametrize("codec", [1, 2, 3, 4])
    def test_bytes_that_the_codec_cannot_read_stop_reading(self, codec: int) -> None:
        records = unread(batch(b"a") + with_codec(batch(b"b" * 50, b"c" * 50, first=1), codec))

        assert offsets(records.take(100)) == [0]
        assert records.damage is not None
        assert records.damage[:2] == (1, 3)

    @pytest.mark.parametrize("codec", [0, 1])
    def test_a_header_that_is_not_utf8_costs_its_own_record_only(self, codec: int) -> None:
        whole = batch(b"a", b"b", headers=[("good", b"1")]) + _with_header_at(2, of=5, first=2, codec=codec)
        records = unread(whole)

        assert offsets(records.take(100)) == [0, 1, 2, 3]
        assert records.damage is not None
        assert records.damage[:2] == (4, 5)
        assert records.position == 4

        behind = unread(whole, position=5)
        assert offsets(behind.take(100)) == [5, 6]
        assert behind.damage is None
        assert behind.position == 7

    @pytest.mark.parametrize("most", [1, 2, 3])
    def test_records_before_the_damage_of_their_batch_are_not_returned_twice(self, most: int) -> None:
        records = unread(_with_header_at(3, of=5, first=0, codec=0))

        found: list[int] = []
        while not records.exhausted:
            found += offsets(records.take(most))

        assert found == [0, 1, 2]
        assert records.position == 3
        assert records.damage is not None
        assert records.damage[:2] == (3, 4)

    def test_two_such_records_in_one_batch_are_found_one_after_the_other(self) -> None:
        raw = with_bad_header(with_bad_header(batch(b"a", b"b", b"c", headers=[("name", b"1")]), b"name"), b"name")

        first = unread(raw)
        assert first.take(100) == []
        assert first.damage is not None
        assert first.damage[:2] == (0, 1)
        second = unread(raw, position=1)
        assert second.take(100) == []
        assert second.damage is not None
        assert second.damage[:2] == (1, 2)
        assert offsets(unread(raw, position=2).take(100)) == [2]

    def test_a_damaged_length_stops_reading(self) -> None:
        raw = (
            batch(b"a") + batch(b"b", first=1)[:40]
        )  # the broker has truncated the last batch; the next fetch returns it whole

        records = unread(raw)
        assert offsets(records.take(100)) == [0]
        assert records.exhausted
        assert records.damage is None


def _with_header_at(index: int, *, of: int, first: int, codec: int) -> bytes:
    """A batch in which one record has a header that is not UTF-8."""
    builder_input = [("good", b"1")]
    raws = batch(*[b"v%d" % n for n in range(of)], first=first, headers=builder_input)
    parts = raws.split(b"good")
    damaged = b"good".join(parts[: index + 1]) + b"\xff\xff\xff\xff" + b"good".join(parts[index + 1 :])
    if codec == 0:
        return with_crc(damaged)
    head, body = damaged[:61], gzip_encode(damaged[61:])
    (attributes,) = struct.unpack_from(">h", head, 21)
    length = struct.pack(">i", 61 - 12 + len(body))
    return with_crc(head[:8] + length + head[12:21] + struct.pack(">h", attributes | codec) + head[23:] + body)
