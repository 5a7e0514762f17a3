"""The consumer protocol: a rebalance moves only what must move, and nothing else notices."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import AsyncExitStack
from typing import Any

from evkafka import EVKafkaApp, Handler, Request
from evkafka.records import TopicPartition
from evkafka.telemetry import PartitionsRevoked
from tests.conformance.protocols import only_some_move
from tests.support.backends import Backend, committed_is

PARTITIONS = 4
PARALLEL: dict[str, Any] = {"concurrency": PARTITIONS, "ordering": "partition"}


class Member:
    """An app whose attempts wait until its gate is open; `begun` and `ended` count them by (partition, offset)."""

    def __init__(self, config: dict[str, Any]) -> None:
        self.begun: Counter[tuple[int, int]] = Counter()
        self.ended: Counter[tuple[int, int]] = Counter()
        self.gate = asyncio.Event()
        self.revoked: list[TopicPartition] = []
        handler = Handler()

        @handler.event("E")
        async def on_e(value: bytes, request: Request) -> None:
            self.begun[request.partition, request.offset] += 1
            await self.gate.wait()
            self.ended[request.partition, request.offset] += 1

        self.app = EVKafkaApp()
        self.app.telemetry.listen(PartitionsRevoked, lambda event: self.revoked.extend(event.partitions))
        self.app.add_consumer(config, handler)  # type: ignore[arg-type]

    @property
    def assigned(self) -> set[int]:
        return {partition.partition for one in self.app.status().consumers for partition in one.partitions}


async def send_to_all(backend: Backend, topic: str) -> None:
    for partition in range(PARTITIONS):
        await backend.send(topic, b"x", partition=partition)


async def all_committed(backend: Backend, config: dict[str, Any], topic: str, offset: int) -> None:
    for partition in range(PARTITIONS):
        await committed_is(backend, config, topic, offset, partition)


@only_some_move
class TestAMemberThatJoins:
    async def test_gets_its_share_when_that_is_drained_and_the_rest_is_not_interrupted(self, backend: Backend) -> None:
        topic = await backend.topic(PARTITIONS)
        config = backend.config(topic, **PARALLEL, revoke_drain_timeout_ms=300)
        one, two = Member(config), Member(config)
        two.gate.set()
        await send_to_all(backend, topic)
        async with backend.running(one.app):
            await backend.until(lambda: len(one.begun) == PARTITIONS)
            async with backend.running(two.app):
                await backend.until(lambda: len(two.ended) == 2)
                kept = one.assigned
                assert len(kept) == 2
                assert {tp.partition for tp in one.revoked} == two.assigned == set(range(PARTITIONS)) - kept
                one.gate.set()
                await all_committed(backend, config, topic, 1)
            assert {partition for partition, _ in one.ended} == kept
        assert max((one.begun | two.begun).values()) == 1
        assert {partition for partition, _ in two.ended} == set(range(PARTITIONS)) - kept


@only_some_move
class TestAMemberThatLeaves:
    async def test_hands_over_its_partitions_and_the_other_one_keeps_its_own(self, backend: Backend) -> None:
        topic = await backend.topic(PARTITIONS)
        config = backend.config(topic, **PARALLEL)
        one, two = Member(config), Member(config)
        two.gate.set()
        async with backend.running(one.app):
            async with backend.running(two.app):
                await backend.until(lambda: len(one.assigned) == len(two.assigned) == 2)
                one.revoked.clear()
                await send_to_all(backend, topic)
                await backend.until(lambda: len(one.begun) == len(two.ended) == 2)
            await backend.until(lambda: len(one.assigned) == PARTITIONS)
            assert one.revoked == []
            await send_to_all(backend, topic)
            one.gate.set()
            await all_committed(backend, config, topic, 2)
        assert len(one.begun) == 6
        assert len(two.begun) == 2
        assert max((one.begun + two.begun).values()) == 1


@only_some_move
class TestAMemberThatOnlyWaits:
    async def test_has_no_partition_and_takes_none_from_the_others(self, backend: Backend) -> None:
        topic = await backend.topic(1)
        config = backend.config(topic)
        one, two = Member(config), Member(config)
        one.gate.set()
        async with backend.running(one.app):
            await backend.until(lambda: one.assigned == {0})
            async with backend.running(two.app):
                await backend.until(lambda: two.app.status().consumers[0].membership == "steady")
                await backend.send(topic, b"x")
                await committed_is(backend, config, topic, 1)
                assert (one.revoked, two.assigned) == ([], set())


@only_some_move
class TestAGroupThatIsUpgraded:
    async def test_member_by_member_and_back_handles_each_record_once(self, backend: Backend) -> None:
        topic = await backend.topic(PARTITIONS)
        config = backend.config(topic, **PARALLEL)
        old_config = {**config, "group_protocol": "classic", "heartbeat_interval_ms": 100}
        old, new, old_again = Member(old_config), Member(config), Member(old_config)
        for member in (old, new, old_again):
            member.gate.set()

        async def handle(offset: int) -> None:
            await send_to_all(backend, topic)
            await all_committed(backend, config, topic, offset)

        async with AsyncExitStack() as olds, AsyncExitStack() as news:
            await olds.enter_async_context(backend.running(old.app))
            await handle(1)
            await news.enter_async_context(backend.running(new.app))
            await backend.until(lambda: len(old.assigned) == len(new.assigned) == 2)
            await handle(2)
            await olds.aclose()
            await backend.until(lambda: len(new.assigned) == PARTITIONS)
            await handle(3)
            await olds.enter_async_context(backend.running(old_again.app))
            await backend.until(lambda: len(old_again.assigned) == len(new.assigned) == 2)
            await handle(4)
            await news.aclose()
            await backend.until(lambda: len(old_again.assigned) == PARTITIONS)
            await handle(5)
        begun = old.begun + new.begun + old_again.begun
        assert sorted(begun) == [(partition, offset) for partition in range(PARTITIONS) for offset in range(5)]
        assert max(begun.values()) == 1
