"""Random schedules: the real engine on the in-memory Kafka, broken in every way; what must hold after all.

A schedule is its seed: the same seed is the same run.
"""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

from evkafka import ConsumerConfig, EVKafkaApp, Handler, Request
from evkafka.exceptions import BrokerError, BrokerUnavailable
from evkafka.ports import TopicPartition
from evkafka.testing import InMemoryKafka

GROUP, TOPIC, PARTITIONS, KEYS = "g", "t", 3, 5


class Broken(AssertionError):
    """A guarantee does not hold; the message names the seed."""


@dataclass
class Journal:
    """What the endpoints did, in order.

    Attributes:
        handled: partition -> offsets whose attempt ended well, in the order of their ends.
        by_key: (partition, key) -> the same, for lanes by key.
    """

    handled: dict[int, list[int]] = field(default_factory=lambda: defaultdict(list))
    by_key: dict[tuple[int, bytes | None], list[int]] = field(default_factory=lambda: defaultdict(list))
    running: set[tuple[str, int, bytes | None]] = field(default_factory=set)


class Schedule:
    """One run: some members, some records, some trouble, and a quiet end in which everything must be made good."""

    def __init__(self, seed: int, config: ConsumerConfig, *, steps: int = 12) -> None:
        self.seed = seed
        self.random = random.Random(seed)
        self.config = config
        self.steps = steps
        self.journal = Journal()
        self.kafka = InMemoryKafka(seed=seed, partitions=PARTITIONS)
        self.members: list[tuple[EVKafkaApp, AsyncExitStack]] = []
        self.sent = 0

    async def run(self) -> None:
        """Raises Broken where a guarantee does not hold."""
        async with self.kafka:
            self.kafka.create_topic(TOPIC, PARTITIONS)
            try:
                await self._start()
                for _ in range(self.steps):
                    await self._step()
                    self._check_commits()
                await self._make_good()
                self._check_commits()
                self._check_the_end()
            finally:
                for _, stack in self.members:
                    await stack.aclose()

    # ------------------------------------------------------------------ what happens

    async def _step(self) -> None:
        steps = [
            (6, self._send),
            (4, self._pass_time),
            (2, self._start),
            (2, self._crash),
            (1, self._stop),
            (2, self._rebalance),
            (1, self._expire),
            (2, self._fail_commits),
            (1, self._fail_polls),
            (1, self._outage),
            (1, self._make_a_gap),
        ]
        [step] = self.random.choices([step for _, step in steps], [weight for weight, _ in steps])
        await step()

    async def _send(self) -> None:
        for _ in range(self.random.randint(1, 12)):
            key = self.random.choice([None, *(f"k{n}" for n in range(KEYS))])
            fails = self.random.choice([0, 0, 0, 0, 1, 3])
            turns = self.random.choice([0, 0, 1, 5])
            event_type = self.random.choice(["Work", "Work", "Work", "Unknown"])
            await self.kafka.send(TOPIC, {"fails": fails, "turns": turns}, event_type=event_type, key=key)
            self.sent += 1

    async def _pass_time(self) -> None:
        await self.kafka.advance(ms=self.random.choice([1, 200, 3_000, 20_000]))

    async def _start(self) -> None:
        if len(self.members) >= 3 or self.kafka.away:
            return
        app = EVKafkaApp()
        app.add_consumer(self.config, self._handler())
        stack = AsyncExitStack()
        await stack.enter_async_context(self.kafka.running(app, joined=False))
        self.members.append((app, stack))
        if self.random.random() < 0.5:
            await self.kafka.advance(ms=500)

    async def _crash(self) -> None:
        if len(self.members) > 1:
            app, stack = self.members.pop(self.random.randrange(len(self.members)))
            await self.kafka.crash(app)
            await stack.aclose()

    async def _stop(self) -> None:
        if len(self.members) > 1:
            _, stack = self.members.pop(self.random.randrange(len(self.members)))
            await stack.aclose()

    async def _rebalance(self) -> None:
        await self.kafka.rebalance(GROUP)

    async def _expire(self) -> None:
        await self.kafka.expire(self.random.choice(self.members)[0])

    async def _fail_commits(self) -> None:
        faults = ["refused", "unavailable", "unknown, written", "unknown, lost"]
        self.kafka.fail_commits(*self.random.choices(faults, k=self.random.randint(1, 3)))  # type: ignore[arg-type]

    async def _fail_polls(self) -> None:
        self.kafka.fail_polls(
            self.random.choice([BrokerUnavailable("by the schedule"), BrokerError("by the schedule")])
        )

    async def _outage(self) -> None:
        self.kafka.go_away()
        await self.kafka.advance(ms=self.random.choice([10, 5_000]))
        self.kafka.come_back()

    async def _make_a_gap(self) -> None:
        partition = self.random.randrange(PARTITIONS)
        self.kafka.make_gap(TOPIC, partition, offsets=self.random.randint(1, 3))

    def _handler(self) -> Handler:
        handler, member = Handler(), f"member-{self.random.random()}"

        @handler.event("Work")
        async def on_work(work: dict[str, Any], request: Request) -> None:
            lane = (member, request.partition, request.key if self._by_key else None)
            if lane in self.journal.running and not (self._by_key and request.key is None):
                raise Broken(f"seed {self.seed}: two records of one lane at once, {lane}")
            self.journal.running.add(lane)
            try:
                for _ in range(work["turns"]):
                    await asyncio.sleep(0)
            finally:
                self.journal.running.discard(lane)
            if request.attempt <= work["fails"]:
                raise ValueError("by the schedule")
            self.journal.handled[request.partition].append(request.offset)
            self.journal.by_key[request.partition, request.key].append(request.offset)

        return handler

    # ------------------------------------------------------------------ what must hold

    @property
    def _by_key(self) -> bool:
        return self.config.get("concurrency", 1) > 1 and self.config.get("ordering", "key") == "key"

    async def _make_good(self) -> None:
        """No more trouble: whatever was broken must come right by itself."""
        await self.kafka.settle()

    def _expected(self, partition: int) -> list[int]:
        records = self.kafka.records(TOPIC, partition=partition)
        return [record.offset for record in records if ("Event-Type", b"Work") in record.headers]

    def _check_commits(self) -> None:
        """Committed never passes a record that nobody has handled."""
        for partition in range(PARTITIONS):
            committed = self.kafka.committed(GROUP, TOPIC, partition) or 0
            handled = set(self.journal.handled[partition])
            lost = [offset for offset in self._expected(partition) if offset < committed and offset not in handled]
            if lost:
                raise Broken(
                    f"seed {self.seed}: committed {committed} of partition {partition}, but {lost} is unhandled"
                )

    def _check_the_end(self) -> None:
        for partition in range(PARTITIONS):
            log = self.kafka.topics.log(TopicPartition(TOPIC, partition))
            handled = self.journal.handled[partition]
            if missing := set(self._expected(partition)) - set(handled):
                raise Broken(f"seed {self.seed}: lost {sorted(missing)} of partition {partition}")
            committed = self.kafka.committed(GROUP, TOPIC, partition)
            if committed != log.end and log.end:
                raise Broken(
                    f"seed {self.seed}: partition {partition} is committed to {committed}, its end is {log.end}"
                )
        lanes = self.journal.by_key if self._by_key else self.journal.handled
        for lane, offsets in lanes.items():
            if self._by_key and lane[1] is None:  # type: ignore[index]
                continue  # records without a key are free
            firsts = list(dict.fromkeys(offsets))
            if firsts != sorted(firsts):
                raise Broken(f"seed {self.seed}: lane {lane} was handled in the order {firsts}")


def run_schedules(seeds: range, config: ConsumerConfig, *, steps: int = 12) -> None:
    """Run each seed in a loop of its own. Raises Broken at the first guarantee that does not hold."""
    for seed in seeds:
        with asyncio.Runner() as runner:
            runner.run(asyncio.wait_for(Schedule(seed, config, steps=steps).run(), 60))
