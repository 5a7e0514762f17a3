"""Random schedules (see tests/property) with batch endpoints, and with event types that are bounded by themselves."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Iterator
from typing import Any

import pytest

from evkafka import BatchError, ConsumerConfig, EVKafkaApp, Handler, Request, Sender
from tests.property import schedule
from tests.property.promises import Broken, kept_in_order, lane_of
from tests.property.test_schedules import BASE
from tests.property.worker import PRODUCER, Journal, make_worker

SEEDS = int(os.environ.get("EVKAFKA_SCHEDULES", "3000"))


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    logger = logging.getLogger("evkafka")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    yield
    logger.setLevel(level)


class BatchWorker:
    """Does what each record of a batch tells it to: works, fails by itself, or makes the whole batch fail."""

    def __init__(self, config: ConsumerConfig, journal: Journal, send: Any) -> None:
        self._config = config
        self._journal = journal
        self._send = send
        self._member = next(journal.members)

    async def __call__(self, works: list[dict[str, Any]], requests: list[Request]) -> None:
        if len({request.attempt for request in requests}) != 1 or len({request.partition for request in requests}) != 1:
            raise Broken("a batch of several attempts, or of several partitions")
        if [request.offset for request in requests] != sorted(request.offset for request in requests):
            raise Broken("a batch out of order")
        lanes = {lane_of(self._config, request.partition, request.key) for request in requests}
        mine = {(self._member, lane) for lane in lanes if kept_in_order(self._config, lane)}
        if mine & self._journal.running:
            raise Broken(f"a lane in two batches at once: {mine & self._journal.running}")
        self._journal.running |= mine
        try:
            await asyncio.sleep(0)
            await self._work(works, requests)
        finally:
            self._journal.running -= mine

    async def _work(self, works: list[dict[str, Any]], requests: list[Request]) -> None:
        if works[0]["turns"] == 5 and requests[0].attempt == 1:
            raise ValueError("all of it, by the schedule")
        failed: dict[int, BaseException] = {}
        held = set()
        for index, (work, request) in enumerate(zip(works, requests, strict=True)):
            lane = lane_of(self._config, request.partition, request.key)
            if lane in held:
                continue
            if request.attempt <= work["fails"]:
                failed[index] = ValueError("by the schedule")
                if kept_in_order(self._config, lane):
                    held.add(lane)
                continue
            if work["sends"]:
                key = f"{request.partition}-{request.key!r}" if request.key is not None else None
                await self._send({"key": key, "partition": request.partition, "offset": request.offset})
                self._journal.sent.append((request.partition, request.offset))
            self._journal.handled[request.partition].append(request.offset)
            self._journal.in_lanes[lane].append(request.offset)
        if failed:
            raise BatchError(failed)


def make_batch_worker(config: ConsumerConfig, journal: Journal) -> EVKafkaApp:
    handler, sender = Handler(), Sender()

    @sender.event("Done", key=lambda done: done["key"])
    async def send_done(done: dict[str, Any]) -> None: ...

    worker = BatchWorker(config, journal, send_done)
    handler.event("Work", batch=True, max_records=4, max_wait_ms=150, concurrency=2)(worker.__call__)
    app = EVKafkaApp()
    app.add_consumer(config, handler)
    app.add_producer(PRODUCER, sender)
    return app


def make_bounded_worker(config: ConsumerConfig, journal: Journal) -> EVKafkaApp:
    app = make_worker(config, journal)
    [declared] = app._consumers.values()
    assert isinstance(declared.target, Handler)
    [endpoint] = declared.target.endpoints
    endpoint.concurrency = 1
    return app


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
    @pytest.mark.timeout(300)
    @pytest.mark.parametrize("config", CONFIGS)
    @pytest.mark.parametrize("make", [make_batch_worker, make_bounded_worker])
    def test_in_any_schedule(self, monkeypatch: pytest.MonkeyPatch, config: ConsumerConfig, make: Any) -> None:
        monkeypatch.setattr(schedule, "make_worker", make)
        schedule.run_schedules(range(int(SEEDS * 0.03)), config)
