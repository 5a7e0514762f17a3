"""The partition of a key is the same as in Java's client."""

from __future__ import annotations

import random

import pytest
from aiokafka.partitioner import DefaultPartitioner
from aiokafka.partitioner import murmur2 as aiokafka_murmur2
from hypothesis import given
from hypothesis import strategies as st

from evkafka.runtime.partitioner import murmur2, partition_for

# From the tests of Kafka's own client (UtilsTest.java): its results are signed.
OF_JAVA = {
    b"21": -973932308,
    b"foobar": -790332482,
    b"a-little-bit-long-string": -985981536,
    b"a-little-bit-longer-string": -1486304829,
    b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
    b"abc": 479470107,
}


class TestMurmur2:
    @pytest.mark.parametrize(("key", "signed"), OF_JAVA.items())
    def test_is_what_java_computes(self, key: bytes, signed: int) -> None:
        assert murmur2(key) == signed % 2**32

    @given(st.binary(max_size=70))
    def test_is_what_aiokafka_computes(self, key: bytes) -> None:
        assert murmur2(key) == aiokafka_murmur2(key) % 2**32


class TestPartitions:
    @pytest.mark.parametrize(("key", "signed"), OF_JAVA.items())
    @pytest.mark.parametrize("count", [1, 3, 12, 100])
    def test_a_key_goes_where_java_sends_it(self, key: bytes, signed: int, count: int) -> None:
        assert partition_for(key, range(count), range(count)) == (signed & 0x7FFFFFFF) % count

    @given(st.binary(max_size=40), st.integers(1, 200))
    def test_a_key_goes_where_aiokafka_sends_it(self, key: bytes, count: int) -> None:
        partitions = list(range(count))
        assert partition_for(key, partitions, partitions) == DefaultPartitioner()(key, partitions, partitions)

    def test_a_key_keeps_its_partition_while_that_has_no_leader(self) -> None:
        assert partition_for(b"21", [0, 1, 2], []) == partition_for(b"21", [0, 1, 2], [0, 1, 2])

    def test_an_empty_key_is_a_key(self) -> None:
        assert {partition_for(b"", range(50), range(50)) for _ in range(20)} == {(murmur2(b"") & 0x7FFFFFFF) % 50}

    def test_records_without_a_key_are_spread_over_partitions_with_a_leader(self) -> None:
        random.seed(3)
        assert {partition_for(None, [0, 1, 2, 3], [1, 3]) for _ in range(200)} == {1, 3}

    def test_records_without_a_key_go_to_any_partition_if_none_has_a_leader(self) -> None:
        random.seed(3)
        assert {partition_for(None, [0, 1], []) for _ in range(100)} == {0, 1}
