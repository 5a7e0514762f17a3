"""Groups whose members speak the consumer protocol (KIP-848): what moves, what stays, and who is fenced."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from evkafka import EVKafkaApp, Handler, Request
from evkafka.records import TopicPartition
from evkafka.telemetry import CommitFailed, PartitionsAssigned, PartitionsRevoked
from evkafka.testing import InMemoryKafka

PARTITIONS = 4


class Member:
    """An app with one consumer. Attempts wait at its gate; `seen` are those that have ended, by partition and offset.

    Attributes:
        changes: how many partitions each event of a rebalance named: positive if they were assigned.
    """

    def __init__(self, **keys: Any) -> None:
        self.seen: list[tuple[int, int]] = []
        self.begun: list[tuple[int, int]] = []
        self.changes: list[int] = []
        self.lost: list[TopicPartition] = []
        self.gate = asyncio.Event()
        self.gate.set()
        handler = Handler()

        @handler.event("E")
        async def on_e(value: bytes, request: Request) -> None:
            self.begun.append((request.partition, request.offset))
            await self.gate.wait()
            self.seen.append((request.partition, request.offset))

        self.app = EVKafkaApp()
        self.app.telemetry.listen(PartitionsAssigned, lambda event: self.changes.append(len(event.partitions)))
        self.app.telemetry.listen(PartitionsRevoked, self._on_revoked)
        config: dict[str, Any] = {
            "topics": ["t"],
            "group_id": "g",
            "group_protocol": "consumer",
            "auto_offset_reset": "earliest",
            "auto_commit_interval_ms": 100,
            "concurrency": PARTITIONS,
            "ordering": "partition",
            **keys,
        }
        self.app.add_consumer(config, handler, "it")  # type: ignore[arg-type]

    def _on_revoked(self, event: PartitionsRevoked) -> None:
        self.changes.append(-len(event.partitions))
        if event.lost:
            self.lost += event.partitions

    @property
    def has(self) -> set[int]:
        assert self.app.service is not None
        return {tp.partition for tp in self.app.service.consumers["it"].assigned_partitions}


async def send_to_all(kafka: InMemoryKafka, partitions: Sequence[int] = range(PARTITIONS)) -> None:
    for partition in partitions:
        await kafka.send("t", b"x", "E", partition=partition)


async def until(kafka: InMemoryKafka, predicate: Callable[[], object]) -> None:
    for _ in range(6_000):
        if predicate():
            return
        await kafka.advance(ms=10)
    raise AssertionError("did not come about within a minute of the virtual clock")


@pytest.fixture
def kafka() -> InMemoryKafka:
    return InMemoryKafka(seed=1, partitions=PARTITIONS)


class TestAJoin:
    async def test_moves_the_share_of_the_new_member_and_leaves_the_rest(self, kafka: InMemoryKafka) -> None:
        one, two, three = Member(), Member(), Member()
        async with kafka, kafka.running(one.app):
            assert one.has == {0, 1, 2, 3}
            async with kafka.running(two.app), kafka.running(three.app):
                assert sorted(map(len, (one.has, two.has, three.has))) == [1, 1, 2]
                moved = [-change for change in one.changes + two.changes if change < 0]
                assert sum(moved) == 3  # two for the second member, one for the third

    async def test_waits_for_records_in_flight_of_what_moves_only(self, kafka: InMemoryKafka) -> None:
        one, two = Member(), Member()
        one.gate.clear()
        async with kafka, kafka.running(one.app):
            await send_to_all(kafka)
            await until(kafka, lambda: len(one.begun) == PARTITIONS)
            async with kafka.running(two.app, joined=False):
                await kafka.advance(ms=1_000)
                assert (one.has, two.has) == ({0, 1, 2, 3}, set())
                one.gate.set()
                await until(kafka, lambda: len(two.has) == 2)
                await kafka.settle()
        assert sorted(one.seen) == [(partition, 0) for partition in range(PARTITIONS)]
        assert (len(one.begun), two.begun) == (PARTITIONS, [])


class TestALeave:
    async def test_gives_the_partitions_to_the_others_and_revokes_nothing(self, kafka: InMemoryKafka) -> None:
        one, two = Member(), Member()
        async with kafka, kafka.running(one.app):
            async with kafka.running(two.app):
                one.changes.clear()
            await until(kafka, lambda: len(one.has) == PARTITIONS)
            assert one.changes == [2]


class TestACrash:
    async def test_holds_up_only_its_own_partitions_until_its_session_has_expired(self, kafka: InMemoryKafka) -> None:
        one, two = Member(), Member()
        async with kafka, kafka.running(one.app), kafka.running(two.app):
            mine, others = one.has, two.has
            await kafka.crash(two.app)
            await send_to_all(kafka)
            await kafka.advance(ms=10_000)
            assert sorted(one.seen) == sorted((partition, 0) for partition in mine)
            await kafka.settle()
            assert sorted(one.seen[2:]) == sorted((partition, 0) for partition in others)
            assert two.seen == []


class TestAnExpiredSession:
    async def test_lets_the_member_lose_its_partitions_commit_nothing_and_join_again(
        self, kafka: InMemoryKafka
    ) -> None:
        one, two = Member(), Member()
        refused = list[CommitFailed]()
        one.app.telemetry.listen(CommitFailed, refused.append)
        one.gate.clear()
        async with kafka, kafka.running(one.app), kafka.running(two.app):
            mine = one.has
            await send_to_all(kafka, sorted(mine))
            await until(kafka, lambda: len(one.begun) == 2)
            await kafka.expire(one.app)
            await until(kafka, lambda: len(two.seen) == 2)
            await until(kafka, lambda: {tp.partition for tp in one.lost} == mine)
            one.gate.set()
            await kafka.settle()
            assert len(one.has) == len(two.has) == 2
        assert one.seen == []
        assert sorted(two.seen) == sorted((partition, 0) for partition in mine)


class TestARebalance:
    async def test_that_a_test_asks_for_moves_every_partition(self, kafka: InMemoryKafka) -> None:
        one = Member()
        async with kafka, kafka.running(one.app):
            one.changes.clear()
            await kafka.rebalance("g")
            assert one.changes == [-4, 0, 4]
            await send_to_all(kafka)
            await kafka.settle()
        assert len(one.seen) == PARTITIONS


class TestAddedPartitions:
    async def test_are_assigned_in_addition(self, kafka: InMemoryKafka) -> None:
        one = Member()
        async with kafka, kafka.running(one.app):
            one.changes.clear()
            kafka.add_partitions("t", 2)
            await until(kafka, lambda: len(one.has) == 6)
            assert one.changes == [2]
            await send_to_all(kafka, range(6))
            await kafka.settle()
        assert len(one.seen) == 6


@pytest.mark.parametrize("group_protocol", ["classic", "consumer"])
class TestADeletedTopic:
    async def test_is_revoked_with_its_offsets(self, kafka: InMemoryKafka, group_protocol: str) -> None:
        one = Member(group_protocol=group_protocol)
        async with kafka, kafka.running(one.app):
            await send_to_all(kafka)
            await kafka.settle()
            kafka.delete_topic("t")
            await until(kafka, lambda: one.has == set())
            assert kafka.committed("g", "t") is None

    async def test_that_is_created_again_is_read_from_its_beginning(
        self, kafka: InMemoryKafka, group_protocol: str
    ) -> None:
        one, two = Member(group_protocol=group_protocol, topics=["t", "u"]), Member(group_protocol=group_protocol)
        async with kafka, kafka.running(one.app), kafka.running(two.app):
            await send_to_all(kafka)
            await kafka.settle()
            one.begun.clear()
            two.begun.clear()
            kafka.delete_topic("t")
            kafka.create_topic("t", 2)
            await send_to_all(kafka, range(2))
            await kafka.settle()
            assert sorted([*one.begun, *two.begun]) == [(0, 0), (1, 0)]
            assert [kafka.committed("g", "t", partition) for partition in range(2)] == [1, 1]


class TestAStaticMember:
    async def test_that_is_back_within_its_session_has_its_partitions_and_others_notice_nothing(
        self, kafka: InMemoryKafka
    ) -> None:
        one, two, again = Member(), Member(group_instance_id="two"), Member(group_instance_id="two")
        async with kafka, kafka.running(one.app):
            async with kafka.running(two.app):
                had = two.has
                one.changes.clear()
            await kafka.advance(ms=10_000)
            assert len(one.has) == 2
            async with kafka.running(again.app):
                assert again.has == had
                assert one.changes == []

    async def test_that_stays_away_gives_its_partitions_up_after_its_session(self, kafka: InMemoryKafka) -> None:
        one, two = Member(), Member(group_instance_id="two")
        async with kafka, kafka.running(one.app):
            async with kafka.running(two.app):
                pass
            await send_to_all(kafka)
            await kafka.settle()
            assert len(one.has) == PARTITIONS
        assert len(one.seen) == PARTITIONS

    async def test_waits_while_another_process_has_its_instance_id(self, kafka: InMemoryKafka) -> None:
        one, other = Member(group_instance_id="one"), Member(group_instance_id="one")
        async with kafka, kafka.running(other.app), kafka.running(one.app, joined=False):
            await kafka.advance(ms=10_000)
            assert (one.has, len(other.has)) == (set(), PARTITIONS)
            assert one.app.status().consumers[0].membership == "joining"


class TestAnUpgrade:
    async def test_lets_classic_and_new_members_share_the_partitions(self, kafka: InMemoryKafka) -> None:
        old, new, newer = Member(group_protocol="classic"), Member(), Member()
        async with kafka, kafka.running(new.app):
            async with kafka.running(old.app):
                assert len(old.has) == len(new.has) == 2
                await send_to_all(kafka)
                await kafka.settle()
                before = new.has
                async with kafka.running(newer.app):
                    assert sorted(map(len, (old.has, new.has, newer.has))) == [1, 1, 2]
                    assert new.has <= before
                    await send_to_all(kafka)
                    await kafka.settle()
            await send_to_all(kafka)
            await kafka.settle()
        seen = [*old.seen, *new.seen, *newer.seen]
        assert sorted(seen) == [(partition, offset) for partition in range(PARTITIONS) for offset in range(3)]

    async def test_and_back_leaves_nothing_unhandled(self, kafka: InMemoryKafka) -> None:
        old, new = Member(group_protocol="classic"), Member()
        async with kafka, kafka.running(old.app):
            await send_to_all(kafka)
            async with kafka.running(new.app):
                await send_to_all(kafka)
                await kafka.settle()
                assert len(new.has) == 2
            await kafka.settle()
            assert len(old.has) == PARTITIONS
            await send_to_all(kafka)
            await kafka.settle()
        assert sorted([*old.seen, *new.seen]) == [
            (partition, offset) for partition in range(PARTITIONS) for offset in range(3)
        ]


class TestAMemberWithTheProtocolAuto:
    async def test_speaks_the_consumer_protocol(self, kafka: InMemoryKafka) -> None:
        one, two = Member(group_protocol="auto"), Member(group_protocol="auto")
        async with kafka, kafka.running(one.app), kafka.running(two.app):
            assert one.changes == [4, -2, 0]


class TestACommitThatIsLate:
    async def test_is_refused_if_its_partition_has_moved_and_is_back(self, kafka: InMemoryKafka) -> None:
        """Sent before the partition was given away, it arrives when this member has it again: it must not count."""
        one = Member(revoke_drain_timeout_ms=100)
        failed = list[CommitFailed]()
        one.app.telemetry.listen(CommitFailed, failed.append)
        async with kafka, kafka.running(one.app):
            await send_to_all(kafka, [0])
            await until(kafka, lambda: kafka.committed("g", "t", 0) == 1)
            source = one.app.service.consumers["it"]._assignment.source  # type: ignore[union-attr]
            assert source is not None
            with kafka.latency(commit_ms=30_000):
                late = asyncio.ensure_future(source.commit({TopicPartition("t", 0): 0}, timeout_s=60))
                await kafka.advance(ms=1)
            await kafka.rebalance("g")
            with pytest.raises(Exception, match="belong to another member"):
                await asyncio.gather(late, kafka.advance(ms=60_000))
            assert kafka.committed("g", "t", 0) == 1
