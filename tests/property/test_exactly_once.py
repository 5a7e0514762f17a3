"""Exactly-once consumers in random schedules of crashes, rebalances, lost answers and outages."""

from __future__ import annotations

from typing import Any

import pytest

from evkafka import ConsumerConfig
from tests.property.exactly_once import ExactlyOnceSchedule
from tests.property.schedule import BASE, MORE, SEEDS, Protocols, first, run_schedules
from tests.property.worker import Kind

EXACTLY_ONCE: Any = {**BASE, "auto_commit_mode": "exactly-once"}
SHORT: Any = {"concurrency": 16, "commit_metadata_max_bytes": 130}
LANES: Any = {"concurrency": 4, "max_pending_records": 8}
DEAD_LETTERS: Any = {"backoff_ms": 100, "max_attempts": 3, "then": "dead_letter", "dead_letter_limit": None}
TIERS: Any = {**DEAD_LETTERS, "max_attempts": 2, "retry_topics": [500, 3_000]}

CASES = [
    pytest.param(0.06, "records", EXACTLY_ONCE, id="in-order"),
    pytest.param(0.06, "records", {**EXACTLY_ONCE, "concurrency": 16}, id="by-key"),
    pytest.param(0.04, "records", {**EXACTLY_ONCE, **SHORT}, id="short"),
    pytest.param(0.04, "records", {**EXACTLY_ONCE, **LANES, "on_error": DEAD_LETTERS}, id="dead-letters"),
    pytest.param(0.02, "records", {**EXACTLY_ONCE, **LANES, "on_error": TIERS}, id="retry-topics"),
    pytest.param(0.04, "batches", {**EXACTLY_ONCE, **LANES, "on_error": DEAD_LETTERS}, id="batches"),
    pytest.param(0.04, "batches", {**EXACTLY_ONCE, **LANES, "commit_metadata_max_bytes": 0}, id="batches-without-text"),
    pytest.param(0.02, "all", {**EXACTLY_ONCE, **LANES, "on_error": DEAD_LETTERS}, id="all-kinds"),
]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("protocols", ["classic", "consumer"])
@pytest.mark.parametrize(("share", "kind", "config"), CASES)
def test_each_record_has_exactly_one_output(
    share: float, kind: Kind, config: ConsumerConfig, protocols: Protocols
) -> None:
    run_schedules(first(share / 2), config, kind=kind, protocols=protocols, schedules=ExactlyOnceSchedule)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("kind", ["records", "batches"])
def test_each_record_has_exactly_one_output_if_tasks_are_cancelled(kind: Kind) -> None:
    config = {**EXACTLY_ONCE, **LANES}
    run_schedules(range(5), config, kind=kind, steps=25, cancels=True, schedules=ExactlyOnceSchedule)


@pytest.mark.long
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("protocols", ["classic", "consumer", "mixed"])
@pytest.mark.parametrize(("share", "kind", "config"), CASES)
def test_each_record_has_exactly_one_output_in_many_more(
    share: float, kind: Kind, config: ConsumerConfig, protocols: Protocols
) -> None:
    run_schedules(MORE[: int(SEEDS * share * 4)], config, kind=kind, protocols=protocols, schedules=ExactlyOnceSchedule)
