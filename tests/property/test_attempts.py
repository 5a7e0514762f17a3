"""`max_attempts` holds across restarts and rebalances, in random schedules without faults."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from evkafka import ConsumerConfig
from tests.property.promises import Broken
from tests.property.schedule import BASE, MORE, SEEDS, Protocols, Schedule, first, run_schedules
from tests.property.worker import Kind

POLICY: Any = {"backoff_ms": 2_000, "max_attempts": 4, "then": "dead_letter", "dead_letter_limit": None}
CASES: list[ConsumerConfig] = [
    {**BASE, "on_error": POLICY},
    {**BASE, "on_error": POLICY, "concurrency": 4},
    {**BASE, "on_error": POLICY, "concurrency": 4, "ordering": "partition"},
    {**BASE, "on_error": POLICY, "concurrency": 4, "ordering": "unordered", "max_pending_records": 8},
]


class CleanSchedule(Schedule):
    """A schedule in which members come and go, and each commits before its partitions are given to another.

    Some members have concurrency 1, as in a deployment that lowers it.
    """

    def _steps(self) -> list[tuple[int, Callable[[], Awaitable[None]]]]:
        clean = (self._send, self._pass_time, self._start, self._stop, self._rebalance, self._make_gap)
        return [(weight, step) for weight, step in super()._steps() if step in clean] + [(4, self._rebalance)]

    def _member_config(self) -> ConsumerConfig:
        config = super()._member_config()
        # Concurrency 1 keeps the order of every other one.
        return {**config, "concurrency": self.random.choice([1, config.get("concurrency", 1)])}

    async def _recover(self) -> None:
        await super()._recover()
        for (partition, offset), attempts in self.journal.failed.items():
            if attempts != list(range(1, len(attempts) + 1)) or len(attempts) > POLICY["max_attempts"]:
                raise Broken(f"{partition}@{offset} failed in the attempts {attempts}")


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
