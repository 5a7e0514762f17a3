"""The state that the parts of one in-memory cluster share."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Coroutine
from typing import Any

from evkafka.exceptions import BrokerUnavailable
from evkafka.producer import Headers, Key, build_headers, encode_key
from evkafka.records import TopicPartition
from evkafka.serde.encoding import encode
from evkafka.testing.memory.clock import VirtualClock
from evkafka.testing.memory.faults import Faults
from evkafka.testing.memory.partition_log import MemoryRecord
from evkafka.testing.memory.pending_record import PendingRecord
from evkafka.testing.memory.topics import Topics
from evkafka.testing.memory.trace import Trace
from evkafka.testing.memory.transactions import Transactions


class ClusterState:
    """Topics, virtual clock, faults and trace of one cluster, and the wake-up of everything that waits for a change.

    Attributes:
        clock: the virtual clock of every app that runs on the cluster.
        random: source of all random decisions, seeded.
        trace: events, in order.
        faults: injected faults and latencies.
        topics: all topics and their logs.
        sent: records that apps have written, in order; those of a transaction once it is committed.
        transactions: the transactions of apps.
        sending: records that apps have sent and that are not confirmed yet, in order.
    """

    def __init__(self, *, seed: int, partitions: int, auto_create_topics: bool) -> None:
        self.clock = VirtualClock()
        self.random = random.Random(seed)  # nosec B311 # reproducible by design
        self.trace = Trace(self.clock)
        self.faults = Faults(self.random)
        self.topics = Topics(partitions=partitions, auto_create=auto_create_topics, random=self.random)
        self.sent: list[MemoryRecord] = []
        self.transactions = Transactions(self.clock, self.topics, self.trace, self.wake_waiters)
        self.sending: dict[PendingRecord, None] = {}
        self._changes: dict[asyncio.Future[None], None] = {}  # in order, so that every run wakes them in the same order
        self._tasks: dict[asyncio.Task[None], None] = {}
        self._broken: BaseException | None = None

    @property
    def is_in_outage(self) -> bool:
        """True during an outage."""
        return self.faults.away_since_s is not None

    @property
    def outage_duration_so_far_s(self) -> float:
        """How long the present outage has lasted; 0 without one."""
        since_s = self.faults.away_since_s
        return self.clock.now() - since_s if since_s is not None else 0.0

    def append_record(self, tp: TopicPartition, *, by_app: bool = False, **parts: Any) -> MemoryRecord:
        """Write one record as it is; see `Topics.append_record`."""
        record = self.topics.append_record(tp, **parts)
        if by_app:
            self.sent.append(record)
        self.trace.note("%s[%s]@%s is written", tp.topic, tp.partition, record.offset)
        self.wake_waiters()
        return record

    def write(
        self,
        topic: str,
        event: Any,
        event_type: str | None,
        key: Key | None,
        partition: int | None,
        timestamp_ms: int | None,
        headers: Headers | None,
        transaction: int | None,
    ) -> MemoryRecord:
        """Write one record, encoded as by a producer; without an event type no header is added."""
        value, own_key = None if event is None else encode(event), encode_key(key)
        pairs = tuple(build_headers(headers, event_type))
        return self.append_record(
            self.topics.choose_partition(topic, own_key, partition),
            key=own_key,
            value=value,
            headers=pairs,
            timestamp_ms=self.clock.timestamp_ms() if timestamp_ms is None else timestamp_ms,
            transaction=transaction,
        )

    # ------------------------------------------------------------------ waiting

    async def wait_random_loop_turns(self) -> None:
        """Wait one to three turns of the event loop, as for an answer without latency."""
        for _ in range(self.random.randint(1, 3)):
            await asyncio.sleep(0)

    async def check_reachable(self) -> None:
        """Reach the cluster, as a request without latency does.

        Raises:
            BrokerUnavailable: during an outage.
        """
        await self.wait_random_loop_turns()
        if self.is_in_outage:
            raise BrokerUnavailable("the in-memory Kafka is unavailable")

    async def wait_for_outage_end(self) -> None:
        """Wait for the end of the outage, if there is one."""
        while self.is_in_outage:
            await self.next_change_future()

    def next_change_future(self) -> asyncio.Future[None]:
        """A future that is done at the next change of anything: a record, a rebalance, the end of an outage."""
        change: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._changes[change] = None
        change.add_done_callback(lambda _: self._changes.pop(change, None))
        return change

    def wake_waiters(self) -> None:
        """Something has changed: wake everything that waits for a change."""
        for change in tuple(self._changes):
            if not change.done():
                change.set_result(None)

    # ------------------------------------------------------------------ background tasks

    def run_in_background(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run a coroutine until it ends or the cluster is closed."""
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks[task] = None
        task.add_done_callback(self._on_task_done)
        return task

    def _on_task_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.pop(task, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._broken = error

    async def close(self) -> None:
        """Cancel the background tasks.

        Raises:
            RuntimeError: one of them has failed.
        """
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.raise_background_task_error()

    def raise_background_task_error(self) -> None:
        """Raise the error of a failed background task: it must not look like an error of the app.

        Raises:
            RuntimeError: a background task has failed.
        """
        if self._broken is not None:
            broken, self._broken = self._broken, None
            raise RuntimeError("the in-memory Kafka itself has failed; this is a bug in EVKafka's test kit") from broken
