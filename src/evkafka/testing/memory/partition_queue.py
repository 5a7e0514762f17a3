"""The send queue of one partition: records in order, each with its deadline."""

from __future__ import annotations

import asyncio
from collections import deque

from evkafka.config.time_limits import seconds_text
from evkafka.exceptions import EVKafkaError
from evkafka.records import TopicPartition
from evkafka.runtime.clock import sleep
from evkafka.testing.memory.pending_record import PendingRecord
from evkafka.testing.memory.state import ClusterState

MOST_IN_A_BATCH = 500


class PartitionQueue:
    """One producer's records for one partition: written in order, and an unanswered one delays the next."""

    def __init__(self, cluster: ClusterState, tp: TopicPartition) -> None:
        self._cluster = cluster
        self._tp = tp
        self._queue: deque[PendingRecord] = deque()
        self._in_flight: list[PendingRecord] = []
        self._task: asyncio.Task[None] | None = None

    def put(self, record: PendingRecord) -> None:
        record.timer = self._cluster.clock.call_later(record.timeout_s, lambda: self._fail_record_at_deadline(record))
        self._queue.append(record)
        if self._task is None or self._task.done():
            self._task = self._cluster.run_in_background(self._write_queued_records())

    def _fail_record_at_deadline(self, record: PendingRecord) -> None:
        away = ", because the in-memory Kafka is unavailable" if self._cluster.is_in_outage else ""
        record.fail(f"no answer within {seconds_text(record.timeout_s)}{away}", may_have_been_written=record.in_flight)

    async def _write_queued_records(self) -> None:
        cluster = self._cluster
        while self._queue:
            await cluster.wait_for_outage_end()
            self._in_flight = [self._queue.popleft() for _ in range(min(len(self._queue), MOST_IN_A_BATCH))]
            for record in self._in_flight:
                record.in_flight = not record.done
            latency_s = cluster.faults.draw_latency_s(cluster.faults.produce_s)
            if latency_s:
                await sleep(cluster.clock, latency_s / 2)
            await cluster.wait_for_outage_end()  # a request that is lost in an outage is sent again after it
            offsets = [(record, await self._write_record_and_return_offset(record)) for record in self._in_flight]
            self._in_flight = []
            await cluster.wait_random_loop_turns()
            if latency_s:
                await sleep(cluster.clock, latency_s / 2)
            for record, offset in offsets:
                if offset is not None:
                    record.confirm(offset)

    async def _write_record_and_return_offset(self, record: PendingRecord) -> int | None:
        """Write the record and return its offset; None if there is nothing to confirm."""
        if record.done or record.answer.cancelled():
            return None
        match self._cluster.faults.take_send_fault(self._tp.topic):
            case "refused":
                record.fail("refused by the test", may_have_been_written=False)
                return None
            case "timed out, written":
                self._append_record_to_log(record)
                await self._wait_until_record_times_out(record)
                return None
            case "timed out, lost":
                await self._wait_until_record_times_out(record)
                return None
        try:
            return self._append_record_to_log(record)
        except EVKafkaError as error:
            record.fail(str(error), may_have_been_written=False, cause=error)
            return None

    def _append_record_to_log(self, record: PendingRecord) -> int:
        return self._cluster.append_record(
            self._tp,
            key=record.key,
            value=record.value,
            headers=record.headers,
            timestamp_ms=record.timestamp_ms,
            by_app=True,
        ).offset

    @staticmethod
    async def _wait_until_record_times_out(record: PendingRecord) -> None:
        """No later record may follow while the outcome of this one is unknown: wait until its deadline has passed."""
        await asyncio.wait({record.answer})

    def drop_unwritten_records_in_crash(self, *, arrives: bool) -> None:
        """The process is killed: what is in flight is still written if it `arrives`; what is queued is lost."""
        if self._task is not None:
            self._task.cancel()
        for record in self._in_flight:
            if arrives and not record.done:
                self._append_record_to_log(record)
        for record in (*self._in_flight, *self._queue):
            record.cancel()
        self._in_flight = []
        self._queue.clear()
