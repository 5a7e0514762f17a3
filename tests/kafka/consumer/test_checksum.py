"""The checksum of a batch: both implementations find the same batches damaged."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest
from aiokafka.record.legacy_records import LegacyRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords
from hypothesis import given
from hypothesis import strategies as st

from evkafka.kafka.consumer import checksum
from evkafka.kafka.consumer.checksum import is_intact
from tests.kafka.batches import batch, with_flipped_bit

VALUES = st.lists(st.binary(max_size=300), min_size=1, max_size=5)


def intact(raw: bytes) -> bool:
    return is_intact(MemoryRecords(raw).next_batch(), raw, 0, len(raw))


def intact_by_aiokafka(raw: bytes) -> bool:
    return bool(MemoryRecords(raw).next_batch().validate_crc())


class TestABatch:
    def test_is_checked_by_the_processor_where_the_tests_run(self) -> None:
        assert checksum.checksum_of is not None

    @given(VALUES, st.sampled_from([0, 1, 3]))
    def test_is_intact(self, values: list[bytes], codec: int) -> None:
        assert intact(batch(*values, codec=codec))

    @given(VALUES, st.data())
    def test_with_one_flipped_bit_is_damaged(self, values: list[bytes], data: st.DataObject) -> None:
        raw = batch(*values)
        bit = data.draw(st.integers(17 * 8, len(raw) * 8 - 1))
        damaged = bytearray(raw)
        damaged[bit // 8] ^= 1 << bit % 8
        assert not intact(bytes(damaged))
        assert not intact_by_aiokafka(bytes(damaged))

    def test_is_checked_without_its_neighbours(self) -> None:
        first, second = batch(b"a", b"b"), batch(b"c")
        raw = first + second
        batches = MemoryRecords(raw)
        assert is_intact(batches.next_batch(), raw, 0, len(first))
        assert is_intact(batches.next_batch(), raw, len(first), len(raw))

    @pytest.mark.parametrize("magic", [0, 1])
    def test_of_an_old_format_is_checked_by_aiokafka(self, magic: int) -> None:
        builder = LegacyRecordBatchBuilder(magic, 0, 10_000)
        builder.append(0, 1_600_000_000_000, b"k", b"value")
        raw = bytes(builder.build())
        assert intact(raw)
        assert not intact(raw[:-1] + b"X")


class TestWithoutTheExtra:
    def test_aiokafka_checks(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "google_crc32c", None)
        monkeypatch.setattr(checksum, "checksum_of", checksum._hardware_checksum())
        assert checksum.checksum_of is None
        raw = batch(b"value")
        assert intact(raw)
        assert not intact(with_flipped_bit(raw))

    def test_a_package_without_its_compiled_part_is_not_used(self, monkeypatch: pytest.MonkeyPatch) -> None:
        slow = ModuleType("google_crc32c")
        slow.value, slow.implementation = (lambda data: 0), "python"  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "google_crc32c", slow)
        assert checksum._hardware_checksum() is None
