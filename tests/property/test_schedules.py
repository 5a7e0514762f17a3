"""No record is lost and order holds, whatever happens: thousands of schedules of crashes, rebalances and faults."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator

import pytest

from evkafka import ConsumerConfig
from evkafka.offsets import OffsetLedger
from evkafka.ports import TopicPartition
from evkafka.runtime.consumer import Consumer
from evkafka.runtime.partition import Partition
from tests.property.schedule import GROUP, TOPIC, Broken, run_schedules

SEEDS = int(os.environ.get("EVKAFKA_SCHEDULES", "4000"))

BASE: ConsumerConfig = {
    "topics": [TOPIC],
    "group_id": GROUP,
    "auto_offset_reset": "earliest",
    "consumer_timeout_ms": 2000,  # fewer turns of the virtual clock
    "on_error": {"backoff_ms": 100, "max_backoff_ms": 1000},
}


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """The schedules break things on purpose; what the engine says of it is not the point here."""
    logger = logging.getLogger("evkafka")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    yield
    logger.setLevel(level)


class TestNothingIsLost:
    @pytest.mark.timeout(300)
    @pytest.mark.parametrize(
        ("share", "config"),
        [
            pytest.param(0.5, BASE, id="in-order"),
            pytest.param(0.1, {**BASE, "auto_commit_interval_ms": 0}, id="commit-at-once"),
            pytest.param(0.1, {**BASE, "max_pending_records": 4, "max_poll_records": 2}, id="small-bounds"),
            pytest.param(0.2, {**BASE, "concurrency": 4}, id="by-key"),
            pytest.param(0.1, {**BASE, "concurrency": 4, "ordering": "partition"}, id="by-partition"),
        ],
    )
    def test_in_any_schedule(self, share: float, config: ConsumerConfig) -> None:
        run_schedules(range(int(SEEDS * share)), config)


class TestTheProofItself:
    """A proof that cannot fail proves nothing: break the ledger by hand, and the schedules must notice."""

    def test_committing_one_too_far_is_noticed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        honest = OffsetLedger.committable

        def one_too_far(ledger: OffsetLedger) -> int | None:
            offset = honest(ledger)
            return offset + 1 if offset is not None and ledger.pending else offset

        monkeypatch.setattr(OffsetLedger, "committable", one_too_far)
        with pytest.raises(Broken):
            run_schedules(range(300), BASE)

    def test_forgetting_the_epoch_is_noticed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Ledgers that are kept over assignments, and take results of an old one for results of the new one."""
        kept: dict[tuple[int, TopicPartition], Partition] = {}
        honest = Consumer._new_partition

        def kept_partition(consumer: Consumer, tp: TopicPartition) -> Partition:
            partition = honest(consumer, tp)
            old = kept.get((id(consumer), tp))
            if old is not None:
                partition.ledger = old.ledger
                partition.ledger._last = -1
            kept[id(consumer), tp] = partition
            return partition

        monkeypatch.setattr(OffsetLedger, "seal", lambda ledger: None)
        monkeypatch.setattr(Consumer, "_new_partition", kept_partition)
        with pytest.raises((Broken, TimeoutError, AssertionError)):
            run_schedules(range(300), BASE)

    def test_handling_a_lane_out_of_order_is_noticed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from evkafka.runtime.executor import Executor

        def put_back_last(executor: Executor, lane: object, record: object, delay_s: float) -> None:
            lane.queue.append(record)  # type: ignore[attr-defined]
            lane.attempt = executor.slot.attempt + 1  # type: ignore[attr-defined]
            executor._lanes.wait(lane, delay_s)  # type: ignore[arg-type]

        monkeypatch.setattr(Executor, "_put_back", put_back_last)
        with pytest.raises((Broken, AssertionError)):
            run_schedules(range(300), BASE)
