"""A cluster that only takes records: tests see what a producer sends, and decide the outcome."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from evkafka.broker import KafkaBroker
from evkafka.config.settings import ConsumerSettings, ProducerSettings
from evkafka.exceptions import DeliveryError
from evkafka.records import RecordMetadata
from evkafka.runtime.ports import OutgoingRecord, RecordSource
from tests.support.processes import freeze_child


@dataclass(frozen=True, slots=True)
class Taken:
    topic: str
    value: bytes | None
    key: bytes | None
    partition: int | None
    timestamp_ms: int | None
    headers: list[tuple[str, bytes | None]]
    event_type: str | None
    timeout_s: float | None


class TakingCluster:
    """Attributes:
    taken: what was sent, over all sinks.
    calls: what was done with the sinks: start, flush, stop.
    refusal: what every record's end is; None confirms them.
    start_error: what keeps sinks from starting.
    """

    def __init__(self) -> None:
        self.taken: list[Taken] = []
        self.calls: list[str] = []
        self.stop_timeouts_s: list[float] = []
        self.refusal: DeliveryError | None = None
        self.start_error: Exception | None = None

    def source(self, settings: ConsumerSettings) -> RecordSource:
        raise AssertionError("nothing is read from this cluster")

    def sink(self, settings: ProducerSettings) -> TakingSink:
        return TakingSink(self)

    @property
    def last(self) -> Taken:
        return self.taken[-1]


class TakingSink:
    def __init__(self, cluster: TakingCluster) -> None:
        self._cluster = cluster

    async def start(self) -> None:
        self._cluster.calls.append("start")
        if self._cluster.start_error is not None:
            raise self._cluster.start_error

    async def queue_record(
        self, record: OutgoingRecord, *, timeout_s: float | None = None
    ) -> asyncio.Future[RecordMetadata]:
        topic, value, key, partition, timestamp_ms, headers, event_type, *_ = record
        taken = self._cluster.taken
        taken.append(Taken(topic, value, key, partition, timestamp_ms, list(headers), event_type, timeout_s))
        confirmed: asyncio.Future[RecordMetadata] = asyncio.get_running_loop().create_future()
        if self._cluster.refusal is not None:
            confirmed.set_exception(self._cluster.refusal)
        else:
            confirmed.set_result(RecordMetadata(topic, partition or 0, len(taken) - 1, timestamp_ms, 0, 0))
        return confirmed

    def unavailable_reason(self) -> str:
        return ""

    async def flush(self) -> None:
        self._cluster.calls.append("flush")

    async def stop(self, *, timeout_s: float) -> None:
        self._cluster.calls.append("stop")
        self._cluster.stop_timeouts_s.append(timeout_s)


@contextmanager
def frozen(broker: KafkaBroker) -> Iterator[None]:
    """Freeze its process inside of the context: connections stay open, and nothing is answered."""
    pid = broker.pid
    assert pid is not None
    freeze_child(pid)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)
