"""`max_attempts` holds across restarts, rebalances and truncations, in random schedules without other faults."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest

from evkafka import ConsumerConfig
from evkafka.exceptions import StopApp
from evkafka.records import TopicPartition
from tests.property.promises import Broken
from tests.property.schedule import ALWAYS, BASE, MORE, SEEDS, Protocols, Schedule, first, run_schedules
from tests.property.worker import GROUP, PARTITIONS, TOPIC, Kind, Stop

POLICY: Any = {"backoff_ms": 2_000, "max_attempts": 4, "then": "dead_letter", "dead_letter_limit": None}
STOPPING: Any = {"backoff_ms": 2_000, "max_attempts": 4, "then": "stop", "non_retryable": [Stop]}
CUTTING: ConsumerConfig = {**BASE, "drain_timeout_ms": 100, "revoke_drain_timeout_ms": 100}
CASES: list[ConsumerConfig] = [
    {**CUTTING, "on_error": POLICY},
    {**CUTTING, "on_error": POLICY, "concurrency": 4},
    {**CUTTING, "on_error": STOPPING, "concurrency": 4},
    {**CUTTING, "on_error": POLICY, "concurrency": 4, "auto_commit_mode": "exactly-once"},
    {**BASE, "on_error": POLICY, "concurrency": 4, "ordering": "partition"},
    {**BASE, "on_error": POLICY, "concurrency": 4, "ordering": "unordered", "max_pending_records": 8},
]


class CleanSchedule(Schedule):
    """A schedule in which members come and go, and each commits before its partitions are given to another.

    Some members have concurrency 1, as in a deployment that lowers it, and in half of the schedules they have a
    middleware. Records fail in it or in the endpoint, last longer than the drain time, or stop their app.
    """

    def __init__(self, seed: int, config: ConsumerConfig, **options: Any) -> None:
        super().__init__(seed, config, **options)
        self.with_middleware = self.random.random() < 0.5

    def _steps(self) -> list[tuple[int, Callable[[], Awaitable[None]]]]:
        clean = (self._send, self._pass_time, self._start, self._stop, self._rebalance, self._make_gap)
        more = [(4, self._rebalance), (2, self._restart_all), (2, self._truncate)]
        return [(weight, step) for weight, step in super()._steps() if step in clean] + more

    async def _step(self) -> None:
        await self._replace_stopped_members()
        await super()._step()

    def _member_config(self) -> ConsumerConfig:
        config = super()._member_config()
        # Concurrency 1 keeps the order of every other one.
        return {**config, "concurrency": self.random.choice([1, config.get("concurrency", 1)])}

    def _random_work(self) -> dict[str, object]:
        most_fail = 3 if self.config["on_error"]["then"] == "stop" else ALWAYS
        return {
            **super()._random_work(),
            "fails": self.random.choice([0, 0, 0, 0, 1, 3, most_fail]),
            "fails_early": self.random.choice([0, 0, 0, 1, 3]) if self.with_middleware else 0,
            "stops": self.random.random() < 0.05,
            "lasts_s": self.random.choice([0.0, 0.0, 0.0, 0.5]),
            "sends": False,
        }

    async def _replace_stopped_members(self) -> None:
        for member in tuple(self.members):
            service = member[0].service
            if service is None or service.failure is not None:
                await self._stop_member(member)
        if not self.members:
            await self._start()

    async def _stop_member(self, member: Any) -> None:
        with suppress(StopApp):
            await super()._stop_member(member)

    async def _restart_all(self) -> None:
        await self._stop_all()
        await self._start()

    async def _stop_all(self) -> None:
        for member in tuple(self.members):
            await self._stop_member(member)

    async def _truncate(self) -> None:
        """While no member runs, an unclean election loses records after the committed offset."""
        await self._stop_all()
        partition = self.random.randrange(PARTITIONS)
        end = self.kafka.topics.log(TopicPartition(TOPIC, partition)).end
        cut = self.random.randint(self.kafka.committed(GROUP, TOPIC, partition) or 0, end)
        self.kafka.lose_records(TOPIC, partition, after=cut)
        self.journal.forget_records(partition, cut)
        await self._send()
        await self._start()

    async def _recover(self) -> None:
        stopped = -1
        while stopped < len(self.journal.stopped):  # a record may stop its app while everything recovers
            stopped = len(self.journal.stopped)
            await super()._recover()
        for (partition, offset), attempts in self.journal.failed.items():
            if attempts != list(range(1, len(attempts) + 1)) or len(attempts) >= POLICY["max_attempts"]:
                raise Broken(f"{partition}@{offset} failed in the attempts {attempts}")
        if self.journal.miscounted:
            raise Broken(self.journal.miscounted[0])


@pytest.mark.timeout(300)
@pytest.mark.parametrize("kind", ["records", "batches", "all"])
@pytest.mark.parametrize("config", CASES)
def test_each_failed_attempt_at_a_record_has_the_next_number(config: ConsumerConfig, kind: Kind) -> None:
    run_schedules(first(0.02), config, kind=kind, steps=20, schedules=CleanSchedule)


@pytest.mark.long
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("protocols", ["classic", "consumer", "mixed"])
@pytest.mark.parametrize("kind", ["records", "batches", "all"])
@pytest.mark.parametrize("config", CASES)
def test_each_failed_attempt_has_the_next_number_in_many_more(
    config: ConsumerConfig, kind: Kind, protocols: Protocols
) -> None:
    seeds = MORE[: int(SEEDS * 0.2)]
    run_schedules(seeds, config, kind=kind, steps=20, protocols=protocols, schedules=CleanSchedule)
