"""Sends records to Kafka: one queue for each partition, over one idempotent producer, which is replaced when its
sequence breaks.

The way of a record: `send` looks up the topic and chooses the partition; `partition_queue.py` keeps order and deadlines
and makes batches; `idempotent_producer.py` is the client that sends them.
"""

from __future__ import annotations

import asyncio
import logging
import random
import re
import time
from collections import deque
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

from aiokafka import errors as kafka
from aiokafka.record.default_records import DefaultRecordBatchBuilder

from evkafka.config.settings import ProducerSettings
from evkafka.exceptions import BrokerUnavailable, EVKafkaError, RecordTooLarge
from evkafka.kafka.client.log_throttle import awaited_topics
from evkafka.kafka.client.preflight import reach
from evkafka.kafka.errors import translate
from evkafka.kafka.producer.batch import PendingRecord, delivery_error
from evkafka.kafka.producer.idempotent_producer import IdempotentProducer, Refusal, Topic
from evkafka.kafka.producer.partition_queue import PartitionQueue
from evkafka.records import RecordMetadata, TopicPartition
from evkafka.runtime.backoff import exponential
from evkafka.runtime.partitioner import partition_for
from evkafka.runtime.supervision.tasks import loop_is_closing

T = TypeVar("T")

logger = logging.getLogger("evkafka.runtime.kafka")

CLOSE_S = 1.0

TOPIC_WAIT_S = 10.0
"""How long a topic that the brokers do not know is waited for: it may be in the making. A typo should not cost the
whole delivery timeout."""

FIRST_WAIT_S = 0.1

LEGAL_NAME = re.compile(r"[a-zA-Z0-9._-]{1,249}")

estimate = DefaultRecordBatchBuilder.estimate_size_in_bytes


class KafkaSink:
    """Producers in a row, of which one takes what is sent: start once, stop once."""

    def __init__(self, settings: ProducerSettings) -> None:
        self._settings = settings
        self._partitioner = settings.options.get("partitioner", partition_for)
        self._outlets: dict[tuple[str, int], PartitionQueue] = {}
        self._looking: dict[str, asyncio.Task[str]] = {}
        self._loop: asyncio.AbstractEventLoop
        self._newest: IdempotentProducer | None = None
        self._draining: set[IdempotentProducer] = set()
        self._closing: set[asyncio.Task[None]] = set()
        self._replacing: asyncio.Task[None] | None = None
        self._replaced_at_s: deque[float] = deque(maxlen=10)
        self._last_failure = ""
        self._stopping = False  # nothing more is taken; what was taken still goes out
        self._closed = False

    # ------------------------------------------------------------------ life

    async def start(self) -> None:
        """Connect, log in, and get a producer id.

        Raises:
            BrokerUnavailable, BrokerRefused, BrokerError: what kept it from it.
        """
        settings = self._settings
        self._loop = asyncio.get_running_loop()
        began_s = time.monotonic()
        first = await reach(settings.connection, timeout_s=settings.start_timeout_s)
        left_s = settings.start_timeout_s - (time.monotonic() - began_s)
        self._newest = await self._new_generation(first=first, timeout_s=max(left_s, 1.0))

    async def _new_generation(self, *, timeout_s: float, first: tuple[str, int] | None = None) -> IdempotentProducer:
        generation = IdempotentProducer(self._settings, first=first)
        topics = self._newest.topics if self._newest is not None else ()
        try:
            async with asyncio.timeout(timeout_s):
                await generation.start(self._died, topics=topics)
        except BaseException as error:
            generation.retired = True
            await generation.close(timeout_s=CLOSE_S)
            match error:
                case TimeoutError():
                    trouble = generation.client.trouble or "no answer in time"
                    raise BrokerUnavailable(f"no producer id within {timeout_s:.3g} s: {trouble}") from error
                case kafka.KafkaError() | OSError():
                    servers = ", ".join(self._settings.connection.bootstrap_servers)
                    raise translate(error, f"{servers}: starting the producer") from error
                case _:
                    raise
        return generation

    async def flush(self) -> None:
        """Return when everything queued so far is confirmed or has failed."""
        pending = [future for outlet in self._outlets.values() for future in outlet.pending()]
        if pending:
            await asyncio.wait(pending)

    async def stop(self, *, timeout_s: float) -> None:
        """Flush and close. What is not confirmed when the time runs out fails, and says so."""
        if self._stopping or self._newest is None:
            return
        self._stopping = True
        deadline_s = time.monotonic() + timeout_s
        close_s = min(CLOSE_S, timeout_s / 4)
        await self._flush_for(timeout_s - 2 * close_s)
        self._closed = True
        if left := sum(len(outlet.pending()) for outlet in self._outlets.values()):
            logger.warning("%d records were not confirmed when the producer was stopped", left)
        for outlet in self._outlets.values():
            outlet.stop(f"the producer was stopped, and {timeout_s:.3g} s were not enough for what was queued")
        await self._end_tasks(close_s)
        left_s = max(deadline_s - time.monotonic(), 0.1)
        producers = {self._newest, *self._draining}
        await asyncio.gather(*(producer.close(timeout_s=left_s) for producer in producers))

    async def _flush_for(self, timeout_s: float) -> None:
        pending = [future for outlet in self._outlets.values() for future in outlet.pending()]
        if pending:
            await asyncio.wait(pending, timeout=max(timeout_s, 0.0))

    async def _end_tasks(self, timeout_s: float) -> None:
        tasks: set[asyncio.Task[None] | asyncio.Task[str]] = {*self._closing, *self._looking.values()}
        if self._replacing is not None:
            tasks.add(self._replacing)
        for task in (*self._looking.values(), self._replacing):
            if task is not None:
                task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=timeout_s)

    # ------------------------------------------------------------------ sending

    async def send(
        self,
        topic: str,
        *,
        value: bytes | None,
        key: bytes | None,
        partition: int | None,
        timestamp_ms: int | None,
        headers: Sequence[tuple[str, bytes | None]],
        event_type: str | None = None,
        timeout_s: float | None = None,
    ) -> asyncio.Future[RecordMetadata]:
        """Queue one record; waits for the topic's partitions, and for room: one batch more than the client sends.

        Raises (also out of the future):
            DeliveryError: it was not confirmed in time, or was refused.
        """
        generation = self._producer()
        loop = self._loop
        bound_s = self._settings.delivery_timeout_s if timeout_s is None else timeout_s
        deadline_s = loop.time() + bound_s
        if (size := estimate(key, value, headers)) > generation.max_request_size:
            why = f"the record, {size} bytes, is larger than max_request_size, {generation.max_request_size} bytes"
            raise delivery_error(
                why, topic, f"topic {topic!r}", event_type, may_have_been_written=False, kind=RecordTooLarge
            )
        known = generation.topic(topic)
        if known is None or (partition is not None and partition not in known.partitions):
            known = await self._find(topic, partition, event_type, bound_s)
        if self._stopping:
            why = "the producer is being stopped"
            raise delivery_error(why, topic, f"topic {topic!r}", event_type, may_have_been_written=False)
        if partition is None:
            partition = self._partitioner(key, known.partitions, known.available)
            if partition not in known.partitions:
                why = f"the configured partitioner chose {partition!r}, and there are {known.partitions}"
                raise delivery_error(why, topic, f"topic {topic!r}", event_type, may_have_been_written=False)
        record = PendingRecord(loop.create_future(), value, key, timestamp_ms, headers, event_type, bound_s, deadline_s)
        outlet = self._outlets.get((topic, partition)) or self._new_outlet(topic, partition)
        outlet.put(record)
        if record.room is not None:
            try:
                await record.room
            except asyncio.CancelledError:
                record.confirmed.cancel()  # it has no place in a batch: it is not sent
                raise
        return record.confirmed

    def _new_outlet(self, topic: str, partition: int) -> PartitionQueue:
        address = TopicPartition(topic, partition)
        outlet = self._outlets[address] = PartitionQueue(
            address, self, standard_timeout_s=self._settings.delivery_timeout_s
        )
        return outlet

    # ------------------------------------------------------------------ topics

    async def _find(self, topic: str, partition: int | None, event_type: str | None, timeout_s: float) -> Topic:
        """Return when the topic, and this partition of it, is known.

        Raises:
            DeliveryError: there is none, or no broker has answered in time.
        """
        until_s = self._loop.time() + timeout_s
        while True:
            looking = self._looking.get(topic)  # one for all that wait for it
            if looking is None:
                looking = self._looking[topic] = self._start("topic", self._look_for(topic))
                looking.add_done_callback(lambda _: self._looking.pop(topic, None))
            await asyncio.wait({looking}, timeout=until_s - self._loop.time())
            if not looking.cancelled() or self._stopping:
                break  # else somebody else has cancelled it: look again
        known = self._producer().topic(topic)
        if known is not None and (partition is None or partition in known.partitions):
            return known
        if known is not None:
            why = f"there is no partition {partition}: the topic has {len(known.partitions)}, counted from 0"
        elif looking.cancelled():
            why = "the producer is being stopped"
        elif looking.done():
            why = looking.result()
        else:
            why = f"no metadata of the topic within {timeout_s:.3g} s: {self.trouble() or 'no broker has answered'}"
        raise delivery_error(why, topic, f"topic {topic!r}", event_type, may_have_been_written=False)

    async def _look_for(self, topic: str) -> str:
        """Ask until the topic is known; or say why there is no hope."""
        if not LEGAL_NAME.fullmatch(topic) or topic in (".", ".."):
            return "that is no legal name: letters, digits, '.', '_' and '-', at most 249"
        with awaited_topics.named(topic):
            return await self._until_known(topic)

    async def _until_known(self, topic: str) -> str:
        absent_since_s: float | None = None
        wait_s = FIRST_WAIT_S
        while True:
            producer = self._producer()
            answered = await producer.look_for(topic)
            if producer.topic(topic) is not None:
                return ""
            if topic in producer.client.cluster.unauthorized_topics:
                return "not authorized: an ACL for WRITE of the topic is missing"
            now_s = time.monotonic()
            if answered and absent_since_s is None:
                absent_since_s = now_s
            if absent_since_s is not None and now_s - absent_since_s > TOPIC_WAIT_S:
                producer.forget(topic)
                return "there is no such topic; create it, or look for a typo"
            await asyncio.sleep(wait_s)
            wait_s = min(wait_s * 1.5, 1.0)

    # ------------------------------------------------------------------ producers, as the outlets see them

    @property
    def newest(self) -> IdempotentProducer:
        """The last one that was started; its knowledge of topics is of use also while it is being replaced."""
        return self._producer()

    def _producer(self) -> IdempotentProducer:
        assert self._newest is not None
        return self._newest

    def current(self) -> IdempotentProducer | None:
        """The one that takes batches; None while it is being replaced."""
        newest = self._producer()
        return None if newest.retired or self._closed else newest

    def broken(self, generation: IdempotentProducer, why: Refusal) -> None:
        """Retire a producer, and make the next one; a second complaint about the same one changes nothing."""
        if generation.retired or self._closed:
            return
        logger.warning("the producer is replaced, for a broken sequence: %s", why)
        generation.retired = True
        self._draining.add(generation)
        self._begin_to_replace()

    def _died(self, generation: IdempotentProducer) -> None:
        if not loop_is_closing():
            self.broken(generation, Refusal(None, "a task of the client has ended, and nothing had told it to"))

    def _begin_to_replace(self) -> None:
        def ended(task: asyncio.Task[None]) -> None:
            # Cancelled by somebody else: without it no record would ever go out again.
            if task.cancelled() and not self._stopping and not loop_is_closing():
                logger.error("task %s was cancelled by somebody else, and is begun again", task.get_name())
                self._begin_to_replace()

        self._replacing = self._start("replace", self._replace())
        self._replacing.add_done_callback(ended)

    def _start(self, what: str, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        name = f"evkafka-{self._settings.connection.client_id}-{what}"
        return self._loop.create_task(work, name=name)

    async def _replace(self) -> None:
        """Make the next producer, however long it takes: the records that wait for it have their own deadlines."""
        attempt = 0
        await asyncio.sleep(self._pause_s())
        while True:
            try:
                self._newest = await self._new_generation(timeout_s=self._settings.start_timeout_s)
            except EVKafkaError as error:
                attempt += 1
                self._last_failure = str(error)
                wait_s = exponential(attempt, first_s=0.1, multiplier=2, most_s=5, jitter=0.2, random=random.random)
                logger.warning("no new producer yet, trying again in %.1f s: %s", wait_s, error)
                await asyncio.sleep(wait_s)
            else:
                break
        self._last_failure = ""
        for outlet in self._outlets.values():
            outlet.give()
        for generation in tuple(self._draining):
            self.settled(generation)

    def _pause_s(self) -> float:
        """Nothing, at first; but topics that refuse every record must not have brokers hand out ids without a pause."""
        now_s = time.monotonic()
        self._replaced_at_s.append(now_s)
        lately = sum(now_s - at_s < 10.0 for at_s in self._replaced_at_s)
        return max(0, lately - 5) * 0.1

    def settled(self, generation: IdempotentProducer) -> None:
        """Close a retired producer that has nothing left to do, once the next one is there."""
        if generation.unsettled == 0 and generation in self._draining and generation is not self._newest:
            self._draining.discard(generation)
            closing = self._start("close", generation.close(timeout_s=CLOSE_S))
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)

    def unavailable_reason(self) -> str:
        """As the port says. A broker that is away hinders nobody while another one answers.

        An idle client would look again at its next refresh only, a minute later: whoever asks makes it look now.
        """
        newest = self._newest
        if newest is None:
            return "it has not been started"
        client = newest.client
        if not newest.retired and client.answered_at_s >= client.failed_at_s:
            return ""
        if trouble := self.trouble():
            client.force_metadata_update()
        return trouble

    def trouble(self) -> str:
        """What stands in the way of sending at the moment, for an error; empty where nothing is known."""
        newest = self._producer()
        if newest.retired and self._last_failure:
            return f"a new producer could not be started ({self._last_failure})"
        return str(newest.client.trouble or "")
