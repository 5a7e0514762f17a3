"""Random schedules: the real runtime on the in-memory Kafka, with faults of every kind.

A seed determines its schedule: the same seed is the same run, in any process. `worker.py` has the apps that run,
`promises.py` the guarantees that are checked.
"""

from __future__ import annotations

import asyncio
import math
import os
import random
from collections.abc import Awaitable, Callable, Iterable
from contextlib import AsyncExitStack, suppress
from typing import Literal

from evkafka import ConsumerConfig, EVKafkaApp
from evkafka.control import ConsumerControl
from evkafka.exceptions import BrokerError, BrokerUnavailable, NotAssigned
from evkafka.records import TopicPartition
from evkafka.testing import InMemoryKafka
from tests.property.promises import DEAD, Broken, Promises, retry_topics
from tests.property.worker import GROUP, KEYS, OUT, PARTITIONS, TOPIC, Journal, Kind, Worker

MAX_MEMBERS = 3
ALWAYS = 1_000_000
SEED_VARIABLE = "EVKAFKA_SCHEDULE_SEED"


Protocols = Literal["classic", "consumer", "mixed"]
"""The group protocol of all members, or a random one for each."""


class Schedule:
    """One run: members, records and faults; then an end without faults, in which everything must recover."""

    with_middleware = False

    def __init__(
        self,
        seed: int,
        config: ConsumerConfig,
        *,
        steps: int = 12,
        kind: Kind = "records",
        cancels: bool = False,
        protocols: Protocols = "classic",
    ) -> None:
        self.cancels = cancels
        self.protocols: Protocols = protocols
        self.kind: Kind = kind
        self.types = ["Work", "Bound", "Sync", "Batch"] if kind == "all" else ["Work"]
        self.dead_letters = "max_attempts" in config.get("on_error", {})
        self.random = random.Random(seed)
        self.config = config
        self.tiers = retry_topics(config)
        self.steps = steps
        self.kafka = InMemoryKafka(seed=seed, partitions=PARTITIONS)
        self.journal = Journal()
        self.promises = Promises(self.kafka, self.journal, config)
        self.members: list[tuple[EVKafkaApp, AsyncExitStack]] = []
        self.latencies = AsyncExitStack()

    async def run(self) -> None:
        """Run the schedule; raise Broken if a guarantee is violated."""
        async with self.kafka, self.latencies:
            self.kafka.create_topic(TOPIC, PARTITIONS)
            self.kafka.create_topic(OUT, PARTITIONS)
            try:
                await self._start()
                for _ in range(self.steps):
                    await self._step()
                    self._check_offsets()
                    self.promises.nothing_unhandled_is_committed()
                await self._recover()
                self.promises.check_all()
            finally:
                for member in tuple(self.members):
                    await self._stop_member(member)

    async def _stop_member(self, member: tuple[EVKafkaApp, AsyncExitStack]) -> None:
        self.members.remove(member)
        with suppress(BrokerError):  # six failed polls in ten minutes end an app, as intended
            await member[1].aclose()

    # ------------------------------------------------------------------ steps

    async def _step(self) -> None:
        [step] = self.random.choices([step for _, step in self._steps()], [weight for weight, _ in self._steps()])
        await step()

    def _steps(self) -> list[tuple[int, Callable[[], Awaitable[None]]]]:
        """The steps that a schedule may take, each with its weight."""
        return [
            (6, self._send),
            (4, self._pass_time),
            (2, self._start),
            (2, self._crash),
            (1, self._stop),
            (2, self._rebalance),
            (1, self._expire),
            (2, self._fail_commits),
            (1, self._fail_polls),
            (2, self._fail_sends),
            (2, self._toggle_outage),
            (1, self._slow_down),
            (1, self._make_gap),
            (1, self._transaction),
            (1, self._delete_records),
            (1, self._compact),
            (1, self._pause_or_resume),
            (1, self._seek_back),
            (8 if self.cancels else 0, self._cancel_a_task),
        ]

    def _random_work(self) -> dict[str, object]:
        return {
            "fails": self.random.choice([0, 0, 0, 0, 1, 3, ALWAYS if self.dead_letters else 0]),
            "turns": self.random.choice([0, 0, 1, 5]),
            "sends": self.random.choice([False, True]),
            "lasts_s": self.random.choice([0.0, 0.2, 1.0, 3.0]) if self.kind == "slow" else 0.0,
            "fails_early": 0,
            "stops": False,
        }

    def _random_key(self) -> str | None:
        return self.random.choice([None, *(f"k{number}" for number in range(KEYS))])

    async def _send(self) -> None:
        for _ in range(self.random.randint(1, 12)):
            event_type = self.random.choice(["Unknown", *self.types * (3 if len(self.types) == 1 else 1)])
            await self.kafka.send(TOPIC, self._random_work(), event_type=event_type, key=self._random_key())

    async def _transaction(self) -> None:
        async with self.kafka.transaction() as transaction:
            for _ in range(self.random.randint(1, 3)):
                await transaction.send(
                    TOPIC, self._random_work(), self.random.choice(self.types), key=self._random_key()
                )
            await self._pass_time()
            if self.random.random() < 0.5:
                transaction.abort()

    async def _pass_time(self) -> None:
        await self.kafka.advance(ms=self.random.choice([1, 200, 3_000, 20_000]))

    async def _start(self) -> None:
        if len(self.members) >= MAX_MEMBERS or self.kafka.is_in_outage:
            return
        worker = Worker(
            self._member_config(), self.journal, self.kafka.clock, kind=self.kind, middleware=self.with_middleware
        )
        stack = AsyncExitStack()
        await stack.enter_async_context(self.kafka.running(worker.app, joined=False))
        self.members.append((worker.app, stack))
        if self.random.random() < 0.5:
            await self.kafka.advance(ms=500)

    def _member_config(self) -> ConsumerConfig:
        match self.protocols:
            case "classic":
                return self.config
            case "consumer":
                return {**self.config, "group_protocol": "consumer", "group_instance_id": self._random_instance_id()}
            case "mixed":
                return {**self.config, "group_protocol": self.random.choice(["classic", "consumer"])}

    def _random_instance_id(self) -> str | None:
        """Of a static member, in half of the cases; two members with one id wait for each other."""
        return self.random.choice([None, None, "one", "two"])

    async def _crash(self) -> None:
        if len(self.members) > 1:
            member = self.random.choice(self.members)
            await self.kafka.crash(member[0])
            await self._stop_member(member)

    async def _stop(self) -> None:
        if len(self.members) > 1:
            await self._stop_member(self.random.choice(self.members))

    async def _rebalance(self) -> None:
        rebalance = self.kafka.rebalance(self.random.choice([GROUP, f"{GROUP}.retry"]) if self.tiers else GROUP)
        if not self.kafka.is_in_outage:
            await rebalance

    async def _expire(self) -> None:
        await self.kafka.expire(self.random.choice(self.members)[0])

    async def _fail_commits(self) -> None:
        faults = ["refused", "unavailable", "unknown, written", "unknown, lost"]
        self.kafka.fail_commits(*self.random.choices(faults, k=self.random.randint(1, 3)))  # type: ignore[arg-type]

    async def _fail_sends(self) -> None:
        faults = ["refused", "timed out, written", "timed out, lost"]
        elsewhere = [DEAD, *self.tiers]
        topic = self.random.choice(elsewhere) if self.dead_letters and self.random.random() < 0.5 else OUT
        self.kafka.fail_sends(self.random.choice(faults), topic=topic)  # type: ignore[arg-type]

    async def _fail_polls(self) -> None:
        self.kafka.fail_polls(
            self.random.choice([BrokerUnavailable("by the schedule"), BrokerError("by the schedule")])
        )

    async def _toggle_outage(self) -> None:
        """Start an outage, which another step ends, or end it."""
        if self.kafka.is_in_outage:
            self.kafka.come_back()
        else:
            self.kafka.go_away()
            if self.random.random() < 0.5:
                await self.kafka.advance(ms=self.random.choice([10, 5_000]))
                self.kafka.come_back()

    async def _slow_down(self) -> None:
        """Delay answers from now on."""
        [fetch, commit, produce] = [(0.0, self.random.choice([0.0, 20.0, 600.0])) for _ in range(3)]
        self.latencies.enter_context(self.kafka.latency(fetch_ms=fetch, commit_ms=commit, produce_ms=produce))

    async def _make_gap(self) -> None:
        self.kafka.make_gap(TOPIC, self.random.randrange(PARTITIONS), offsets=self.random.randint(1, 3))

    async def _delete_records(self) -> None:
        """Delete records, as retention does, handled or not."""
        tp = TopicPartition(TOPIC, self.random.randrange(PARTITIONS))
        log = self.kafka.topics.log(tp)
        self.kafka.delete_records(TOPIC, tp.partition, before=self.random.randint(log.start, log.end))

    async def _compact(self) -> None:
        self.kafka.compact(TOPIC)

    async def _pause_or_resume(self) -> None:
        control, partition = self._random_control(), self.random.randrange(PARTITIONS)
        if control.paused:
            control.resume(*min(control.paused))
        else:
            control.pause(TOPIC, partition)

    async def _seek_back(self) -> None:
        """Seek to a handled offset: records are handled again, and none may be lost."""
        partition = self.random.randrange(PARTITIONS)
        committed = self.kafka.committed(GROUP, TOPIC, partition) or 0
        with suppress(NotAssigned, RuntimeError):  # another member owns the partition, or this one has ended
            self._random_control().seek(TOPIC, partition, self.random.randint(0, committed))

    def _random_control(self) -> ConsumerControl:
        return self.random.choice(self.members)[0].consumer("consumer-1")

    async def _cancel_a_task(self) -> None:
        """Cancel one of the runtime's tasks, as other code on the loop could."""
        for _ in range(self.random.choice([0, 0, 1, 2, 3, 5, 8, 20])):
            await asyncio.sleep(0)
        services = [app.service for app, _ in self.members]
        consumers = [one for service in services if service is not None for one in service.consumers.values()]
        tasks = [task for consumer in consumers for task in consumer.tasks]
        self.random.choice(tasks).cancel()

    def _check_offsets(self) -> None:
        for app, _ in self.members:
            if app.service is not None:
                for consumer in app.service.consumers.values():
                    consumer.check_no_record_lost_or_doubled()

    async def _recover(self) -> None:
        """End all faults; everything must recover without help."""
        self.kafka.come_back()
        for member in tuple(self.members):
            service = member[0].service
            if service is None or service.failure is not None:
                await self._stop_member(member)
            else:
                self._resume_all(member[0])
        if not self.members:
            await self._start()
        await self.kafka.settle()

    @staticmethod
    def _resume_all(app: EVKafkaApp) -> None:
        control = app.consumer("consumer-1")
        for tp in control.paused:
            control.resume(*tp)


# ---------------------------------------------------------------------------- many schedules


def run_schedules(
    seeds: Iterable[int],
    config: ConsumerConfig,
    *,
    steps: int = 12,
    kind: Kind = "records",
    cancels: bool = False,
    protocols: Protocols = "classic",
    schedules: type[Schedule] = Schedule,
) -> None:
    """Run each seed in a new event loop, or only the seed of the environment variable.

    Raises Broken at the first violated guarantee, with a note that says how to run that schedule again.
    """
    replayed = os.environ.get(SEED_VARIABLE)
    for seed in seeds if replayed is None else [int(replayed)]:
        schedule = schedules(seed, config, steps=steps, kind=kind, cancels=cancels, protocols=protocols)
        try:
            with asyncio.Runner() as runner:
                runner.run(asyncio.wait_for(schedule.run(), 60))
        except BaseException as error:
            error.add_note(
                f"in schedule {seed}; to run it alone, with its trace: {SEED_VARIABLE}={seed} pytest <this test>"
            )
            if replayed is not None:
                error.add_note("\n".join(schedule.kafka.trace.lines()))
            raise


__all__ = ["GROUP", "TOPIC", "Broken", "Schedule", "first", "run_schedules"]


SEEDS = int(os.environ.get("EVKAFKA_SCHEDULES", "500"))


def first(share: float) -> range:
    """This share of the seeds of every run; at least one."""
    return range(math.ceil(SEEDS * share))


MORE = range(1_000_000, 1_000_000 + 8 * SEEDS)
"""Other seeds than those of every run, for `make test-long`."""


BASE: ConsumerConfig = {
    "topics": [TOPIC],
    "group_id": GROUP,
    "auto_offset_reset": "earliest",
    "consumer_timeout_ms": 2000,  # fewer steps of the virtual clock
    "on_error": {"backoff_ms": 100, "max_backoff_ms": 1000},
}
