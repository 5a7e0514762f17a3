"""What runs in a schedule: an endpoint that works, fails and sends as its record tells it to, and notes it."""

from __future__ import annotations

import asyncio
import itertools
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

from evkafka import ConsumerConfig, EVKafkaApp, Handler, ProducerConfig, Request, Sender
from tests.property.promises import Broken, kept_in_order, lane_of

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
    in_lanes: dict[tuple[int, bytes | None], list[int]] = field(default_factory=lambda: defaultdict(list))
    sent: list[tuple[int, int]] = field(default_factory=list)
    running: set[tuple[int, tuple[int, bytes | None]]] = field(default_factory=set)
    members: itertools.count[int] = field(default_factory=itertools.count)


def make_worker(config: ConsumerConfig, journal: Journal) -> EVKafkaApp:
    """An app that is one member."""
    handler, sender, member = Handler(), Sender(), next(journal.members)

    @sender.event("Done", key=lambda done: done["key"])
    async def send_done(done: dict[str, Any]) -> None: ...

    async def work_on(work: dict[str, Any], request: Request) -> None:
        for _ in range(work["turns"]):
            await asyncio.sleep(0)
        if request.attempt <= work["fails"]:
            raise ValueError("by the schedule")
        if work["sends"]:
            key = f"{request.partition}-{request.key!r}" if request.key is not None else None
            await send_done({"key": key, "partition": request.partition, "offset": request.offset})
            journal.sent.append((request.partition, request.offset))

    @handler.event("Work")
    async def on_work(work: dict[str, Any], request: Request) -> None:
        lane = lane_of(config, request.partition, request.key)
        if kept_in_order(config, lane):
            if (member, lane) in journal.running:
                raise Broken(f"two records of one lane at once, {lane}")
            journal.running.add((member, lane))
        try:
            await work_on(work, request)
        finally:
            journal.running.discard((member, lane))
        journal.handled[request.partition].append(request.offset)
        journal.in_lanes[lane].append(request.offset)

    app = EVKafkaApp()
    app.add_consumer(config, handler)
    app.add_producer(PRODUCER, sender)
    return app
