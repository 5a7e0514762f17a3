"""What the status of a partition tells about finished records behind its oldest unfinished one, and about crashes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from evkafka import Handler
from evkafka.records import TopicPartition
from evkafka.runtime.commit_metadata import (
    OPEN,
    CommitMetadata,
    OwnerMark,
    Ownership,
    group_and_partition_text_for_checksum,
)
from evkafka.runtime.completed_offsets import OffsetRange
from evkafka.runtime.status import PartitionStatus, SuspectRecordStatus
from tests.support.engine import GROUP, TOPIC, Bench, Gates

LANES: dict[str, Any] = {"concurrency": 8, "max_poll_records": 10}


def partition_0(bench: Bench) -> PartitionStatus:
    return next(one for one in bench.consumer.status().partitions if one.partition == 0)


def committed(bench: Bench, *, finished: Sequence[OffsetRange] = (), mark: OwnerMark = OPEN) -> None:
    """An earlier owner of the partition has committed this with offset 0."""
    metadata = CommitMetadata(0, bench.kafka.topics.topic_id(TOPIC), finished=finished, mark=mark)
    text = metadata.as_text(3_500, group_and_partition_text_for_checksum(GROUP, TopicPartition(TOPIC, 0)))
    bench.kafka.commit(GROUP, TOPIC, offset=0, metadata=text)


class TestDoneAhead:
    async def test_counts_what_is_finished_behind_the_oldest_unfinished_record(
        self, bench: Bench, gates: Gates, handler: Handler
    ) -> None:
        for number in range(5):
            await bench.send(b"%d" % number, key=f"k{number}")
        async with bench.running(handler, **LANES):
            gates.open(b"1", b"2", b"4")
            await bench.until(lambda: len(gates.ended) == 3)
            assert partition_0(bench).done_ahead == 3
            assert partition_0(bench).pending == 2
            assert bench.consumer.status().done_ahead == 3
            gates.open(b"0")
            await bench.until(lambda: len(gates.ended) == 4)
            assert partition_0(bench).done_ahead == 1
            gates.open_all()
            await bench.until(lambda: bench.committed() == 5)
            assert partition_0(bench).done_ahead == 0

    async def test_counts_what_an_earlier_owner_has_finished(
        self, bench: Bench, gates: Gates, handler: Handler
    ) -> None:
        for number in range(5):
            await bench.send(b"%d" % number, key=f"k{number}")
        committed(bench, finished=(OffsetRange(1, 4),))
        async with bench.running(handler, **LANES):
            await bench.until(lambda: len(gates.begun) == 2)
            assert partition_0(bench).done_ahead == 3
            gates.open_all()


class TestUnreadBecause:
    async def test_names_metadata_if_what_is_finished_does_not_fit(
        self, bench: Bench, gates: Gates, handler: Handler
    ) -> None:
        await bench.send(b"slow", key="slow")
        for number in range(700):  # every second one waits, so that what is finished is no single range
            await bench.send(b"%d" % number, key="slow" if number % 2 else f"k{number}")
        gates.open(*(b"%d" % number for number in range(700)))
        async with bench.running(handler, **LANES, commit_metadata_max_bytes=128):
            await bench.until(lambda: partition_0(bench).metadata_full)
            assert partition_0(bench).unread_because == ("metadata",)
            assert not partition_0(bench).full
            gates.open_all()
            await bench.until(lambda: bench.committed() == 701)
            assert partition_0(bench).unread_because == ()


class TestOneAtATime:
    async def test_tells_how_many_processes_died_and_at_which_record(
        self, bench: Bench, gates: Gates, handler: Handler
    ) -> None:
        for number in range(3):
            await bench.send(b"%d" % number, key=f"k{number}")
        mark = OwnerMark(Ownership.ALONE, deaths=2, offset=1)
        committed(bench, mark=mark)
        async with bench.running(handler, **LANES):
            await bench.until(lambda: gates.begun == [b"0"])
            assert partition_0(bench).one_at_a_time == SuspectRecordStatus(deaths=2, suspect=1)
            gates.open(b"0", b"1")
            await bench.until(lambda: gates.begun == [b"0", b"1", b"2"])
            assert partition_0(bench).one_at_a_time is None
            gates.open_all()

    async def test_does_not_name_a_record_as_long_as_it_is_not_known(
        self, bench: Bench, gates: Gates, handler: Handler
    ) -> None:
        await bench.send(b"0", key="k")
        mark = OwnerMark(Ownership.BEGUN, deaths=1)
        committed(bench, mark=mark)
        async with bench.running(handler, **LANES):
            await bench.until(lambda: gates.begun == [b"0"])
            assert partition_0(bench).one_at_a_time == SuspectRecordStatus(deaths=1, suspect=None)
            gates.open_all()
            await bench.until(lambda: bench.committed() == 1)

    async def test_is_shown_by_health(self, bench: Bench, gates: Gates, handler: Handler) -> None:
        await bench.send(b"0", key="k")
        mark = OwnerMark(Ownership.ALONE, deaths=3, offset=0)
        committed(bench, mark=mark)
        async with bench.running(handler, **LANES):
            await bench.until(lambda: gates.begun == [b"0"])
            checks = bench.app.health.ready(bench.app.status()).checks
            notes = [note for one in checks for note in one.notes]
            why = "3 processes died, or lost their sessions, at offset 0"
            assert f"records of t[0] are handled one at a time, because {why}" in notes
            gates.open_all()
