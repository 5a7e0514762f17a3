"""The apps of a schedule: their endpoints succeed, fail and send as their records say, and write a journal."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

from evkafka import (
    BatchError,
    ConsumerConfig,
    DeliveryError,
    EVKafkaApp,
    Handler,
    ProducerConfig,
    Request,
    Sender,
)
from evkafka.runtime.clock import sleep
from evkafka.runtime.ports import Clock
from evkafka.sender import OutboundEndpoint
from evkafka.telemetry import PartitionsRevoked
from tests.property.promises import Lane, kept_in_order, lane_of

GROUP, TOPIC, OUT, PARTITIONS, KEYS = "g", "t", "out", 3, 5

PRODUCER: ProducerConfig = {"topic": OUT, "delivery_timeout_ms": 8_000}


Kind = Literal["records", "slow", "batches", "all"]

WorkOn = Callable[[dict[str, Any], Request], Awaitable[None]]


@dataclass
class Journal:
    """What the endpoints did, in order.

    Attributes:
        handled: partition -> offsets of successful attempts, in the order of their ends.
        in_lanes: lane -> the same.
        broken: violations that an endpoint saw. (Raised there, they would be failed attempts.)
        failed: (partition, offset) -> the numbers of its attempts that failed, in order.
        sent: addresses of records whose output was confirmed, in the order of the confirmations.
        running: lane -> the member that handles a record of it, in the whole group, and how many times that member had
            lost partitions when it began: an attempt that runs on after a loss is not its member's any more.
    """

    handled: dict[int, list[int]] = field(default_factory=lambda: defaultdict(list))
    in_lanes: dict[Lane, list[int]] = field(default_factory=lambda: defaultdict(list))
    failed: dict[tuple[int, int], list[int]] = field(default_factory=lambda: defaultdict(list))
    sent: list[tuple[int, int]] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    running: dict[Lane, tuple[Worker, int]] = field(default_factory=dict)


class Worker:
    """An app that is one member of the group.

    Args:
        kind: `records` has an endpoint for single records, `slow` one that may take longer than the drain time,
            `batches` one for batches; `all` has one for single records, one with its own concurrency limit, one that
            runs in a thread, and one for batches.
        clock: of slow endpoints.
    """

    def __init__(self, config: ConsumerConfig, journal: Journal, clock: Clock, *, kind: Kind) -> None:
        self._config = config
        self._clock = clock
        self._journal = journal
        self._sender = Sender()
        self._losses = 0
        self.app = EVKafkaApp()
        self.app.telemetry.listen(PartitionsRevoked, self._on_revoked)
        self._send_done = self._declare_done()
        handler, work_on = Handler(), self._make_work_on()
        if kind == "batches":
            self._add_batches(handler, "Work", work_on)
        else:
            self._add_records(handler, "Work", work_on)
        if kind == "all":
            self._add_records(handler, "Bound", work_on, concurrency=1)
            self._add_in_thread(handler, "Sync")
            self._add_batches(handler, "Batch", work_on)
        self.app.add_consumer(config, handler)
        self.app.add_producer(PRODUCER, self._sender)

    def _on_revoked(self, event: PartitionsRevoked) -> None:
        self._losses += event.lost

    @property
    def expired(self) -> bool:
        """Whether its session has expired: other members own its partitions, and it may still handle their records."""
        consumers = self.app.service.consumers.values() if self.app.service is not None else ()
        return any(getattr(consumer._assignment.source, "expired", True) for consumer in consumers)

    def _add_records(self, handler: Handler, event_type: str, work_on: WorkOn, **options: Any) -> None:
        @handler.event(event_type, **options)
        async def on_work(work: dict[str, Any], request: Request) -> None:
            lane = lane_of(self._config, request.partition, request.key)
            with self._exclusive({lane}):
                await work_on(work, request)
            self._handled(lane, request)

    def _add_in_thread(self, handler: Handler, event_type: str) -> None:
        @handler.event(event_type)
        def on_work_in_thread(work: dict[str, Any], request: Request) -> None:
            lane = lane_of(self._config, request.partition, request.key)
            with self._exclusive({lane}):
                self._fail_if_requested(work, request)
                if self._sends_are_kept and work["sends"]:  # otherwise the thread would wait for the virtual clock
                    self._send_done.from_thread(_output(request))
            self._handled(lane, request)

    def _add_batches(self, handler: Handler, event_type: str, work_on: WorkOn) -> None:
        @handler.event(event_type, batch=True, max_records=5, max_wait_ms=50)
        async def on_works(works: list[dict[str, Any]], requests: list[Request]) -> None:
            lanes = [lane_of(self._config, request.partition, request.key) for request in requests]
            failed: dict[int, BaseException] = {}
            with self._exclusive(set(lanes)):
                for index, (work, request, lane) in enumerate(zip(works, requests, lanes, strict=True)):
                    if any(lanes[before] == lane for before in failed) and kept_in_order(self._config, lane):
                        continue  # behind a failed record of its lane it counts as not done in any case
                    try:
                        await work_on(work, request)
                    except (ValueError, DeliveryError) as error:
                        failed[index] = error
                    else:
                        self._handled(lane, request)
            if failed:
                raise BatchError(failed)

    def _declare_done(self) -> OutboundEndpoint[dict[str, Any]]:
        @self._sender.event("Done", key=lambda done: done["key"])
        async def send_done(done: dict[str, Any]) -> None: ...

        return send_done

    @property
    def _sends_are_kept(self) -> bool:
        return self._config.get("auto_commit_mode") == "exactly-once"

    def _make_work_on(self) -> WorkOn:
        async def work_on(work: dict[str, Any], request: Request) -> None:
            for _ in range(work["turns"]):
                await asyncio.sleep(0)
            if work["lasts_s"]:
                await sleep(self._clock, work["lasts_s"])
            self._fail_if_requested(work, request)
            if work["sends"]:
                await self._send_done(_output(request))
                self._journal.sent.append((request.partition, request.offset))

        return work_on

    def _fail_if_requested(self, work: dict[str, Any], request: Request) -> None:
        if request.attempt <= work["fails"]:
            self._journal.failed[request.partition, request.offset].append(request.attempt)
            raise ValueError("requested by the schedule")

    @contextmanager
    def _exclusive(self, lanes: set[Lane]) -> Iterator[None]:
        """Check that no other member handles a record of an ordered lane."""
        running = self._journal.running
        mine = {lane for lane in lanes if kept_in_order(self._config, lane)} if not self.expired else set()
        shared = {lane for lane in mine if lane in running and running[lane][0].owns_since(running[lane][1])}
        if shared:
            self._journal.broken.append(f"two attempts at once in {shared}")
        entry = (self, self._losses)
        running.update(dict.fromkeys(mine, entry))
        try:
            yield
        finally:
            for lane in mine:
                if running.get(lane) is entry:
                    del running[lane]

    def owns_since(self, losses: int) -> bool:
        """Whether it still has the partitions that it had after so many losses."""
        return self._losses == losses and not self.expired

    def _handled(self, lane: Lane, request: Request) -> None:
        self._journal.handled[request.partition].append(request.offset)
        self._journal.in_lanes[lane].append(request.offset)


def _output(request: Request) -> dict[str, Any]:
    key = f"{request.partition}-{request.key!r}" if request.key is not None else None
    return {"key": key, "partition": request.partition, "offset": request.offset}
