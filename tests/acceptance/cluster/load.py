"""A load of numbered records for groups of processes, and the check that none is lost or repeated."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition

from evkafka import DeliveryError, EVKafkaProducer
from tests.support.kafka_cluster import KafkaCluster
from tests.support.processes import Worker, lines
from tests.support.waiting import eventually

PARTITIONS = 3
KEYS = 40
SETTLE_S = 90.0


class Load:
    """Sends records continuously to groups that handle them.

    Attributes:
        groups: each group handles every record.
        confirmed: the numbers of the confirmed sends.
        failed: the errors of the failed sends, by number.
        longest_s: the duration of the slowest confirmed send.
    """

    def __init__(self, cluster: KafkaCluster, topic: str, groups: list[str], journal: Path) -> None:
        self.topic = topic
        self.groups = groups
        self.confirmed: set[int] = set()
        self.failed: dict[int, DeliveryError] = {}
        self.longest_s = 0.0
        self._cluster = cluster
        self._journal = journal
        self._sending = True
        self._tasks: set[asyncio.Task[None]] = set()
        self._number = 0

    # ------------------------------------------------------------------ sending

    async def send(self, per_second: int) -> None:
        config: Any = {
            "bootstrap_servers": self._cluster.bootstrap_servers.split(","),
            "topic": self.topic,
            "delivery_timeout_ms": 60_000,
        }
        async with EVKafkaProducer(config) as producer:
            start_s = time.monotonic()
            while self._sending:
                while self._number < (time.monotonic() - start_s) * per_second:
                    task = asyncio.create_task(self._send_one(producer, self._number))
                    self._tasks.add(task)
                    task.add_done_callback(self._tasks.discard)
                    self._number += 1
                await asyncio.sleep(0.01)
            while self._tasks:
                await asyncio.wait(self._tasks)

    async def _send_one(self, producer: EVKafkaProducer, number: int) -> None:
        start_s = time.monotonic()
        try:
            await producer.send_event({"id": number}, "Work", key=f"k{number % KEYS}")
        except DeliveryError as error:
            self.failed[number] = error
        else:
            self.confirmed.add(number)
            self.longest_s = max(self.longest_s, time.monotonic() - start_s)

    async def make_progress(self, timeout_s: float = SETTLE_S) -> None:
        """Wait until all confirmed records and a hundred new ones are handled."""
        wanted = set(self.confirmed)
        await eventually(lambda: len(self.confirmed) >= len(wanted) + 100, timeout_s, what="a hundred more sends")
        await self._wait_handled(set(self.confirmed), timeout_s)

    async def commit_progress(self) -> None:
        """Wait until every group has committed more than before."""
        for group in self.groups:
            before = sum((await self._cluster.committed(group, self.topic)).values())

            async def more(group: str = group, before: int = before) -> bool:
                return sum((await self._cluster.committed(group, self.topic)).values()) > before

            await eventually(more, SETTLE_S, what=f"another commit of {group}")

    async def _wait_handled(self, numbers: set[int], timeout_s: float) -> None:
        def all_are() -> bool:
            handled = self.handled()
            return all(numbers <= handled[group].keys() for group in self.groups)

        await eventually(all_are, timeout_s, what="all confirmed records handled")

    def handled(self) -> dict[str, Counter[int]]:
        """Return how often each group has handled each number."""
        found: dict[str, Counter[int]] = {group: Counter() for group in self.groups}
        for line in lines(self._journal, "done"):
            found[line["group"]][line["id"]] += 1
        return found

    def longest_gap_s(self) -> float:
        """Return the longest time in which a group has handled nothing."""
        found = 0.0
        for group in self.groups:
            times = [line["at_s"] for line in lines(self._journal, "done") if line["group"] == group]
            found = max([found, *(after - before for before, after in pairwise(times))])
        return found

    # ------------------------------------------------------------------ the end

    async def settle(self) -> None:
        """Stop sending, and wait until everything is handled and committed."""
        self._sending = False
        await eventually(lambda: not self._tasks, SETTLE_S, what="the last sends")
        await self._wait_handled(set(self.confirmed), SETTLE_S)

        async def all_committed() -> bool:
            ends = await self._ends()
            return all([await self._cluster.committed(group, self.topic) == ends for group in self.groups])

        await eventually(all_committed, SETTLE_S, what="all committed")

    async def log(self) -> Counter[int]:
        """Return how often each number is in the log."""
        found: Counter[int] = Counter()
        async with self._reader() as reader:
            ends = await reader.end_offsets(self._partitions)
            while any([await reader.position(at) < ends[at] for at in self._partitions]):
                for records in (await reader.getmany(timeout_ms=500)).values():
                    found.update(json.loads(record.value)["id"] for record in records)
        return found

    async def _ends(self) -> dict[int, int]:
        async with self._reader() as reader:
            return {at.partition: end for at, end in (await reader.end_offsets(self._partitions)).items()}

    @property
    def _partitions(self) -> list[TopicPartition]:
        return [TopicPartition(self.topic, number) for number in range(PARTITIONS)]

    @contextlib.asynccontextmanager
    async def _reader(self) -> AsyncIterator[Any]:
        reader = AIOKafkaConsumer(bootstrap_servers=self._cluster.bootstrap_servers, auto_offset_reset="earliest")
        await reader.start()
        try:
            reader.assign(self._partitions)
            await reader.seek_to_beginning()
            yield reader
        finally:
            await reader.stop()


@contextlib.asynccontextmanager
async def under_load(
    cluster: KafkaCluster, folder: Path, *, per_second: int = 100, groups: int = 1, processes: int = 2
) -> AsyncIterator[Load]:
    """Send and handle records inside the context; at its exit check that none is lost, repeated or written twice.

    Args:
        groups: the number of groups; each process has a member in each.
    """
    topic = f"t-{uuid.uuid4().hex[:8]}"
    await cluster.create(topic, {0: [1, 2, 3], 1: [2, 3, 1], 2: [3, 1, 2]})
    config = {
        "topics": [topic],
        "bootstrap_servers": cluster.bootstrap_servers.split(","),
        "auto_offset_reset": "earliest",
        "concurrency": 16,
        "ordering": "key",
        "session_timeout_ms": 6_000,
        "heartbeat_interval_ms": 1_500,
        "auto_commit_interval_ms": 500,
    }
    journal = folder / "journal"
    load = Load(cluster, topic, [f"{topic}-{number}" for number in range(groups)], journal)
    configs = [config | {"group_id": group} for group in load.groups]
    workers = [Worker(journal, configs) for _ in range(processes)]
    sending = asyncio.create_task(load.send(per_second))
    try:
        await load.make_progress()
        yield load
        await load.settle()
        await sending
        codes = await asyncio.gather(*(asyncio.to_thread(worker.terminate) for worker in workers))
        assert codes == [0] * processes, [worker.log[-2000:] for worker in workers]
    finally:
        sending.cancel()
        for worker in workers:
            worker.end()
    await _check(load)


async def _check(load: Load) -> None:
    log = await load.log()
    lost = load.confirmed - set(log)
    assert not lost, f"confirmed and not in the log: {sorted(lost)[:10]}"
    assert not [number for number, count in log.items() if count > 1], "written twice"
    assert not load.failed, f"{len(load.failed)} sends failed: {next(iter(load.failed.values()))}"
    for group, handled in load.handled().items():
        unhandled = set(log) - set(handled)
        assert not unhandled, f"{group}: in the log and never handled: {sorted(unhandled)[:10]}"
        twice = [number for number, count in handled.items() if count > 1]
        assert not twice, f"{group}: {len(twice)} handled twice, such as {sorted(twice)[:10]}"
