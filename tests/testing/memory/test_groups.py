"""Consumer groups: assignments, crashes, expired sessions, rebalances."""

from __future__ import annotations

import asyncio

import pytest

from evkafka import Request
from evkafka.records import TopicPartition
from evkafka.testing import InMemoryKafka
from evkafka.testing.memory.source import MemorySource
from tests.testing.memory.apps import make_app


def shares(kafka: InMemoryKafka) -> list[int]:
    """The number of partitions of each live member."""
    return sorted(len(m.positions) for m in kafka.group("billing").members if isinstance(m, MemorySource) and m.alive)


class TestMembers:
    async def test_share_the_partitions(self) -> None:
        (one, _), (two, _) = make_app(), make_app()
        async with InMemoryKafka(partitions=4) as kafka, kafka.running(one):
            assert shares(kafka) == [4]
            async with kafka.running(two):
                assert shares(kafka) == [2, 2]
            await kafka.settle()
            assert shares(kafka) == [4]

    async def test_have_their_partitions_when_running_is_entered(self) -> None:
        app, seen = make_app(auto_offset_reset="latest")
        async with InMemoryKafka() as kafka, kafka.running(app):
            await kafka.send("orders", b"x", "E")
            await kafka.settle()
        assert seen == [(0, 0)]

    async def test_an_app_may_run_again(self) -> None:
        app, seen = make_app()
        async with InMemoryKafka() as kafka:
            for _ in range(2):
                async with kafka.running(app):
                    await kafka.send("orders", b"x", "E")
                    await kafka.settle()
        assert seen == [(0, 0), (0, 1)]


class TestCrash:
    async def test_the_record_in_flight_comes_again_and_nothing_is_committed(self) -> None:
        async def never(request: Request) -> None:
            await asyncio.Event().wait()

        (one, first), (two, second) = make_app(never), make_app()
        async with InMemoryKafka() as kafka:
            async with kafka.running(one):
                await kafka.send("orders", b"x", "E")
                await kafka.advance(ms=1000)
                await kafka.crash(one)
            kafka.assert_committed(group="billing", topic="orders", offset=0)
            async with kafka.running(two):
                await kafka.settle()
        assert (first, second) == ([(0, 0)], [(0, 0)])
        kafka.assert_committed(group="billing", topic="orders", offset=1)

    async def test_holds_up_the_group_until_the_session_has_expired(self) -> None:
        (one, _), (two, seen) = make_app(session_timeout_ms=30_000, heartbeat_interval_ms=1000), make_app()
        async with InMemoryKafka() as kafka, kafka.running(one):
            await kafka.crash(one)
            async with kafka.running(two, joined=False):
                await kafka.send("orders", b"x", "E")
                await kafka.advance(ms=29_000)
                assert seen == []
                await kafka.advance(ms=2_000)
                assert seen == [(0, 0)]

    async def test_of_one_member_gives_its_partitions_to_the_other(self) -> None:
        (one, _), (two, seen) = make_app(), make_app()
        async with InMemoryKafka(partitions=4) as kafka, kafka.running(one), kafka.running(two):
            await kafka.crash(one)
            for partition in range(4):
                await kafka.send("orders", b"x", "E", partition=partition)
            await kafka.settle()
            assert sorted(seen) == [(partition, 0) for partition in range(4)]


class TestExpiry:
    async def test_others_get_the_partitions_and_late_commits_are_refused(self) -> None:
        gate = asyncio.Event()

        async def wait(request: Request) -> None:
            await gate.wait()

        (one, first), (two, second) = make_app(wait), make_app()
        async with InMemoryKafka() as kafka, kafka.running(one):
            await kafka.send("orders", b"x", "E")
            await kafka.advance(ms=500)
            async with kafka.running(two, joined=False):
                await kafka.expire(one)
                await kafka.advance(ms=1000)
                assert second == [(0, 0)]
                gate.set()
                await kafka.settle()
        assert first[0] == (0, 0)
        kafka.assert_committed(group="billing", topic="orders", offset=1)

    async def test_the_member_joins_again_by_itself(self) -> None:
        app, seen = make_app()
        async with InMemoryKafka() as kafka, kafka.running(app):
            await kafka.expire(app)
            await kafka.settle()
            await kafka.send("orders", b"x", "E")
            await kafka.settle()
        assert seen == [(0, 0)]


class TestRebalance:
    async def test_begins_a_new_generation_and_nothing_is_handled_twice(self) -> None:
        app, seen = make_app()
        async with InMemoryKafka(partitions=2) as kafka, kafka.running(app):
            before = kafka.group("billing").generation
            await kafka.send("orders", b"x", "E", partition=0)
            await kafka.rebalance()
            await kafka.rebalance("billing")
            await kafka.settle()
            assert kafka.group("billing").generation == before + 2
        assert seen == [(0, 0)]

    async def test_that_is_not_awaited_goes_on_while_time_passes(self) -> None:
        app, _ = make_app()
        async with InMemoryKafka() as kafka, kafka.running(app):
            before = kafka.group("billing").generation
            kafka.rebalance()  # no await
            assert kafka.group("billing").rebalancing
            await kafka.settle()
            assert kafka.group("billing").generation == before + 1

    async def test_waits_for_records_in_flight(self) -> None:
        gate = asyncio.Event()

        async def wait(request: Request) -> None:
            await gate.wait()

        app, seen = make_app(wait)
        async with InMemoryKafka() as kafka, kafka.running(app):
            await kafka.send("orders", b"x", "E")
            await kafka.advance(ms=200)
            kafka.rebalance("billing")
            await kafka.advance(ms=200)
            assert kafka.group("billing").rebalancing
            gate.set()
            await kafka.settle()
        assert seen == [(0, 0)]


class TestOffsets:
    async def test_can_be_written_by_hand(self) -> None:
        app, seen = make_app()
        async with InMemoryKafka() as kafka:
            for _ in range(3):
                await kafka.send("orders", b"x", "E")
            kafka.commit("billing", "orders", offset=2, metadata="by an admin")
            assert kafka.committed_metadata("billing", "orders") == "by an admin"
            async with kafka.running(app):
                await kafka.settle()
        assert seen == [(0, 2)]

    async def test_keep_their_metadata_until_the_next_commit_without(self) -> None:
        async with InMemoryKafka() as kafka:
            kafka.create_topic("orders")
            group, tp = kafka.group("g"), TopicPartition("orders", 0)
            group.store_commit({tp: 1}, {tp: "seven dead"})
            assert kafka.committed_metadata("g", "orders") == "seven dead"
            group.store_commit({tp: 2}, {})
            assert kafka.committed_metadata("g", "orders") == ""

    @pytest.mark.parametrize(
        ("fault", "written"),
        [("refused", False), ("unavailable", False), ("unknown, written", True), ("unknown, lost", False)],
    )
    async def test_a_commit_that_fails_is_made_again(self, fault: str, written: bool) -> None:
        app, seen = make_app()
        async with InMemoryKafka() as kafka, kafka.running(app):
            await kafka.send("orders", b"first", "E")
            await kafka.settle()
            await kafka.send("orders", b"x", "E")
            kafka.fail_commits(fault)  # type: ignore[arg-type]
            await kafka.advance(ms=5_000)
            assert kafka.committed("billing", "orders") == (2 if written else 1)
            await kafka.settle()
            kafka.assert_committed(group="billing", topic="orders", offset=2)
        assert seen == [(0, 0), (0, 1)]
