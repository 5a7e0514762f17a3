"""No record is lost and order is kept in thousands of random schedules of crashes, rebalances and faults.

`EVKAFKA_SCHEDULES` sets their number; `EVKAFKA_SCHEDULE_SEED` runs only that one and shows its trace if it fails.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from typing import Any

import pytest

from evkafka import ConsumerConfig
from evkafka.records import Record, TopicPartition
from evkafka.runtime.assignment import Assignment
from evkafka.runtime.dead_letters.writer import DeadLetterWriter
from evkafka.runtime.executor import Executor
from evkafka.runtime.lost_or_doubled_records import OffsetMisplaced
from evkafka.runtime.offsets import OffsetLedger
from evkafka.runtime.partition import Lane, Partition
from evkafka.testing import NotSettled
from evkafka.testing.memory.partition_queue import PartitionQueue
from evkafka.testing.memory.pending_record import PendingRecord
from tests.property.schedule import BASE, MORE, SEEDS, Broken, Protocols, first, run_schedules
from tests.property.worker import Kind

SMALL: Any = {"concurrency": 4, "auto_commit_interval_ms": 0, "max_pending_records": 8}
DEAD_LETTERS: Any = {"backoff_ms": 100, "max_attempts": 3, "then": "dead_letter", "dead_letter_limit": None}
TIERS: Any = {**DEAD_LETTERS, "max_attempts": 2, "retry_topics": [500, 3_000]}

RECORDS = [
    pytest.param(0.2, BASE, id="in-order"),
    pytest.param(0.1, {**BASE, "auto_commit_interval_ms": 0}, id="commit-at-once"),
    pytest.param(0.1, {**BASE, "max_pending_records": 4, "max_poll_records": 2}, id="small-bounds"),
    pytest.param(0.1, {**BASE, "concurrency": 16}, id="by-key"),
    pytest.param(0.1, {**BASE, "concurrency": 16, "ordering": "partition"}, id="by-partition"),
    pytest.param(0.1, {**BASE, "concurrency": 16, "ordering": "unordered"}, id="unordered"),
    pytest.param(0.1, {**BASE, **SMALL, "on_error": DEAD_LETTERS}, id="dead-letters"),
    pytest.param(0.03, {**BASE, "concurrency": 16, "on_error": TIERS}, id="retry-topics"),
]
BATCHES = [
    pytest.param(0.05, BASE, id="in-order"),
    pytest.param(0.05, {**BASE, **SMALL}, id="by-key"),
    pytest.param(0.05, {**BASE, "concurrency": 4, "ordering": "partition"}, id="by-partition"),
    pytest.param(0.05, {**BASE, **SMALL, "on_error": DEAD_LETTERS}, id="dead-letters"),
    pytest.param(0.02, {**BASE, **SMALL, "on_error": TIERS}, id="retry-topics"),
]


CANCELLED = [
    pytest.param("records", BASE, id="in-order"),
    pytest.param("records", {**BASE, **SMALL}, id="by-key"),
    pytest.param("records", {**BASE, **SMALL, "on_error": TIERS}, id="retry-topics"),
    pytest.param("batches", {**BASE, **SMALL, "on_error": DEAD_LETTERS}, id="batches"),
    pytest.param("all", {**BASE, **SMALL, "on_error": DEAD_LETTERS}, id="all-kinds"),
]
SLOW = [
    pytest.param({**BASE, "revoke_drain_timeout_ms": 2_000}, id="in-order"),
    pytest.param({**BASE, "revoke_drain_timeout_ms": 2_000, "concurrency": 4}, id="by-key"),
]
ALL_KINDS = [
    pytest.param({**BASE, **SMALL, "on_error": DEAD_LETTERS}, id="by-key"),
    pytest.param({**BASE, **SMALL, "ordering": "partition", "on_error": DEAD_LETTERS}, id="by-partition"),
    pytest.param({**BASE, "on_error": DEAD_LETTERS}, id="in-order"),
    pytest.param({**BASE, **SMALL, "on_error": TIERS}, id="retry-topics"),
]


@pytest.fixture(autouse=True)
def no_log() -> Iterator[None]:
    """Suppress the log: the schedules cause errors on purpose."""
    logger = logging.getLogger("evkafka")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    yield
    logger.setLevel(level)


class TestNothingIsLost:
    """No record is lost or handled out of order, and every confirmed output is written."""

    @pytest.mark.timeout(300)
    @pytest.mark.parametrize(("share", "config"), RECORDS)
    def test_in_random_schedules(self, share: float, config: ConsumerConfig) -> None:
        run_schedules(first(share), config)

    @pytest.mark.timeout(300)
    @pytest.mark.parametrize(("share", "config"), BATCHES)
    def test_in_batches(self, share: float, config: ConsumerConfig) -> None:
        run_schedules(first(share), config, kind="batches")

    @pytest.mark.timeout(300)
    @pytest.mark.parametrize("config", ALL_KINDS)
    def test_with_endpoints_of_every_kind(self, config: ConsumerConfig) -> None:
        """Limited event types, threads and batches, with pauses, seeks, dead letters, retry topics and stops."""
        run_schedules(first(0.02), config, kind="all", steps=25)

    @pytest.mark.timeout(300)
    @pytest.mark.parametrize("protocols", ["classic", "consumer", "mixed"])
    @pytest.mark.parametrize("config", SLOW)
    def test_with_endpoints_that_may_take_longer_than_the_drain_time(
        self, config: ConsumerConfig, protocols: Protocols
    ) -> None:
        run_schedules(first(0.02), config, kind="slow", protocols=protocols)

    @pytest.mark.long
    @pytest.mark.timeout(1200)
    @pytest.mark.parametrize("protocols", ["classic", "consumer", "mixed"])
    @pytest.mark.parametrize("config", SLOW)
    def test_with_slow_endpoints_in_many_more(self, config: ConsumerConfig, protocols: Protocols) -> None:
        run_schedules(MORE[: int(SEEDS * 0.3)], config, kind="slow", protocols=protocols)

    @pytest.mark.long
    @pytest.mark.timeout(1200)
    @pytest.mark.parametrize("config", ALL_KINDS)
    def test_with_endpoints_of_every_kind_in_many_more(self, config: ConsumerConfig) -> None:
        run_schedules(MORE[: int(SEEDS * 0.4)], config, kind="all", steps=25)

    @pytest.mark.long
    @pytest.mark.timeout(600)
    @pytest.mark.parametrize(("share", "config"), RECORDS)
    def test_in_many_more_schedules(self, share: float, config: ConsumerConfig) -> None:
        run_schedules(MORE[: int(len(MORE) * share)], config)

    @pytest.mark.long
    @pytest.mark.timeout(600)
    @pytest.mark.parametrize(("share", "config"), BATCHES)
    def test_in_many_more_in_batches(self, share: float, config: ConsumerConfig) -> None:
        run_schedules(MORE[: int(len(MORE) * share)], config, kind="batches")


NEW_PROTOCOL = [
    pytest.param(0.2, "consumer", id="consumer"),
    pytest.param(0.05, "mixed", id="classic-and-consumer"),
]


@pytest.mark.parametrize(("part", "protocols"), NEW_PROTOCOL)
class TestWithTheConsumerProtocol:
    """The same, in groups whose members speak the consumer protocol, or one of the two."""

    @pytest.mark.timeout(300)
    @pytest.mark.parametrize(("share", "config"), RECORDS)
    def test_nothing_is_lost_in_random_schedules(
        self, share: float, config: ConsumerConfig, part: float, protocols: Protocols
    ) -> None:
        run_schedules(first(share * part), config, protocols=protocols)

    @pytest.mark.timeout(300)
    @pytest.mark.parametrize(("share", "config"), BATCHES)
    def test_nothing_is_lost_in_batches(
        self, share: float, config: ConsumerConfig, part: float, protocols: Protocols
    ) -> None:
        run_schedules(first(share * part), config, kind="batches", protocols=protocols)

    @pytest.mark.timeout(300)
    @pytest.mark.parametrize("config", ALL_KINDS)
    def test_nothing_is_lost_with_endpoints_of_every_kind(
        self, config: ConsumerConfig, part: float, protocols: Protocols
    ) -> None:
        run_schedules(first(0.02 * part), config, kind="all", steps=25, protocols=protocols)

    @pytest.mark.long
    @pytest.mark.timeout(1200)
    @pytest.mark.parametrize(("share", "config"), RECORDS)
    def test_nothing_is_lost_in_many_more_schedules(
        self, share: float, config: ConsumerConfig, part: float, protocols: Protocols
    ) -> None:
        run_schedules(MORE[: int(len(MORE) * share * part)], config, protocols=protocols)

    @pytest.mark.long
    @pytest.mark.timeout(1200)
    @pytest.mark.parametrize("config", ALL_KINDS)
    def test_nothing_is_lost_with_endpoints_of_every_kind_in_many_more(
        self, config: ConsumerConfig, part: float, protocols: Protocols
    ) -> None:
        run_schedules(MORE[: int(SEEDS * 0.4 * part)], config, kind="all", steps=25, protocols=protocols)


class TestACancelledTask:
    """Cancelled at any time, as a helper that cancels all tasks does, or a timeout that an endpoint left behind."""

    @pytest.mark.timeout(300)
    @pytest.mark.parametrize(("kind", "config"), CANCELLED)
    def test_loses_nothing(self, kind: Kind, config: ConsumerConfig) -> None:
        run_schedules(range(12), config, kind=kind, steps=25, cancels=True)

    @pytest.mark.long
    @pytest.mark.timeout(1200)
    @pytest.mark.parametrize(("kind", "config"), CANCELLED)
    def test_loses_nothing_in_many_more(self, kind: Kind, config: ConsumerConfig) -> None:
        run_schedules(range(1000, 1250), config, kind=kind, steps=25, cancels=True)


def commit_one_too_far(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the ledger commit one open record."""
    original = OffsetLedger.committable

    def committable(ledger: OffsetLedger) -> int | None:
        offset = original(ledger)
        return offset + 1 if offset is not None and ledger.unfinished_count else offset

    monkeypatch.setattr(OffsetLedger, "committable", committable)


class TestTheCheckItself:
    """Each breakage of a guarantee must make the schedules fail."""

    def test_committing_an_open_record_is_detected(self, monkeypatch: pytest.MonkeyPatch) -> None:
        commit_one_too_far(monkeypatch)
        with pytest.raises(Broken, match=r"committed \d+ of partition"):
            run_schedules(range(300), BASE)

    def test_results_of_an_old_assignment_are_detected(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Keep ledgers over assignments, so that they accept results of an old assignment."""
        kept: dict[tuple[int, TopicPartition], Partition] = {}
        original = Assignment.add_new_partition

        def kept_partition(assignment: Assignment, tp: TopicPartition) -> Partition:
            partition = original(assignment, tp)
            old = kept.get((id(assignment), tp))
            if old is not None:
                partition.ledger = old.ledger
                partition.ledger._last = -1
            kept[id(assignment), tp] = partition
            return partition

        monkeypatch.setattr(OffsetLedger, "seal", lambda ledger: None)
        monkeypatch.setattr(Assignment, "add_new_partition", kept_partition)
        # A record is lost, or open twice, or the ledger has a gap that nothing fills.
        with pytest.raises((Broken, NotSettled, OffsetMisplaced)):
            run_schedules(range(300), BASE)

    def test_handling_a_lane_out_of_order_is_detected(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Retry failed records after later ones."""
        original = Executor._put_back_failed_to_retry_later

        def put_back_last(executor: Executor, lane: Lane, record: Record, delay_s: float) -> None:
            original(executor, lane, record, delay_s)
            lane.queue.rotate(-1)

        monkeypatch.setattr(Executor, "_put_back_failed_to_retry_later", put_back_last)
        with pytest.raises(Broken, match="was handled in the order"):
            run_schedules(range(300), BASE)

    def test_confirming_an_unwritten_send_is_detected(self, monkeypatch: pytest.MonkeyPatch) -> None:
        async def write_nothing(queue: PartitionQueue, record: PendingRecord) -> int:
            return 0

        monkeypatch.setattr(PartitionQueue, "_write_record_and_return_offset", write_nothing)
        with pytest.raises(Broken, match="were confirmed, and are not in the log"):
            run_schedules(range(300), BASE)

    def test_committing_without_the_dead_letter_is_detected(self, monkeypatch: pytest.MonkeyPatch) -> None:
        async def send_to_dead_letter(*_: object) -> None:
            return None

        monkeypatch.setattr(DeadLetterWriter, "send_to_dead_letter", send_to_dead_letter)
        with pytest.raises(Broken, match="is unhandled"):
            run_schedules(range(300), {**BASE, "on_error": DEAD_LETTERS})

    def test_committing_without_the_record_in_its_retry_topic_is_detected(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def send_to_retry_topic(*_: object) -> None:
            return None

        monkeypatch.setattr(DeadLetterWriter, "send_to_retry_topic", send_to_retry_topic)
        with pytest.raises(Broken, match="is unhandled"):
            run_schedules(range(300), {**BASE, "on_error": TIERS})

    def test_committing_a_record_that_waits_in_a_retry_topic_is_detected(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Take the position after records that were read but are not due for a position that may be committed."""

        def set_read_position(partition: Partition, position: int | None) -> None:
            partition.ledger.set_read_position(partition.held[0].offset if partition.held else position)

        monkeypatch.setattr(Partition, "set_read_position", set_read_position)
        with pytest.raises(Broken, match=r"of t\.g\.retry\.\d+\[\d\], but .* is unhandled"):
            run_schedules(range(300), {**BASE, "on_error": TIERS})


class TestAFailingSeed:
    def test_is_named_and_fails_again_alone_and_shows_its_trace(self, monkeypatch: pytest.MonkeyPatch) -> None:
        commit_one_too_far(monkeypatch)
        with pytest.raises(Broken) as first:
            run_schedules(range(300), BASE)
        [note] = first.value.__notes__
        [seed] = re.findall(r"EVKAFKA_SCHEDULE_SEED=(\d+) pytest", note)

        monkeypatch.setenv("EVKAFKA_SCHEDULE_SEED", seed)
        with pytest.raises(Broken) as again:
            run_schedules(range(300), BASE)
        assert str(again.value) == str(first.value)
        assert "group g: generation 1 gives member 0" in again.value.__notes__[1]
