"""A stream of numbered records, an app that handles them, and checks of the result.

After every fault the same must hold: the app recovers by itself, no record is lost, each partition's records start in
order, the committed offset is the end of the log, and the longest pause without a record is not longer than session
timeout, drain timeout and five seconds together.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
import uuid
from collections.abc import AsyncIterator
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from evkafka import EVKafkaApp, Handler, Request
from tests.support.kafka_topics import admin_of, create_topic
from tests.support.waiting import SLACK_S, eventually

SESSION_S, DRAIN_S, GRACE_S = 2.0, 20.0, 5.0
RECOVERY_S = 60.0

TYPED = [("Event-Type", b"E")]
PACE_S = 0.02


class Stream:
    """One topic, one group, and the records that the app has started.

    Args:
        servers: for writing records and reading offsets, without the injected faults.
        through: the address that the app connects to; default: `servers`.
    """

    def __init__(self, servers: str, *, through: str | None = None, partitions: int = 2) -> None:
        self.servers, self.through, self.partitions = servers, through or servers, partitions
        self.topic, self.group = f"s-{uuid.uuid4().hex[:12]}", f"g-{uuid.uuid4().hex[:12]}"
        self.written: dict[int, list[int]] = {number: [] for number in range(partitions)}
        self.started: list[tuple[int, int]] = []
        self.longest_silence_s = 0.0
        self._newest_s = time.monotonic()
        self._more = asyncio.Event()
        self._writing: asyncio.Task[None] | None = None

    # ------------------------------------------------------------------ app and producer

    def app(self, **config: Any) -> EVKafkaApp:
        """Another app, a member of the same group."""
        handler, app = Handler(), EVKafkaApp()

        @handler.event("E")
        async def on_event(number: int, request: Request) -> None:
            self.note(request.partition, request.offset)

        app.add_consumer(self.config(**config), handler)  # type: ignore[arg-type]
        return app

    def config(self, **keys: Any) -> dict[str, Any]:
        return {
            "topics": [self.topic],
            "bootstrap_servers": self.through,
            "group_id": self.group,
            "auto_offset_reset": "earliest",
            "auto_commit_interval_ms": 100,
            "session_timeout_ms": int(SESSION_S * 1000),
            "heartbeat_interval_ms": 300,
            "drain_timeout_ms": int(DRAIN_S * 1000),
            "metadata_max_age_ms": 1000,
            **keys,
        }

    def note(self, partition: int, offset: int) -> None:
        now_s = time.monotonic()
        self.longest_silence_s = max(self.longest_silence_s, now_s - self._newest_s)
        self._newest_s = now_s
        self.started.append((partition, offset))

    async def create(self) -> None:
        async with admin_of(self.servers) as admin:
            await create_topic(admin, self.topic, self.partitions)

    @contextlib.asynccontextmanager
    async def flowing(self, **config: Any) -> AsyncIterator[EVKafkaApp]:
        """Run the app and keep writing records; both end at the exit."""
        app = self.app(**config)
        await self.write(5)
        async with self.coming(), app.running(on_failure=lambda _: None):
            yield app

    @contextlib.asynccontextmanager
    async def coming(self) -> AsyncIterator[None]:
        self._writing = asyncio.ensure_future(self._keep_writing())
        try:
            yield
        finally:
            await self.stop_writing()

    async def write(self, rounds: int) -> None:
        """Write so many records to each partition."""
        async with AIOKafkaProducer(bootstrap_servers=self.servers, enable_idempotence=True) as producer:
            await self._write(producer, rounds)

    async def _write(self, producer: AIOKafkaProducer, rounds: int = 1) -> None:
        sends = [
            (number, await producer.send(self.topic, b"%d" % len(offsets), partition=number, headers=TYPED))
            for _ in range(rounds)
            for number, offsets in self.written.items()
        ]
        for number, confirmed in sends:
            self.written[number].append((await confirmed).offset)

    async def _keep_writing(self) -> None:
        async with AIOKafkaProducer(bootstrap_servers=self.servers, enable_idempotence=True) as producer:
            while not self._more.is_set():
                await self._write(producer)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._more.wait(), PACE_S)

    async def stop_writing(self) -> None:
        self._more.set()
        if self._writing is not None:
            await self._writing
        self._writing = None

    # ------------------------------------------------------------------ checks

    async def goes_on(self, count: int = 20, *, before: int | None = None) -> None:
        """Wait until so many more records have started than before: than now, if it is not given."""
        before = len(self.started) if before is None else before
        await eventually(lambda: len(self.started) >= before + count, RECOVERY_S, what="the next records")

    async def recovers(
        self, *, outage_s: float = 0.0, app: EVKafkaApp | None = None, before: int | None = None
    ) -> None:
        """Check everything that must hold after a fault; `before` as for `goes_on`."""
        await self.goes_on(before=before)
        await self.stop_writing()
        await self.is_done(app)
        self.in_order()
        allowed_s = SESSION_S + DRAIN_S + GRACE_S + SLACK_S + outage_s
        assert self.longest_silence_s <= allowed_s, f"silent for {self.longest_silence_s:.1f} s, with records to read"

    async def is_done(self, app: EVKafkaApp | None = None) -> None:
        """Wait until all written records are handled and committed; the app must not have ended."""

        partitions = [TopicPartition(self.topic, number) for number in self.written]
        async with AIOKafkaConsumer(bootstrap_servers=self.servers) as consumer, admin_of(self.servers) as admin:
            consumer.assign(partitions)

            async def over() -> bool:
                assert app is None or app.service is None or app.service.failure is None, app.service.failure  # type: ignore[union-attr]
                assert not self.lost(), f"not handled: {self.lost()[:5]}"
                ends = await consumer.end_offsets(partitions)
                found = await admin.list_consumer_group_offsets(self.group)
                committed = {tp: found[tp].offset for tp in partitions if tp in found}
                assert committed == ends, f"{committed} is committed of {ends}"
                return True

            await eventually(over, RECOVERY_S, what="lag 0")

    def lost(self) -> list[tuple[int, int]]:
        started = set(self.started)
        return [(number, o) for number, offsets in self.written.items() for o in offsets if (number, o) not in started]

    def in_order(self) -> None:
        """Check that a record first starts after all earlier records; repeats are allowed."""
        highest: dict[int, int] = {}
        for number, offset in self.started:
            ahead = highest.get(number, -1)
            assert offset <= ahead or offset == min(o for o in self.written[number] if o > ahead), (
                f"[{number}]@{offset} is started after {ahead}"
            )
            highest[number] = max(ahead, offset)
