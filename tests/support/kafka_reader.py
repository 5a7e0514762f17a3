"""A `KafkaSource` that a test polls, and a listener that records its calls."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from typing import Any

import pytest

from evkafka.config.settings import ConnectionSettings, ConsumerSettings, TopicSettings
from evkafka.kafka.consumer.source import KafkaSource
from evkafka.records import OffsetReset, Record, TopicPartition, Unreadable
from evkafka.runtime.ports import PositionsCommit
from tests.support.waiting import eventually

Hook = Callable[[Collection[TopicPartition]], Awaitable[None]]


class Listener:
    """Records its calls. `revoking`, `losing` and `assigning`, if set, run inside the calls."""

    def __init__(self) -> None:
        self.revoked: list[set[TopicPartition]] = []
        self.lost: list[set[TopicPartition]] = []
        self.assigned: list[set[TopicPartition]] = []
        self.resets: list[OffsetReset] = []
        self.positions_commits: list[PositionsCommit] = []
        self.unreadable: list[Unreadable] = []
        self.revoking: Hook | None = None
        self.losing: Hook | None = None
        self.assigning: Hook | None = None
        self.when_unreadable: Callable[[Unreadable], object] | None = None

    async def on_revoked(self, partitions: Collection[TopicPartition]) -> None:
        self.revoked.append(set(partitions))
        if self.revoking is not None:
            await self.revoking(partitions)

    async def on_lost(self, partitions: Collection[TopicPartition]) -> None:
        self.lost.append(set(partitions))
        if self.losing is not None:
            await self.losing(partitions)

    async def on_assigned(self, partitions: Collection[TopicPartition]) -> None:
        self.assigned.append(set(partitions))
        if self.assigning is not None:
            await self.assigning(partitions)

    def on_reset(self, reset: OffsetReset) -> None:
        self.resets.append(reset)

    def on_positions_commit(self, commit: PositionsCommit) -> None:
        self.positions_commits.append(commit)

    def on_unreadable_records(self, unreadable: Unreadable) -> None:
        self.unreadable.append(unreadable)
        if self.when_unreadable is not None:
            self.when_unreadable(unreadable)


class Reader:
    """A source with its listener, and a task that polls it until it is paused."""

    def __init__(self, settings: ConsumerSettings) -> None:
        self.source = KafkaSource(settings)
        self.listener = Listener()
        self.records: list[Record] = []
        self.errors: list[BaseException] = []
        self.wanted: Collection[TopicPartition] | None = None
        self.polls = 0
        self._polling: asyncio.Task[None] | None = None

    async def start(self) -> Reader:
        await self.source.start(self.listener)
        self._polling = asyncio.ensure_future(self._poll())
        return self

    async def _poll(self) -> None:
        while True:
            try:
                batches = await self.source.poll(self.wanted, timeout_s=0.05, max_records=500)
            except Exception as error:
                self.errors.append(error)
                return
            self.polls += 1
            for records in batches.values():
                self.records += records

    def offsets(self, partition: int = 0) -> list[int]:
        return [record.offset for record in self.records if record.partition == partition]

    async def want(self, partitions: Collection[TopicPartition] | None) -> None:
        """Poll only these partitions from now on; returns when earlier polls have ended."""
        self.wanted = partitions
        polls = self.polls
        await eventually(lambda: self.polls >= polls + 2)

    async def pause(self) -> None:
        """Stop polling; `records` has all polled records."""
        if self._polling is not None:
            self._polling.cancel()
            await asyncio.wait({self._polling})

    async def stop(self, timeout_s: float = 3.0) -> None:
        await self.pause()
        await self.source.stop(timeout_s=timeout_s)


def consumer_settings(servers: str, topic: str, group: str | None = None, **overrides: Any) -> ConsumerSettings:
    """Settings for tests: fast heartbeats, short sessions, `auto_offset_reset` "earliest"."""
    options = overrides.pop("options", {})
    connection = overrides.pop("connection", {})
    defaults: dict[str, Any] = {
        "connection": ConnectionSettings(bootstrap_servers=tuple(servers.split(",")), **connection),
        "topics": (TopicSettings(topic),),
        "group_id": group,
        "auto_offset_reset": "earliest",
        "session_timeout_s": 6.0,
        "heartbeat_interval_s": 0.2,
        "rebalance_timeout_s": 10.0,
        "start_timeout_s": 10.0,
        "options": {"fetch_max_wait_ms": 50, **options},
    }
    if overrides.get("auto_commit_mode") == "exactly-once":
        defaults["transactional_id"] = f"{group}-{uuid.uuid4().hex[:12]}"
    return ConsumerSettings(**{**defaults, **overrides})


Read = Callable[..., Awaitable[Reader]]


@pytest.fixture
async def read() -> AsyncIterator[Read]:
    """Starts readers, and stops them when the test is over: `reader = await read(servers, topic, group)`."""
    readers: list[Reader] = []

    async def start(
        servers: str | ConsumerSettings, topic: str = "", group: str | None = None, **overrides: Any
    ) -> Reader:
        settings = (
            servers if isinstance(servers, ConsumerSettings) else consumer_settings(servers, topic, group, **overrides)
        )
        reader = Reader(settings)
        readers.append(reader)
        return await reader.start()

    yield start
    for reader in readers:
        await reader.stop()
