"""What runs in a schedule: an endpoint that works, fails and sends as its record tells it to, and notes it."""

from __future__ import annotations

import asyncio
import itertools
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

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
from tests.property.promises import Broken, Lane, kept_in_order, lane_of

GROUP, TOPIC, OUT, PARTITIONS, KEYS = "g", "t", "out", 3, 5

PRODUCER: ProducerConfig = {"bootstrap_servers": "nobody:1", "topic": OUT, "delivery_timeout_ms": 8_000}


@dataclass
class Journal:
    """What the endpoints did, in order.

    Attributes:
        handled: partition -> offsets whose attempt ended well, in the order of their ends.
        in_lanes: lane -> the same, where order is kept.
        sent: addresses whose output was confirmed, in the order of the confirmations.
        running: (member, lane) of the attempts under way.
    """

    handled: dict[int, list[int]] = field(default_factory=lambda: defaultdict(list))
    in_lanes: dict[Lane, list[int]] = field(default_factory=lambda: defaultdict(list))
    sent: list[tuple[int, int]] = field(default_factory=list)
    running: set[tuple[int, Lane]] = field(default_factory=set)
    members: itertools.count[int] = field(default_factory=itertools.count)


class Worker:
    """An app that is one member: its endpoint takes records one by one, or in batches."""

    def __init__(self, config: ConsumerConfig, journal: Journal, *, batch: bool) -> None:
        self._config = config
        self._journal = journal
        self._member = next(journal.members)
        self._sender = Sender()
        self.app = EVKafkaApp()
        self.app.add_consumer(config, self._batch_handler() if batch else self._handler())
        self.app.add_producer(PRODUCER, self._sender)

    def _handler(self) -> Handler:
        handler, work_on = Handler(), self._work_on()

        @handler.event("Work")
        async def on_work(work: dict[str, Any], request: Request) -> None:
            lane = lane_of(self._config, request.partition, request.key)
            with self._alone_in({lane}):
                await work_on(work, request)
            self._handled(lane, request)

        return handler

    def _batch_handler(self) -> Handler:
        handler, work_on = Handler(), self._work_on()

        @handler.event("Work", batch=True, max_records=5, max_wait_ms=50)
        async def on_works(works: list[dict[str, Any]], requests: list[Request]) -> None:
            lanes = [lane_of(self._config, request.partition, request.key) for request in requests]
            failed: dict[int, BaseException] = {}
            with self._alone_in(set(lanes)):
                for index, (work, request, lane) in enumerate(zip(works, requests, lanes, strict=True)):
                    if any(lanes[before] == lane for before in failed) and kept_in_order(self._config, lane):
                        continue  # it stands behind one that failed, and counts as not done, whatever is done here
                    try:
                        await work_on(work, request)
                    except (ValueError, DeliveryError) as error:
                        failed[index] = error
                    else:
                        self._handled(lane, request)
            if failed:
                raise BatchError(failed)

        return handler

    def _work_on(self) -> Callable[[dict[str, Any], Request], Awaitable[None]]:
        @self._sender.event("Done", key=lambda done: done["key"])
        async def send_done(done: dict[str, Any]) -> None: ...

        async def work_on(work: dict[str, Any], request: Request) -> None:
            for _ in range(work["turns"]):
                await asyncio.sleep(0)
            if request.attempt <= work["fails"]:
                raise ValueError("by the schedule")
            if work["sends"]:
                key = f"{request.partition}-{request.key!r}" if request.key is not None else None
                await send_done({"key": key, "partition": request.partition, "offset": request.offset})
                self._journal.sent.append((request.partition, request.offset))

        return work_on

    @contextmanager
    def _alone_in(self, lanes: set[Lane]) -> Iterator[None]:
        """Nobody else of this member may be at work in a lane whose order is kept."""
        mine = {(self._member, lane) for lane in lanes if kept_in_order(self._config, lane)}
        if both := mine & self._journal.running:
            raise Broken(f"two attempts in one lane at once, {both}")
        self._journal.running |= mine
        try:
            yield
        finally:
            self._journal.running -= mine

    def _handled(self, lane: Lane, request: Request) -> None:
        self._journal.handled[request.partition].append(request.offset)
        self._journal.in_lanes[lane].append(request.offset)
