"""The apps of a schedule: their endpoints succeed, fail and send as their records say, and write a journal."""

from __future__ import annotations

import asyncio
import json
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
    Middleware,
    ProducerConfig,
    Request,
    Sender,
)
from evkafka.context import App, Context
from evkafka.middleware import JsonTypedDecoderMiddleware
from evkafka.runtime.clock import sleep
from evkafka.runtime.ports import Clock
from evkafka.sender import OutboundEndpoint
from evkafka.telemetry import AttemptFailed, PartitionsRevoked
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
        failed: (partition, offset) -> the numbers of its attempts after which it was to be tried again, in order, as
            they were reported. (The last attempt is made again if its dead letter is abandoned.)
        miscounted: attempts with another number than the next one.
        stopped: (partition, offset) of the records that have stopped an app.
        sent: addresses of records whose output was confirmed, in the order of the confirmations.
        running: lane -> the member that handles a record of it, in the whole group, and how many times that member had
            lost partitions when it began: an attempt that runs on after a loss is not its member's any more.
    """

    handled: dict[int, list[int]] = field(default_factory=lambda: defaultdict(list))
    in_lanes: dict[Lane, list[int]] = field(default_factory=lambda: defaultdict(list))
    failed: dict[tuple[int, int], list[int]] = field(default_factory=lambda: defaultdict(list))
    miscounted: list[str] = field(default_factory=list)
    stopped: set[tuple[int, int]] = field(default_factory=set)
    sent: list[tuple[int, int]] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    running: dict[Lane, tuple[Worker, int]] = field(default_factory=dict)

    def forget_records(self, partition: int, cut: int) -> None:
        """The log of this partition was truncated at this offset: other records will be there."""
        self.handled[partition] = [offset for offset in self.handled[partition] if offset < cut]
        for lane in [lane for lane in self.in_lanes if lane[0] == partition]:
            self.in_lanes[lane] = [offset for offset in self.in_lanes[lane] if offset < cut]
        for address in [(own, offset) for own, offset in self.failed if own == partition and offset >= cut]:
            del self.failed[address]
        self.stopped = {(own, offset) for own, offset in self.stopped if own != partition or offset < cut}


class Stop(Exception):
    """Stops the app if its policy names it, and has `then: "stop"`."""


class FailsEarly:
    """A middleware in which attempts fail before the endpoint is called."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, context: Context) -> None:
        if context.attempt <= json.loads(context.message.value)["fails_early"]:
            raise ValueError("requested by the schedule, early")
        await self._app(context)


class Worker:
    """An app that is one member of the group.

    Args:
        kind: `records` has an endpoint for single records, `slow` one that may take longer than the drain time,
            `batches` one for batches; `all` has one for single records, one with its own concurrency limit, one that
            runs in a thread, and one for batches.
        clock: of slow endpoints.
        middleware: whether attempts may fail in a middleware.
    """

    def __init__(
        self, config: ConsumerConfig, journal: Journal, clock: Clock, *, kind: Kind, middleware: bool = False
    ) -> None:
        self._config = config
        self._clock = clock
        self._journal = journal
        self._sender = Sender()
        self._losses = 0
        stack = [Middleware(FailsEarly), Middleware(JsonTypedDecoderMiddleware)]
        self.app = EVKafkaApp(middleware=stack if middleware else None)
        self.app.telemetry.listen(PartitionsRevoked, self._on_revoked)
        self.app.telemetry.listen(AttemptFailed, self._on_attempt_failed)
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

    def _on_attempt_failed(self, event: AttemptFailed) -> None:
        if event.decision == "wait":
            self._journal.failed[event.partition, event.offset].append(event.attempt)

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
                    except (ValueError, DeliveryError, Stop) as error:
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
        address, journal = (request.partition, request.offset), self._journal
        if request.attempt != len(journal.failed[address]) + 1:
            journal.miscounted.append(f"attempt {request.attempt} at {address}, after {journal.failed[address]}")
        if work["stops"] and address not in journal.stopped:
            journal.stopped.add(address)
            raise Stop if self._config.get("on_error", {}).get("then") == "stop" else MemoryError
        if request.attempt <= work["fails"]:
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
