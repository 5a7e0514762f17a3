"""What a fetch returned is freed with its last reference, without the garbage collector."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiokafka.consumer.fetcher import READ_COMMITTED, FetchResult, PartitionRecords
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.structs import TopicPartition

from evkafka.kafka.consumer.fetcher import RawFetcher
from evkafka.kafka.consumer.record_decoder import FetchedRecords
from tests.kafka.batches import batch

AT = TopicPartition("orders", 0)


@pytest.fixture
def no_collector() -> Iterator[None]:
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def fetched(raw: bytes) -> Any:
    return PartitionRecords(AT, MemoryRecords(raw), [], 0, None, None, True, READ_COMMITTED)


@pytest.mark.usefixtures("no_collector")
class TestFetchedBytes:
    def test_are_not_kept_by_aiokafkas_own_reader_of_them(self) -> None:
        raw, fetcher = batch(b"a"), cast(Any, SimpleNamespace(_isolation_level=READ_COMMITTED, _check_crcs=True))
        result = FetchResult(AT, assignment=None, partition_records=fetched(raw), backoff=0.0)
        theirs = weakref.ref(result._partition_records)
        ours = RawFetcher._create_decoder(fetcher, FetchedRecords, AT, raw, result, 1_000_000)
        del result
        assert theirs() is None
        assert [record.value for record in ours.take(10)] == [b"a"]
