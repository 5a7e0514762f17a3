"""With the consumer protocol, members join and leave cleanly under load, and what does not move is never interrupted.

`EVKAFKA_SCHEDULES` sets the number of schedules, as in `test_schedules.py`.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from contextlib import AsyncExitStack
from typing import Any

import pytest

from evkafka import ConsumerConfig, EVKafkaApp, Handler, Request
from evkafka.records import TopicPartition
from evkafka.runtime.clock import sleep
from evkafka.runtime.partition import Partition
from evkafka.runtime.rebalance import RebalanceListener
from evkafka.telemetry import PartitionsRevoked
from evkafka.testing import InMemoryKafka
from tests.property.promises import Broken
from tests.property.schedule import BASE, GROUP, SEEDS, TOPIC

PARTITIONS, MOST_MEMBERS, STEPS = 8, 4, 20

CALM: Any = {
    **{key: value for key, value in BASE.items() if key != "on_error"},
    "group_protocol": "consumer",
    "auto_commit_interval_ms": 300,
}

ORDERINGS = [
    pytest.param({}, id="in-order"),
    pytest.param({"concurrency": 8}, id="by-key"),
    pytest.param({"concurrency": 8, "ordering": "partition", "auto_commit_interval_ms": 0}, id="by-partition"),
    pytest.param({"concurrency": 8, "auto_commit_mode": "pre-commit"}, id="at-most-once"),
    pytest.param({"auto_commit_mode": "pre-commit", "auto_commit_interval_ms": 0}, id="at-most-once-strictly"),
]


class Member:
    """An app whose endpoint takes up to two seconds of the virtual clock, less than the drain time. At most once, all
    records that were read must end within it: there it takes no more than a twentieth.

    Attributes:
        revoked: the partitions that were revoked so far.
    """

    def __init__(
        self, config: ConsumerConfig, kafka: InMemoryKafka, begun: Counter[tuple[int, int]], seed: int
    ) -> None:
        self.revoked: list[TopicPartition] = []
        handler, random_time = Handler(), random.Random(seed)
        times_s = [0.0, 0.05] if config.get("auto_commit_mode") == "pre-commit" else [0.0, 0.05, 2.0]

        @handler.event("E")
        async def on_e(value: bytes, request: Request) -> None:
            begun[request.partition, request.offset] += 1
            await sleep(kafka.clock, random_time.choice(times_s))

        self.app = EVKafkaApp()
        self.app.telemetry.listen(PartitionsRevoked, lambda event: self.revoked.extend(event.partitions))
        self.app.add_consumer(config, handler, "it")
        self.stack = AsyncExitStack()

    @property
    def partitions(self) -> dict[TopicPartition, Partition]:
        assert self.app.service is not None
        return dict(self.app.service.consumers["it"]._assignment.partitions)


class CalmSchedule:
    """Members join and leave cleanly while records come in. Nothing fails."""

    def __init__(self, seed: int, config: ConsumerConfig) -> None:
        self.random = random.Random(seed)
        self.config = config
        self.kafka = InMemoryKafka(seed=seed, partitions=PARTITIONS)
        self.begun: Counter[tuple[int, int]] = Counter()
        self.members: list[Member] = []

    async def run(self) -> None:
        async with self.kafka:
            self.kafka.create_topic(TOPIC, PARTITIONS)
            try:
                await self._join()
                for _ in range(STEPS):
                    await self.random.choice([self._send, self._send, self._pass_time, self._join, self._leave])()
                await self.kafka.settle()
                await self.kafka.advance(ms=1_000)  # at most once, the client commits on its interval
                self._nothing_was_handled_twice_or_lost()
            finally:
                for member in self.members:
                    await member.stack.aclose()

    async def _send(self) -> None:
        for _ in range(self.random.randint(1, 20)):
            key = self.random.choice([None, "a", "b", "c"])
            await self.kafka.send(TOPIC, b"x", "E", key=key, partition=self.random.randrange(PARTITIONS))

    async def _pass_time(self) -> None:
        await self.kafka.advance(ms=self.random.choice([1, 100, 3_000]))

    async def _join(self) -> None:
        if len(self.members) == MOST_MEMBERS:
            return
        member = Member(self.config, self.kafka, self.begun, self.random.randrange(1000))
        before = self._held()
        await member.stack.enter_async_context(self.kafka.running(member.app))
        self.members.append(member)
        self._only_moved(before, len(member.partitions))

    async def _leave(self) -> None:
        if len(self.members) == 1:
            return
        member = self.members.pop(self.random.randrange(len(self.members)))
        before = self._held()
        await member.stack.aclose()
        await self.kafka.advance(ms=10)
        self._only_moved(before, 0)
        if sum(len(one.partitions) for one in self.members) != PARTITIONS:
            raise Broken("a partition of the member that has left was not assigned")

    def _held(self) -> list[tuple[Member, int, dict[TopicPartition, Partition]]]:
        return [(member, len(member.revoked), member.partitions) for member in self.members]

    def _only_moved(self, before: list[tuple[Member, int, dict[TopicPartition, Partition]]], most: int) -> None:
        """No more than so many partitions were revoked, and all others have the ledgers and lanes that they had."""
        revoked = [tp for member, count, _ in before for tp in member.revoked[count:]]
        if len(revoked) > most:
            raise Broken(f"{len(revoked)} partitions were revoked, and {most} had to move")
        for member, count, partitions in before:
            moved = set(member.revoked[count:])
            for tp, partition in partitions.items():
                if tp not in moved and (member.partitions.get(tp) is not partition or partition.ledger.sealed):
                    raise Broken(f"{tp} did not move, and its ledger was replaced")

    def _nothing_was_handled_twice_or_lost(self) -> None:
        sent = {(record.partition, record.offset) for record in self.kafka.records(TOPIC)}
        if self.begun.keys() != sent or max(self.begun.values(), default=1) > 1:
            twice = [address for address, count in self.begun.items() if count > 1]
            raise Broken(f"not handled: {sorted(sent - self.begun.keys())}; handled twice: {twice}")
        for tp in self.kafka.topics.partitions(TOPIC):
            self.kafka.assert_committed(
                group=GROUP, topic=TOPIC, partition=tp.partition, offset=self.kafka.topics.log(tp).end
            )


def run_calm_schedules(count: int, config: ConsumerConfig) -> None:
    for seed in range(count):
        try:
            with asyncio.Runner() as runner:
                runner.run(asyncio.wait_for(CalmSchedule(seed, config).run(), 60))
        except BaseException as error:
            error.add_note(f"in schedule {seed}")
            raise


class TestWhatDoesNotMove:
    @pytest.mark.timeout(300)
    @pytest.mark.parametrize("keys", ORDERINGS)
    def test_is_never_interrupted_and_nothing_is_handled_twice(self, keys: Any) -> None:
        run_calm_schedules(int(SEEDS * 0.02), {**CALM, **keys})

    @pytest.mark.long
    @pytest.mark.timeout(1200)
    @pytest.mark.parametrize("keys", ORDERINGS)
    def test_is_never_interrupted_in_many_more(self, keys: Any) -> None:
        run_calm_schedules(int(SEEDS * 0.4), {**CALM, **keys})


class TestTheCheckItself:
    def test_a_ledger_that_is_replaced_is_detected(self, monkeypatch: pytest.MonkeyPatch) -> None:
        original = RebalanceListener.on_assigned

        async def on_assigned(listener: RebalanceListener, partitions: Any) -> None:
            for partition in tuple(listener._assignment.partitions.values()):
                listener._assignment.replace_partition_with_new_ledger(partition)
            await original(listener, partitions)

        monkeypatch.setattr(RebalanceListener, "on_assigned", on_assigned)
        with pytest.raises((Broken, AssertionError)):
            run_calm_schedules(50, CALM)
