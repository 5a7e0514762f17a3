"""Random schedules (see tests/property) with event types that have their own concurrency, and with failing batches."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest

from evkafka import ConsumerConfig, Handler, Request
from tests.property import schedule
from tests.property.promises import Broken
from tests.property.schedule import BASE, MORE, first
from tests.property.worker import Worker, WorkOn


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    logger = logging.getLogger("evkafka")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    yield
    logger.setLevel(level)


class FewAtOnce(Worker):
    """One record of the type at a time, whatever the consumer's concurrency."""

    def _add_records(self, handler: Handler, event_type: str, work_on: WorkOn, **options: Any) -> None:
        super()._add_records(handler, event_type, work_on, **{**options, "concurrency": 1})


class FailsWhole(Worker):
    """Batches that sometimes fail as a whole; at most two of them run at once."""

    def _add_batches(self, handler: Handler, event_type: str, work_on: WorkOn) -> None:
        inner = Handler()
        super()._add_batches(inner, event_type, work_on)
        [endpoint] = inner.endpoints

        @handler.event(event_type, batch=True, max_records=4, max_wait_ms=150, concurrency=2)
        async def on_works(works: list[dict[str, Any]], requests: list[Request]) -> None:
            if len({(request.attempt, request.partition) for request in requests}) != 1:
                raise Broken("a batch of several attempts, or of several partitions")
            if [request.offset for request in requests] != sorted(request.offset for request in requests):
                raise Broken("a batch out of order")
            if works[0]["turns"] == 5 and requests[0].attempt == 1:
                raise ValueError("all of it, by the schedule")
            await endpoint.function(works, requests)


CONFIGS = [
    pytest.param(BASE, id="in-order"),
    pytest.param({**BASE, "concurrency": 16}, id="by-key"),
    pytest.param({**BASE, "concurrency": 16, "ordering": "partition"}, id="by-partition"),
    pytest.param({**BASE, "concurrency": 16, "ordering": "unordered"}, id="unordered"),
    pytest.param(
        {**BASE, "concurrency": 4, "auto_commit_interval_ms": 0, "max_pending_records": 8, "max_poll_records": 3},
        id="few-by-key-at-once",
    ),
]


class TestNothingIsLost:
    @pytest.mark.parametrize("config", CONFIGS)
    @pytest.mark.parametrize("worker", [FewAtOnce, FailsWhole])
    def test_in_any_schedule(
        self, monkeypatch: pytest.MonkeyPatch, config: ConsumerConfig, worker: type[Worker]
    ) -> None:
        monkeypatch.setattr(schedule, "Worker", worker)
        schedule.run_schedules(first(0.03), config, kind="batches" if worker is FailsWhole else "records")

    @pytest.mark.long
    @pytest.mark.timeout(600)
    @pytest.mark.parametrize("config", CONFIGS)
    @pytest.mark.parametrize("worker", [FewAtOnce, FailsWhole])
    def test_in_many_more_schedules(
        self, monkeypatch: pytest.MonkeyPatch, config: ConsumerConfig, worker: type[Worker]
    ) -> None:
        monkeypatch.setattr(schedule, "Worker", worker)
        schedule.run_schedules(
            MORE[: int(len(MORE) * 0.03)], config, kind="batches" if worker is FailsWhole else "records"
        )
