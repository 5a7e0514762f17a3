"""An unclean election truncates a log that was read (KIP-320), on the in-memory Kafka: the engine's part."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from evkafka import Request
from evkafka.exceptions import BrokerRefused
from evkafka.records import OffsetReset, TopicPartition
from evkafka.runtime.leader_epochs import UNKNOWN, EpochStart, LeaderEpochs
from evkafka.telemetry import PositionReset
from evkafka.testing import InMemoryKafka
from tests.testing.memory.apps import make_app

ORDERS = TopicPartition("orders", 0)


async def send(kafka: InMemoryKafka, count: int) -> None:
    for _ in range(count):
        await kafka.send("orders", b"x", "E")


def resets_of(app: Any) -> list[OffsetReset]:
    resets: list[OffsetReset] = []
    app.telemetry.listen(PositionReset, lambda event: resets.append(event.reset))
    return resets


class TestAGroupThatIsAway:
    @pytest.mark.parametrize("keys", [{}, {"auto_offset_reset": "latest"}, {"auto_commit_mode": "pre-commit"}])
    async def test_goes_on_where_the_logs_part_though_the_new_one_is_longer(
        self, keys: dict[str, Any], caplog: pytest.LogCaptureFixture
    ) -> None:
        async with InMemoryKafka() as kafka:
            kafka.create_topic("orders")
            kafka.commit("billing", "orders", offset=0)
            first, seen = make_app(**keys)
            async with kafka.running(first):
                await send(kafka, 10)
                await kafka.settle()
            kafka.lose_records("orders", after=4)
            await send(kafka, 20)
            again, seen_again = make_app(**keys)
            resets = resets_of(again)
            with caplog.at_level(logging.WARNING):
                async with kafka.running(again):
                    await kafka.settle()
            assert seen.offsets() == list(range(10))
            assert seen_again.offsets() == list(range(4, 24))
            assert resets == [OffsetReset(ORDERS, 10, 4, "truncated")]
            assert "after it had been read up to offset 10; reading from offset 4" in caplog.text
            kafka.assert_committed(group="billing", topic="orders", offset=24)

    async def test_an_offset_that_an_admin_has_committed_is_not_changed(self) -> None:
        async with InMemoryKafka() as kafka:
            await send(kafka, 10)
            kafka.lose_records("orders", after=4)
            await send(kafka, 20)
            kafka.commit("billing", "orders", offset=10)  # without an epoch: there is nothing to check
            app, seen = make_app()
            async with kafka.running(app):
                await kafka.settle()
            assert seen.offsets() == list(range(10, 24))

    async def test_with_none_a_person_decides(self) -> None:
        async with InMemoryKafka() as kafka:
            kafka.create_topic("orders")
            kafka.commit("billing", "orders", offset=0)
            first, _ = make_app(auto_offset_reset="none")
            async with kafka.running(first):
                await send(kafka, 10)
                await kafka.settle()
            kafka.lose_records("orders", after=4)
            again, seen = make_app(auto_offset_reset="none")
            with pytest.raises(
                BrokerRefused, match=r"orders\[0\] was truncated to offset 4 after it had been read up to 10"
            ):
                async with kafka.running(again, joined=False):
                    await kafka.settle()
            assert seen == []


class TestAGroupThatRuns:
    async def test_goes_on_at_the_cut_and_commits_that_at_once(self) -> None:
        app, seen = make_app()
        async with InMemoryKafka() as kafka, kafka.running(app):
            await send(kafka, 10)
            await kafka.settle()
            kafka.lose_records("orders", after=4)
            await kafka.settle()
            kafka.assert_committed(group="billing", topic="orders", offset=4)
            await send(kafka, 1)
            await kafka.settle()
            assert seen.offsets() == [*range(10), 4]

    async def test_with_the_new_log_past_its_position_handles_the_new_records(self) -> None:
        app, seen = make_app()
        async with InMemoryKafka() as kafka, kafka.running(app):
            await send(kafka, 10)
            await kafka.settle()
            kafka.lose_records("orders", after=4)
            await send(kafka, 20)
            await kafka.settle()
            assert seen.offsets() == [*range(10), *range(4, 24)]

    async def test_a_gap_after_the_cut_belongs_to_the_new_leader(self) -> None:
        app, seen = make_app()
        resets = resets_of(app)
        async with InMemoryKafka() as kafka, kafka.running(app):
            await send(kafka, 10)
            await kafka.settle()
            kafka.lose_records("orders", after=4)
            kafka.make_gap("orders", offsets=2)
            await kafka.advance(ms=10_000)
            await send(kafka, 2)
            await kafka.settle()
        assert seen.offsets() == [*range(10), 6, 7]
        assert resets[1:] == [OffsetReset(ORDERS, 10, 4, "truncated")]

    async def test_unfinished_records_before_the_truncation_are_handled_again(self) -> None:
        held = asyncio.Event()

        async def wait(request: Request) -> None:
            if request.offset == 1 and not held.is_set():
                await held.wait()

        app, seen = make_app(wait)
        async with InMemoryKafka() as kafka, kafka.running(app):
            await send(kafka, 6)
            await kafka.advance(ms=1_000)
            kafka.lose_records("orders", after=4)
            await kafka.advance(ms=1_000)
            kafka.assert_committed(group="billing", topic="orders", offset=1)
            held.set()
            await kafka.settle()
            assert seen.offsets() == [0, 1, 1, 2, 3]
            kafka.assert_committed(group="billing", topic="orders", offset=4)

    async def test_two_cuts_while_it_is_in_the_middle_lose_nothing_that_survived(self) -> None:
        app, seen = make_app()
        async with InMemoryKafka() as kafka, kafka.running(app):
            await send(kafka, 10)
            await kafka.settle()
            kafka.lose_records("orders", after=6)
            await send(kafka, 2)
            kafka.lose_records("orders", after=3)
            await send(kafka, 9)
            await kafka.settle()
            assert seen.offsets() == [*range(10), *range(3, 12)]

    async def test_a_new_leader_with_all_records_resets_nothing(self) -> None:
        app, seen = make_app()
        async with InMemoryKafka() as kafka, kafka.running(app):
            resets = resets_of(app)
            for _ in range(3):
                await send(kafka, 5)
                await kafka.settle()
                kafka.elect_leader("orders")
            await send(kafka, 5)
            await kafka.settle()
            assert seen.offsets() == list(range(20))
            assert [reset.reason for reset in resets] in ([], ["no_commit"])

    async def test_after_a_seek_back_the_check_holds(self) -> None:
        app, seen = make_app()
        async with InMemoryKafka() as kafka, kafka.running(app):
            await send(kafka, 10)
            await kafka.settle()
            app.consumer("consumer-1").pause("orders", 0)
            app.consumer("consumer-1").seek("orders", 0, 7)
            kafka.lose_records("orders", after=4)
            await send(kafka, 10)
            app.consumer("consumer-1").resume("orders", 0)
            await kafka.settle()
            assert seen.offsets() == [*range(10), *range(4, 14)]


class TestRetention:
    async def test_after_the_position_leaves_records_in_memory_to_be_handled(self) -> None:
        held = asyncio.Event()

        async def wait(request: Request) -> None:
            if request.offset == 1:
                await held.wait()

        app, seen = make_app(wait, max_poll_records=3)
        async with InMemoryKafka() as kafka, kafka.running(app):
            await send(kafka, 3)
            await kafka.advance(ms=1_000)
            with kafka.latency(fetch_ms=500):
                await send(kafka, 5)
                kafka.delete_records("orders", before=6)
                await kafka.advance(ms=1_000)
            held.set()
            await kafka.settle()
            assert seen.offsets() == [0, 1, 2, 6, 7]
            kafka.assert_committed(group="billing", topic="orders", offset=8)


class TestLeaderEpochs:
    def test_gives_the_epoch_of_the_record_before_an_offset(self) -> None:
        epochs = LeaderEpochs()
        epochs.start_with_epoch(ORDERS, 3)
        epochs.add_read(ORDERS, [EpochStart(10, 3), EpochStart(20, 5)])
        assert [epochs.epoch_before(ORDERS, offset) for offset in (0, 15, 20, 21)] == [3, 3, 3, 5]
        assert epochs.latest_epoch(ORDERS) == 5

    def test_knows_no_epoch_of_records_that_were_not_read(self) -> None:
        epochs = LeaderEpochs()
        epochs.start_with_epoch(ORDERS, UNKNOWN)
        assert (epochs.latest_epoch(ORDERS), epochs.epoch_before(ORDERS, 7)) == (UNKNOWN, UNKNOWN)
        epochs.add_read(ORDERS, [EpochStart(7, UNKNOWN)])
        assert epochs.latest_epoch(ORDERS) == UNKNOWN

    def test_forgets_later_epochs_when_reading_goes_back(self) -> None:
        epochs = LeaderEpochs()
        epochs.start_with_epoch(ORDERS, 3)
        epochs.add_read(ORDERS, [EpochStart(20, 5)])
        epochs.go_back(ORDERS, 20)
        assert epochs.latest_epoch(ORDERS) == 3
        epochs.forget_partition(ORDERS)
        assert epochs.latest_epoch(ORDERS) == UNKNOWN
