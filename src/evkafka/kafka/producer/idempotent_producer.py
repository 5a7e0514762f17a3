"""One AIOKafkaProducer with a producer id, replaced by another when its sequence is broken.

aiokafka advances a partition's sequence also when a batch is refused, and never corrects it. From then on brokers
refuse every batch of the partition as out of order, as long as the producer lives
(aiokafka-defects.md#broken-sequence). So the sink uses several producers, one after the other. The life of each: start,
take batches, be retired, wait for the outcome of the batches it has, close.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka import errors as kafka
from aiokafka.client import ConnectionGroup
from aiokafka.producer.message_accumulator import BatchBuilder
from aiokafka.producer.sender import Sender
from aiokafka.protocol.produce import ProduceRequest

from evkafka.config.settings import ProducerSettings
from evkafka.kafka.client.client import Client
from evkafka.kafka.client.tasks import cancel_all
from evkafka.kafka.errors import ErrorCode, code_name, describe_cause
from evkafka.kafka.options import connection_options, to_ms
from evkafka.records import TopicPartition

logger = logging.getLogger("evkafka.runtime.kafka")


class IdempotentProducer:
    """A producer that is started once and closed once.

    Attributes:
        retired: whether it takes no more batches.
        unfinished: the number of its batches that are neither confirmed nor refused.
    """

    def __init__(self, settings: ProducerSettings, *, first: tuple[str, int] | None = None) -> None:
        self._producer = WrappedProducer(settings)
        self._producer.client.first_server = first
        self._accumulator: Any = self._producer._message_accumulator
        self._idempotent = settings.enable_idempotence
        self.max_request_size: int = self._producer._max_request_size
        self._known_topics_of: object = None  # the metadata that `_known_topics` was read from
        self._known_topics: dict[str, Topic] = {}
        self.client: ProducerClient = self._producer.client
        self.retired = False
        self.unfinished = 0

    async def start(self, on_death: Callable[[IdempotentProducer], object], *, topics: Collection[str] = ()) -> None:
        """Connect, log in, and get a producer id. Has no timeout and raises aiokafka's errors; close it in any case.

        Args:
            on_death: called when one of aiokafka's tasks has ended while the producer was open.
            topics: topics whose metadata are fetched beforehand.
        """
        await self._producer.start()

        def ended(_: asyncio.Task[Any]) -> None:
            # Even if it has no exception: the sender returns normally when it is cancelled from outside.
            if not self._producer._closed:
                on_death(self)

        self._producer._sender.sender_task.add_done_callback(ended)
        assert self.client.metadata_refresh_task is not None
        self.client.metadata_refresh_task.add_done_callback(ended)
        if topics:
            await self.client.set_topics(topics)

    # ------------------------------------------------------------------ batches

    def create_builder(self, max_bytes: int | None) -> BatchBuilder:
        """An empty batch of this size; None for the configured one."""
        accumulator = self._accumulator
        return BatchBuilder(max_bytes or accumulator._batch_size, accumulator._compression_type, is_transactional=0)

    def submit_batch(self, partition: TopicPartition, builder: BatchBuilder) -> Any:
        """Give a batch to aiokafka; its `future` is done with the broker's answer.

        aiokafka's `send_batch` would wait for an earlier batch of the partition; here there is none.
        """
        if partition.topic not in self.client._topics:
            self.client.add_topic(partition.topic)
        self.unfinished += 1
        return self._accumulator._append_batch(builder, partition)

    def remove_batch_if_unsent(self, partition: TopicPartition, batch: Any) -> bool:
        """Remove a batch that has not been sent. False if it has been sent: then its outcome is unknown."""
        queue = self._accumulator._batches.get(partition)
        if was_sent(batch) or not queue or batch not in queue:
            return False
        queue.remove(batch)
        if not queue:
            del self._accumulator._batches[partition]
        self.unfinished -= 1
        return True

    def end_linger(self, batch: Any) -> None:
        """Let a batch linger no longer."""
        batch._builder.close()
        self.send_full_batches()

    def send_full_batches(self) -> None:
        """Make aiokafka look for full batches: it does so only for a new batch or after the linger time."""
        waiter = self._accumulator.waiter()
        if not waiter.done():
            waiter.set_result(None)

    def refusal_of_last_batch(self, partition: TopicPartition, error: BaseException) -> Refusal:
        """Why the broker refused a partition's last batch, which ended with this error of aiokafka's."""
        if not isinstance(error, kafka.BrokerResponseError | kafka.ProducerFenced):
            return Refusal(None, describe_cause(error))
        code, message = self.client.refusals.pop(
            partition, (getattr(error, "errno", ErrorCode.INVALID_PRODUCER_EPOCH), None)
        )
        return Refusal(code, f"the broker refused it: {code_name(code)}{f', {message}' if message else ''}")

    def broke_sequence(self, batch: Any) -> bool:
        """Whether this batch, which was not confirmed, has broken the partition's sequence."""
        return self._idempotent and was_sent(batch)

    # ------------------------------------------------------------------ topics

    def topic(self, name: str) -> Topic | None:
        """The topic's partitions; None if the metadata do not contain it."""
        cluster = self.client.cluster
        if cluster._partitions is not self._known_topics_of:  # each metadata update creates a new mapping
            self._known_topics_of = cluster._partitions
            self._known_topics.clear()
        known = self._known_topics.get(name)
        if known is None and (partitions := cluster.partitions_for_topic(name)):
            available = sorted(cluster.available_partitions_for_topic(name))
            known = self._known_topics[name] = Topic(sorted(partitions), available)
        return known

    @property
    def topics(self) -> Collection[str]:
        """The topics whose metadata it keeps up to date."""
        return frozenset(self.client._topics)

    async def request_topic(self, topic: str) -> bool:
        """Ask the brokers for this topic once. False if none answered."""
        self.client._topics.add(topic)
        answered: bool = await self.client.force_metadata_update()
        return answered

    def stop_requesting_topic(self, topic: str) -> None:
        """Stop asking for it: each request would create the topic, if the brokers create topics automatically."""
        self.client._topics.discard(topic)

    # ------------------------------------------------------------------ closing

    async def close_without_flush(self, *, timeout_s: float) -> None:
        """Close; unfinished batches stay so. Never raises, never hangs.

        aiokafka's stop() waits forever for batches that it cannot deliver (aiokafka-defects.md#endless-send).
        """
        producer = self._producer
        producer._closed = self._accumulator._closed = True
        loop = asyncio.get_running_loop()
        deadline_s = loop.time() + timeout_s
        await cancel_all([producer._sender.sender_task, *producer._sender.requests], timeout_s / 2)
        await self.client.close_within(max(0.0, deadline_s - loop.time()))


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic's partitions in order: all of them, and those with a leader."""

    partitions: list[int]
    available: list[int]


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a batch has ended without a confirmation. `code` is the broker's; None if no broker has answered."""

    code: int | None
    sentence: str

    def __str__(self) -> str:
        return self.sentence


def was_sent(batch: Any) -> bool:
    """Whether aiokafka has begun to send this batch: from then on it has a sequence number."""
    begun: bool = batch.retry_count > 0
    return begun


# ---------------------------------------------------------------------------- aiokafka's parts without their defects


class WrappedProducer(AIOKafkaProducer):
    """AIOKafkaProducer with our client and sender."""

    client: ProducerClient
    _sender: ProducerSender

    def __init__(self, settings: ProducerSettings) -> None:
        # An answer after the delivery timeout is of no use.
        request_timeout_s = min(settings.connection.request_timeout_s, settings.delivery_timeout_s)
        options = {
            **connection_options(settings.connection),
            "request_timeout_ms": to_ms(request_timeout_s),
        }
        guarantees = {"acks": settings.acks, "enable_idempotence": settings.enable_idempotence}
        super().__init__(**options, **settings.options, **guarantees)
        self.client = ProducerClient(
            # As for any producer, the broker decides (by its auto.create.topics.enable).
            allow_auto_create_topics=True,
            answer_within_s={ProduceRequest: request_timeout_s},
            **options,
        )
        self._metadata = self._message_accumulator._cluster = self.client.cluster
        # A batch that aiokafka drops after this time leaves a gap in the sequence. Each record has its own deadline
        # here, so aiokafka may drop batches only if there is no sequence.
        unlimited = settings.enable_idempotence
        self._message_accumulator._batch_ttl = float("inf") if unlimited else settings.delivery_timeout_s
        self._sender = ProducerSender(
            self.client,
            acks=-1 if settings.acks == "all" else settings.acks,
            txn_manager=self._txn_manager,
            retry_backoff_ms=to_ms(self.client._retry_backoff),
            message_accumulator=self._message_accumulator,
            request_timeout_ms=self._request_timeout_ms,
        )


class ProducerSender(Sender):
    """aiokafka's sender, which survives errors of its produce requests (aiokafka-defects.md#dead-sender).

    Attributes:
        requests: the tasks of the produce requests in flight.
    """

    def __init__(self, client: ProducerClient, **options: Any) -> None:
        super().__init__(client, **options)
        self.requests: set[asyncio.Task[Any]] = set()

    async def _send_produce_req(self, node_id: int, batches: Any) -> None:
        """Fail the batches of a request whose answer cannot be parsed; in aiokafka it ends the sender for good."""
        task = asyncio.current_task()
        assert task is not None
        self.requests.add(task)
        try:
            await super()._send_produce_req(node_id, batches)
        except Exception as error:
            logger.exception("could not parse the response to a produce request")
            self._fail_batches(node_id, batches, error)
        except asyncio.CancelledError:
            if not self._message_accumulator._closed:  # cancelled from outside: the batches would never end
                self._fail_batches(
                    node_id, batches, kafka.KafkaError("its request was cancelled by code outside EVKafka")
                )
            raise
        finally:
            self.requests.discard(task)

    def _fail_batches(self, node_id: Any, batches: Any, error: Exception) -> None:
        self._in_flight.discard(node_id)
        self._muted_partitions.difference_update(batches)
        for batch in batches.values():
            if not batch.future.done():
                batch.failure(exception=error)

    def _fail_all(self, task: asyncio.Task[Any]) -> None:
        """Fail all batches when the sender has ended. aiokafka's own method fails without a transaction."""
        accumulator = self._message_accumulator
        error = None if task.cancelled() else task.exception()
        if error is None and accumulator._closed:
            return
        accumulator.fail_all(error or kafka.KafkaError("its sender was cancelled by code outside EVKafka"))
        for batches in accumulator._batches.values():
            for batch in batches:
                batch._drain_waiter.exception()  # retrieved: nobody waits for it


class ProducerClient(Client):
    """Our client, which keeps refusals of batches and limits the rate of metadata requests.

    While a partition has no leader (its topic was deleted, for example), aiokafka's sender requests metadata again
    right after each answer, as fast as the broker can answer (aiokafka-defects.md#metadata-storm).

    Attributes:
        refusals: partition -> code and message of its last refusal. aiokafka names all codes above 79 "unknown", and
            drops the message (aiokafka-defects.md#unnamed-error-codes).
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.refusals: dict[TopicPartition, tuple[int, str | None]] = {}
        self._requested_at_s = 0.0
        self._next: asyncio.Future[Any] | None = None

    async def send(self, node_id: Any, request: Any, *, group: Any = ConnectionGroup.DEFAULT) -> Any:
        answer = await super().send(node_id, request, group=group)
        if isinstance(request, ProduceRequest) and answer is not None:
            for topic, partitions in answer.topics:
                for partition, code, *more in partitions:
                    if code:
                        message = more[-1] if answer.API_VERSION >= 8 else None
                        self.refusals[TopicPartition(topic, partition)] = (code, message)
        return answer

    def force_metadata_update(self) -> asyncio.Future[Any]:
        now_s = time.monotonic()
        if self._md_update_fut is not None:
            return asyncio.shield(self._md_update_fut)
        if self._next is not None:
            return asyncio.shield(self._next)
        if now_s - self._requested_at_s >= self._retry_backoff:
            self._requested_at_s = now_s
            requested: asyncio.Future[Any] = super().force_metadata_update()
            return requested
        self._next = self._loop.create_future()
        self._loop.call_later(self._requested_at_s + self._retry_backoff - now_s, self._on_metadata_request_timer)
        return asyncio.shield(self._next)

    def _on_metadata_request_timer(self) -> None:
        waiting, self._next = self._next, None
        assert waiting is not None
        if self._sync_task is None or self._sync_task.done():
            waiting.set_result(False)  # it has been closed meanwhile
            return
        self._requested_at_s = time.monotonic()

        def answered(request: asyncio.Future[Any]) -> None:
            if not waiting.done():
                waiting.set_result(not request.cancelled() and request.exception() is None and request.result())

        super().force_metadata_update().add_done_callback(answered)
