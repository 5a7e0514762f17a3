"""Sends records to Kafka: one queue per partition, and one idempotent producer, replaced when its sequence breaks.

The path of a record: `queue_record` looks up the topic and chooses the partition; `partition_queue.py` keeps order and
deadlines and fills batches; `idempotent_producer.py` sends them.
"""

from __future__ import annotations

import asyncio
import logging
import random
import re
import time
from collections import deque
from contextlib import ExitStack

from aiokafka import errors as kafka
from aiokafka.record.default_records import DefaultRecordBatchBuilder

from evkafka.config.settings import ProducerSettings
from evkafka.config.time_limits import seconds_text, send_limit_text, time_limit_text
from evkafka.exceptions import BrokerUnavailable, EVKafkaError, RecordTooLarge
from evkafka.kafka.client.log_filters import client_log_filters
from evkafka.kafka.client.preflight import MIN_START_S, find_reachable_server
from evkafka.kafka.client.tasks import start_named_task
from evkafka.kafka.errors import translate_error
from evkafka.kafka.producer.batch import PendingRecord
from evkafka.kafka.producer.idempotent_producer import IdempotentProducer, Refusal, Topic
from evkafka.kafka.producer.output_queue import MOST_BYTES, reason_too_large_for_any_topic, size_as_single_record_batch
from evkafka.kafka.producer.partition_queue import PartitionQueue
from evkafka.records import RecordMetadata, TopicPartition
from evkafka.runtime.backoff import exponential_delay_s
from evkafka.runtime.delivery_error import delivery_error
from evkafka.runtime.partitioner import partition_for
from evkafka.runtime.ports import OutgoingRecord
from evkafka.runtime.supervision.tasks import loop_is_closing

logger = logging.getLogger("evkafka.runtime.kafka")

CLOSE_S = 1.0

TOPIC_WAIT_S = 10.0
"""How long to wait for a topic that the brokers do not know. It may be being created; a typo should not take the whole
delivery timeout."""

FIRST_WAIT_S = 0.1

LEGAL_NAME = re.compile(r"[a-zA-Z0-9._-]{1,249}")

estimate = DefaultRecordBatchBuilder.estimate_size_in_bytes


class KafkaSink:
    """Implements `RecordSink`. One producer at a time takes records. Start once, stop once."""

    def __init__(self, settings: ProducerSettings) -> None:
        self._settings = settings
        self._partitioner = settings.options.get("partitioner", partition_for)
        self._queues: dict[tuple[str, int], PartitionQueue] = {}
        self._lookups: dict[str, asyncio.Task[str]] = {}
        self._loop: asyncio.AbstractEventLoop
        self._newest: IdempotentProducer | None = None
        self._draining: set[IdempotentProducer] = set()  # retired ones with unfinished batches
        self._closing: set[asyncio.Task[None]] = set()
        self._replacing: asyncio.Task[None] | None = None
        self._replaced_at_s: deque[float] = deque(maxlen=10)
        self._last_start_error = ""
        self._stopping = False  # no more records are taken; those in the queues are still sent
        self._closed = False
        self._log_filters = ExitStack()

    # ------------------------------------------------------------------ start and stop

    async def start(self) -> None:
        """Connect, log in, and get a producer id.

        Raises:
            BrokerUnavailable, BrokerRefused, BrokerError: why it failed.
        """
        self._loop = asyncio.get_running_loop()
        until_s = time.monotonic() + self._settings.start_timeout_s
        with ExitStack() as started:
            started.enter_context(client_log_filters.installed())
            while self._newest is None:
                self._newest = await self._try_once_to_start_first_producer(until_s)
            self._log_filters = started.pop_all()

    async def _try_once_to_start_first_producer(self, until_s: float) -> IdempotentProducer | None:
        """The first producer; None if the server has gone that was there a moment ago, and there is time left."""
        left_s = until_s - time.monotonic()
        first = await find_reachable_server(self._settings.connection, timeout_s=left_s, limit=self._start_limit_text())
        left_s = until_s - time.monotonic()
        try:
            return await self._start_producer(first=first, timeout_s=max(left_s, MIN_START_S))
        except BrokerUnavailable:
            if time.monotonic() + FIRST_WAIT_S >= until_s:
                raise
            await asyncio.sleep(FIRST_WAIT_S)
            return None

    def _start_limit_text(self) -> str:
        return time_limit_text(self._settings.start_timeout_s, "start_timeout_ms")

    async def _start_producer(self, *, timeout_s: float, first: tuple[str, int] | None = None) -> IdempotentProducer:
        producer = IdempotentProducer(self._settings, first=first)
        topics = self._newest.topics if self._newest is not None else ()
        try:
            async with asyncio.timeout(timeout_s):
                await producer.start(self._replace_dead_producer, topics=topics)
        except BaseException as error:
            producer.retired = True
            await producer.close_without_flush(timeout_s=CLOSE_S)
            match error:
                case TimeoutError():
                    cause = producer.client.last_error or "no answer in time"
                    raise BrokerUnavailable(f"no producer id within {self._start_limit_text()}: {cause}") from error
                case kafka.KafkaError() | OSError():
                    servers = ", ".join(self._settings.connection.bootstrap_servers)
                    raise translate_error(error, f"{servers}: starting the producer") from error
                case _:
                    raise
        return producer

    async def flush(self) -> None:
        """Return when everything queued so far is confirmed or has failed."""
        await self._flush(None)

    async def stop(self, *, timeout_s: float) -> None:
        """Flush and close. Records that are not confirmed in this time fail."""
        if self._stopping or self._newest is None:
            return
        self._stopping = True
        with self._log_filters:
            await self._shut_down(timeout_s)

    async def _shut_down(self, timeout_s: float) -> None:
        deadline_s = time.monotonic() + timeout_s
        close_s = min(CLOSE_S, timeout_s / 4)
        await self._flush(max(timeout_s - 2 * close_s, 0.0))
        self._closed = True
        if left := sum(len(queue.end_linger_and_get_pending_futures()) for queue in self._queues.values()):
            logger.warning("%d records were not confirmed when the producer was stopped", left)
        for queue in self._queues.values():
            queue.stop_and_fail_records(
                f"the producer was stopped, and the records in its queue were not sent within {seconds_text(timeout_s)}"
            )
        await self._end_tasks(close_s)
        left_s = max(deadline_s - time.monotonic(), 0.1)
        producers = {self.newest_producer, *self._draining}
        await asyncio.gather(*(producer.close_without_flush(timeout_s=left_s) for producer in producers))

    async def _flush(self, timeout_s: float | None) -> None:
        pending = [future for queue in self._queues.values() for future in queue.end_linger_and_get_pending_futures()]
        if pending:
            await asyncio.wait(pending, timeout=timeout_s)

    async def _end_tasks(self, timeout_s: float) -> None:
        tasks: set[asyncio.Task[None] | asyncio.Task[str]] = {*self._closing, *self._lookups.values()}
        if self._replacing is not None:
            tasks.add(self._replacing)
        for task in (*self._lookups.values(), self._replacing):
            if task is not None:
                task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=timeout_s)

    # ------------------------------------------------------------------ sending

    async def queue_record(
        self, record: OutgoingRecord, *, timeout_s: float | None = None
    ) -> asyncio.Future[RecordMetadata]:
        """Queue one record. Waits for the topic's metadata, and for room in the partition's queue.

        Raises (also from the future):
            DeliveryError: it was not confirmed in time, or was refused.
        """
        topic, value, key, _, timestamp_ms, headers, event_type, *_ = record
        loop = self._loop
        limit_s = self._settings.delivery_timeout_s if timeout_s is None else timeout_s
        deadline_s = loop.time() + limit_s
        partition = await self._choose_partition(record, limit_s)
        pending = PendingRecord(
            loop.create_future(), value, key, timestamp_ms, headers, event_type, limit_s, deadline_s
        )
        queue = self._queues.get((topic, partition)) or self._new_queue(topic, partition)
        queue.add_to_batch_or_waiting_records(pending)
        if pending.added_to_batch is not None:
            try:
                await pending.added_to_batch
            except asyncio.CancelledError:
                pending.confirmed.cancel()  # it has no place in a batch, so it is not sent
                raise
        return pending.confirmed

    async def with_chosen_partition(self, record: OutgoingRecord, *, timeout_s: float | None = None) -> OutgoingRecord:
        """The record with its partition, chosen as `queue_record` does, and its compression. Does not suspend if the
        topic is known.

        Raises:
            DeliveryError: as `queue_record`, if there is no such topic or partition, or the record is too large.
        """
        limit_s = self._settings.delivery_timeout_s if timeout_s is None else timeout_s
        partition = await self._choose_partition(record, limit_s)
        if (
            self.newest_producer.max_request_size > MOST_BYTES
            and (why := reason_too_large_for_any_topic(record)) is not None
        ):
            raise delivery_error(record.topic, record.event_type, why, may_have_been_written=False, kind=RecordTooLarge)
        return record._replace(partition=partition, compression_type=self._settings.options.get("compression_type"))

    def size_as_single_record_batch(self, record: OutgoingRecord) -> int:
        """The size of a batch with only this record, compressed."""
        return size_as_single_record_batch(record)

    async def _choose_partition(self, record: OutgoingRecord, timeout_s: float) -> int:
        topic, value, key, partition, _, headers, event_type, *_ = record
        producer = self.newest_producer
        if (size := estimate(key, value, headers)) > producer.max_request_size:
            why = f"the record, {size} bytes, is larger than max_request_size, {producer.max_request_size} bytes"
            raise delivery_error(topic, event_type, why, may_have_been_written=False, kind=RecordTooLarge)
        known = producer.topic(topic)
        if known is None or (partition is not None and partition not in known.partitions):
            known = await self._wait_for_topic(topic, partition, event_type, timeout_s)
        if self._stopping:
            why = "the producer is being stopped"
            raise delivery_error(topic, event_type, why, may_have_been_written=False)
        if partition is None:
            partition = self._partitioner(key, known.partitions, known.available)
            if partition not in known.partitions:
                why = f"the configured partitioner chose {partition!r}, but the partitions are {known.partitions}"
                raise delivery_error(topic, event_type, why, may_have_been_written=False)
        return partition

    def _new_queue(self, topic: str, partition: int) -> PartitionQueue:
        address = TopicPartition(topic, partition)
        queue = self._queues[address] = PartitionQueue(
            address, self, standard_timeout_s=self._settings.delivery_timeout_s
        )
        return queue

    # ------------------------------------------------------------------ topics

    async def _wait_for_topic(
        self, topic: str, partition: int | None, event_type: str | None, timeout_s: float
    ) -> Topic:
        """Wait until the topic and this partition are known.

        Raises:
            DeliveryError: it does not exist, or no broker has answered in time.
        """
        until_s = self._loop.time() + timeout_s
        while True:
            lookup = self._lookups.get(topic)  # shared by all that wait for the topic
            if lookup is None:
                lookup = self._lookups[topic] = start_named_task(
                    "topic", self._settings.connection, self._reason_topic_cannot_be_found(topic)
                )
                lookup.add_done_callback(lambda _: self._lookups.pop(topic, None))
            await asyncio.wait({lookup}, timeout=until_s - self._loop.time())
            if not lookup.cancelled() or self._stopping:
                break  # otherwise it was cancelled from outside: start another one
        known = self.newest_producer.topic(topic)
        if known is not None and (partition is None or partition in known.partitions):
            return known
        if known is not None:
            why = f"partition {partition} does not exist: the topic has {len(known.partitions)}, counted from 0"
        elif lookup.cancelled():
            why = "the producer is being stopped"
        elif lookup.done():
            why = lookup.result()
        else:
            cause = self.reason_nothing_can_be_sent() or "no broker has answered"
            limit = send_limit_text(timeout_s, self._settings.delivery_timeout_s)
            why = f"no metadata of the topic within {limit}: {cause}"
        raise delivery_error(topic, event_type, why, may_have_been_written=False)

    async def _reason_topic_cannot_be_found(self, topic: str) -> str:
        """Ask for the topic until it is known. Returns why it cannot be found, or an empty string."""
        if not LEGAL_NAME.fullmatch(topic) or topic in (".", ".."):
            return "the name is invalid; use up to 249 letters, digits, '.', '_' and '-'"
        with client_log_filters.installed(absent_topics=(topic,)):
            return await self._wait_for_topic_or_return_reason(topic)

    async def _wait_for_topic_or_return_reason(self, topic: str) -> str:
        absent_since_s: float | None = None
        wait_s = FIRST_WAIT_S
        while True:
            producer = self.newest_producer
            answered = await producer.request_topic(topic)
            if producer.topic(topic) is not None:
                return ""
            if topic in producer.client.cluster.unauthorized_topics:
                return "not authorized: an ACL for WRITE of the topic is missing"
            now_s = time.monotonic()
            if answered and absent_since_s is None:
                absent_since_s = now_s
            if absent_since_s is not None and now_s - absent_since_s > TOPIC_WAIT_S:
                producer.stop_requesting_topic(topic)
                return "the topic does not exist; create it, or check the name"
            await asyncio.sleep(wait_s)
            wait_s = min(wait_s * 1.5, 1.0)

    # ------------------------------------------------------------------ producers

    @property
    def newest_producer(self) -> IdempotentProducer:
        """The producer started last. Its metadata are used also while it is being replaced."""
        assert self._newest is not None
        return self._newest

    def current_producer(self) -> IdempotentProducer | None:
        """The producer that takes batches; None while it is being replaced."""
        newest = self.newest_producer
        return None if newest.retired or self._closed else newest

    def replace_producer(self, producer: IdempotentProducer, why: Refusal) -> None:
        """Retire a producer and start the next one. A second call for the same producer changes nothing."""
        if producer.retired or self._closed:
            return
        logger.warning("replacing the producer because its sequence is broken: %s", why)
        producer.retired = True
        self._draining.add(producer)
        self._start_replacing()

    def _replace_dead_producer(self, producer: IdempotentProducer) -> None:
        if not loop_is_closing():
            self.replace_producer(producer, Refusal(None, "a task of the client has ended unexpectedly"))

    def _start_replacing(self) -> None:
        def ended(task: asyncio.Task[None]) -> None:
            # Cancelled from outside: without this task no record would ever be sent again.
            if task.cancelled() and not self._stopping and not loop_is_closing():
                logger.error("task %s was cancelled by code outside EVKafka and is restarted", task.get_name())
                self._start_replacing()

        self._replacing = start_named_task("replace", self._settings.connection, self._run_replacement())
        self._replacing.add_done_callback(ended)

    async def _run_replacement(self) -> None:
        """Start the next producer, however long it takes: the records that wait for it have their own deadlines."""
        attempt = 0
        await asyncio.sleep(self._replacement_delay_s())
        while True:
            try:
                self._newest = await self._start_producer(timeout_s=self._settings.start_timeout_s)
            except EVKafkaError as error:
                attempt += 1
                self._last_start_error = str(error)
                wait_s = exponential_delay_s(
                    attempt, first_s=0.1, multiplier=2, most_s=5, jitter=0.2, random=random.random
                )
                logger.warning("no new producer yet, trying again in %.1f s: %s", wait_s, error)
                await asyncio.sleep(wait_s)
            else:
                break
        self._last_start_error = ""
        for queue in self._queues.values():
            queue.submit_next()
        for producer in tuple(self._draining):
            self.close_producer_if_drained(producer)

    def _replacement_delay_s(self) -> float:
        """0 at first. If topics refuse every record, brokers must not be asked for producer ids without a pause."""
        now_s = time.monotonic()
        self._replaced_at_s.append(now_s)
        lately = sum(now_s - at_s < 10.0 for at_s in self._replaced_at_s)
        return max(0, lately - 5) * 0.1

    def close_producer_if_drained(self, producer: IdempotentProducer) -> None:
        """Close a retired producer without unfinished batches, once the next one has been started."""
        if producer.unfinished == 0 and producer in self._draining and producer is not self._newest:
            self._draining.discard(producer)
            closing = start_named_task(
                "close", self._settings.connection, producer.close_without_flush(timeout_s=CLOSE_S)
            )
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)

    def unavailable_reason(self) -> str:
        """See `RecordSink`. A broker that is away does not count while another one answers.

        An idle client would refresh its metadata only a minute later, so this call makes it try now.
        """
        newest = self._newest
        if newest is None:
            return "the producer has not been started"
        client = newest.client
        if not newest.retired and client.answered_at_s >= client.failed_at_s:
            return ""
        if reason := self.reason_nothing_can_be_sent():
            client.force_metadata_update()
        return reason

    def reason_nothing_can_be_sent(self) -> str:
        """Why nothing can be sent at the moment, for an error message; empty if unknown."""
        newest = self.newest_producer
        if newest.retired and self._last_start_error:
            return f"a new producer could not be started ({self._last_start_error})"
        return str(newest.client.last_error or "")
