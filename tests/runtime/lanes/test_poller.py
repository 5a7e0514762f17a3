"""Records of a revoked partition, or whose commit failed, neither run nor are passed by the position."""

from __future__ import annotations

from typing import Any

import pytest

from evkafka import Handler
from evkafka.records import TopicPartition
from evkafka.runtime.assignment import MOST_IN_ORDER
from evkafka.runtime.partition import Partition, PartitionEvent, PartitionState
from tests.support.engine import TOPIC, Bench, Gates, SourceAt
from tests.support.executors import OneRecord

TP = TopicPartition(TOPIC, 0)
STRICTLY_AT_MOST_ONCE: Any = {"auto_commit_mode": "pre-commit", "auto_commit_interval_ms": 0}


def partition_of(bench: Bench) -> Partition:
    return bench.consumer._assignment.partitions[TP]


@pytest.mark.parametrize("event", ["begin_revoke", "close"])
async def test_records_of_a_partition_that_begins_nothing_more_are_not_taken(
    bench: Bench, gates: Gates, handler: Handler, event: PartitionEvent
) -> None:
    async with bench.running(handler):
        partition = partition_of(bench)
        getattr(partition, event)()
        bench.consumer._poller._hand_out_partition_records(SourceAt(1), TP, [OneRecord(0, TOPIC)])  # type: ignore[arg-type]
        assert partition.ledger.last == -1
        partition.state = PartitionState.ACTIVE
    assert gates.begun == []


@pytest.mark.parametrize("event", ["begin_revoke", "close"])
async def test_the_position_behind_them_is_not_committed(bench: Bench, handler: Handler, event: PartitionEvent) -> None:
    async with bench.running(handler):
        partition = partition_of(bench)
        before = partition.ledger.committable()
        getattr(partition, event)()
        bench.consumer._poller._update_ledger_positions(SourceAt(7))  # type: ignore[arg-type]
        assert partition.ledger.committable() == before
        partition.state = PartitionState.ACTIVE


async def test_at_most_once_the_client_is_moved_back_to_dropped_records(bench: Bench, handler: Handler) -> None:
    async with bench.running(handler, auto_commit_mode="pre-commit"):
        source, partition = SourceAt(9), partition_of(bench)
        partition.state = PartitionState.STOPPED
        bench.consumer._poller._hand_out_partition_records(source, TP, [OneRecord(7, TOPIC), OneRecord(8, TOPIC)])  # type: ignore[arg-type]
        assert source.sought == [(TP, 7)]
        partition.state = PartitionState.ACTIVE


async def test_at_most_once_records_whose_commit_was_refused_run_when_read_again(
    bench: Bench, gates: Gates, handler: Handler
) -> None:
    gates.open_all()
    async with bench.running(handler, **STRICTLY_AT_MOST_ONCE):
        await bench.kafka.settle()
        bench.kafka.fail_commits("refused")
        await bench.send(b"0")
        await bench.kafka.settle()
        assert bench.consumer.status().rebuilds == 0
    assert gates.begun == [b"0"]
    assert bench.committed() == 1


class TestThePollsSize:
    @pytest.mark.parametrize(
        ("keys", "batch", "most"),
        [
            ({}, False, MOST_IN_ORDER),
            ({"concurrency": 4, "ordering": "partition"}, False, MOST_IN_ORDER),
            ({"max_poll_records": 7}, False, 7),
            ({"concurrency": 4}, False, 500),
            ({"concurrency": 4, "ordering": "unordered"}, False, 500),
            ({"auto_commit_mode": "pre-commit"}, False, 500),
            ({}, True, 500),
        ],
        ids=str,
    )
    async def test_is_small_if_each_partition_is_handled_in_order(
        self, bench: Bench, keys: Any, batch: bool, most: int
    ) -> None:
        handler = Handler()

        if batch:

            @handler.event("E", batch=True)
            async def on_batch(values: list[bytes]) -> None: ...

        else:

            @handler.event("E")
            async def on_event(value: bytes) -> None: ...

        async with bench.running(handler, **keys):
            assert bench.consumer._assignment.next_poll_max_records() == most
