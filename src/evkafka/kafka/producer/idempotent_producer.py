"""One AIOKafkaProducer, with a producer id of its own; replaced by the next one when its sequence is broken.

aiokafka counts a partition's sequence on when a batch is refused, and never sets it right: from then on brokers
refuse every batch of that partition as out of order, for as long as the producer lives. So a producer here is one
generation of several, and its life is: start, take batches, be retired, settle what it has, close.
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
from evkafka.kafka.errors import cause, code_name
from evkafka.kafka.options import connection_options, milliseconds
from evkafka.records import TopicPartition

logger = logging.getLogger("evkafka.runtime.kafka")


FENCED = 47

NAMES = {87: "INVALID_RECORD (87)"}
"""What the client has no name for."""


class IdempotentProducer:
    """A producer for one life: start once, close once.

    Attributes:
        retired: it takes no more batches.
        unsettled: how many batches it has that are neither confirmed nor refused.
    """

    def __init__(self, settings: ProducerSettings, *, first: tuple[str, int] | None = None) -> None:
        self._producer = ContainedProducer(settings)
        self._producer.client.first = first
        self._accumulator: Any = self._producer._message_accumulator
        self._idempotent = settings.enable_idempotence
        self.max_request_size: int = self._producer._max_request_size
        self._topics_of: object = None
        self._known_topics: dict[str, Topic] = {}
        self.client: ProducerClient = self._producer.client
        self.retired = False
        self.unsettled = 0

    async def start(self, on_death: Callable[[IdempotentProducer], object], *, topics: Collection[str] = ()) -> None:
        """Connect, log in, and get a producer id.

        Raises what the client raises; without a bound of its own. Close it in any case.

        Args:
            on_death: called when its sending has ended by a fault of the client's.
            topics: what is sent to, to be looked up beforehand.
        """
        await self._producer.start()

        def ended(_: asyncio.Task[Any]) -> None:
            # However it ended: cancelled by somebody else, the sender returns as if all were well.
            if not self._producer._closed:
                on_death(self)

        self._producer._sender.sender_task.add_done_callback(ended)
        assert self.client._sync_task is not None
        self.client._sync_task.add_done_callback(ended)
        if topics:
            await self.client.set_topics(topics)

    # ------------------------------------------------------------------ batches

    def builder(self, most_bytes: int | None) -> BatchBuilder:
        """An empty batch, of the configured size or of this one."""
        accumulator = self._accumulator
        return BatchBuilder(most_bytes or accumulator._batch_size, accumulator._compression_type, is_transactional=0)

    def submit(self, partition: TopicPartition, builder: BatchBuilder) -> Any:
        """Give a batch to the client; its `future` ends with the broker's answer.

        The client's own `send_batch` would wait for an earlier batch of the partition; here there is none.
        """
        if partition.topic not in self.client._topics:
            self.client.add_topic(partition.topic)
        self.unsettled += 1
        return self._accumulator._append_batch(builder, partition)

    def take_back(self, partition: TopicPartition, batch: Any) -> bool:
        """Take a batch out of the client's hands. False when it has gone out: then nobody knows what became of it."""
        queue = self._accumulator._batches.get(partition)
        if gone_out(batch) or not queue or batch not in queue:
            return False
        queue.remove(batch)
        if not queue:
            del self._accumulator._batches[partition]
        self.unsettled -= 1
        return True

    def hurry(self, batch: Any) -> None:
        """Let a batch linger no longer."""
        batch._builder.close()
        self.wake()

    def wake(self) -> None:
        """The client looks for full batches only when something new has come, or a batch has lingered."""
        waiter = self._accumulator.waiter()
        if not waiter.done():
            waiter.set_result(None)

    def refusal(self, partition: TopicPartition, error: BaseException) -> Refusal:
        """What the broker said of a partition's last batch, which ended in this error of the client's."""
        if not isinstance(error, kafka.BrokerResponseError | kafka.ProducerFenced):
            return Refusal(None, cause(error))
        code, message = self.client.refusals.pop(partition, (getattr(error, "errno", FENCED), None))
        name = NAMES.get(code) or code_name(code)
        return Refusal(code, f"the broker refused it: {name}{f', {message}' if message else ''}")

    def breaks(self, batch: Any) -> bool:
        """Whether the end of this batch, which was not its confirmation, has broken the partition's sequence."""
        return self._idempotent and gone_out(batch)

    # ------------------------------------------------------------------ topics

    def topic(self, name: str) -> Topic | None:
        """The topic's partitions, as the client knows them; None while it does not."""
        cluster = self.client.cluster
        if cluster._partitions is not self._topics_of:  # each answer to a metadata request makes it anew
            self._topics_of = cluster._partitions
            self._known_topics.clear()
        known = self._known_topics.get(name)
        if known is None and (partitions := cluster.partitions_for_topic(name)):
            available = sorted(cluster.available_partitions_for_topic(name))
            known = self._known_topics[name] = Topic(sorted(partitions), available)
        return known

    @property
    def topics(self) -> Collection[str]:
        """The topics that it keeps an eye on."""
        return frozenset(self.client._topics)

    async def look_for(self, topic: str) -> bool:
        """Ask the brokers for this topic, once. False where none answered."""
        self.client._topics.add(topic)
        answered: bool = await self.client.force_metadata_update()
        return answered

    def forget(self, topic: str) -> None:
        """Ask for it no more: each time would have the broker create it, where it does that."""
        self.client._topics.discard(topic)

    # ------------------------------------------------------------------ the end

    async def close(self, *, timeout_s: float) -> None:
        """Close: whatever is unsettled then stays so. Never raises, never hangs.

        aiokafka's own stop() waits without end for what it has not delivered.
        """
        producer = self._producer
        producer._closed = self._accumulator._closed = True
        loop = asyncio.get_running_loop()
        deadline_s = loop.time() + timeout_s
        await _end([producer._sender.sender_task, *producer._sender.requests], timeout_s / 2)
        closing = asyncio.ensure_future(self.client.close())
        await asyncio.wait({closing}, timeout=max(0.0, deadline_s - loop.time()) / 2)
        if not closing.done():
            left = self.client.abort()
            await _end([closing, self.client._sync_task], max(0.0, deadline_s - loop.time()) / 2)
            if left:
                await asyncio.wait(left, timeout=max(0.0, deadline_s - loop.time()))
        elif not closing.cancelled() and closing.exception() is not None:
            logger.debug("the producer's connections did not close cleanly: %r", closing.exception())


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic's partitions, in order: all of them, and those that have a leader."""

    partitions: list[int]
    available: list[int]


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a batch has ended without a confirmation. `code` is Kafka's; None where no broker has said anything."""

    code: int | None
    sentence: str

    def __str__(self) -> str:
        return self.sentence


def gone_out(batch: Any) -> bool:
    """Whether the client has taken this batch for sending: then it has its place in the sequence."""
    taken: bool = batch.retry_count > 0
    return taken


async def _end(tasks: list[asyncio.Task[Any] | None], timeout_s: float) -> None:
    left = {task for task in tasks if task is not None and not task.done()}
    for task in left:
        task.cancel()
    if left:
        await asyncio.wait(left, timeout=timeout_s)
    for task in left:
        if task.done() and not task.cancelled():
            task.exception()  # looked at: the loop need not report it


# ---------------------------------------------------------------------------- the client's parts, contained


class ContainedProducer(AIOKafkaProducer):
    """AIOKafkaProducer on a client that tells why it cannot connect, with a sender that survives a bad answer."""

    client: ProducerClient
    _sender: ContainedSender

    def __init__(self, settings: ProducerSettings) -> None:
        # An answer later than the delivery timeout helps nobody.
        request_timeout_s = min(settings.connection.request_timeout_s, settings.delivery_timeout_s)
        options = {
            **connection_options(settings.connection),
            "request_timeout_ms": milliseconds(request_timeout_s),
        }
        promise = {"acks": settings.acks, "enable_idempotence": settings.enable_idempotence}
        super().__init__(**options, **settings.options, **promise)
        self.client = ProducerClient(
            # As for any producer, the broker decides (its auto.create.topics.enable).
            allow_auto_create_topics=True,
            answer_within_s={ProduceRequest: request_timeout_s},
            **options,
        )
        self._metadata = self._message_accumulator._cluster = self.client.cluster
        # What aiokafka gives up by this time, it gives up with a gap in its sequence. Each record has its own
        # deadline here; only without a sequence to break may the client give up by itself.
        unlimited = settings.enable_idempotence
        self._message_accumulator._batch_ttl = float("inf") if unlimited else settings.delivery_timeout_s
        self._sender = ContainedSender(
            self.client,
            acks=-1 if settings.acks == "all" else settings.acks,
            txn_manager=self._txn_manager,
            retry_backoff_ms=milliseconds(self.client._retry_backoff),
            message_accumulator=self._message_accumulator,
            request_timeout_ms=self._request_timeout_ms,
        )


class ContainedSender(Sender):
    """aiokafka's sender, whose produce requests can be found (to be ended), and do not end it by what they raise.

    Attributes:
        requests: the tasks of produce requests under way.
    """

    def __init__(self, client: ProducerClient, **options: Any) -> None:
        super().__init__(client, **options)
        self.requests: set[asyncio.Task[Any]] = set()

    async def _send_produce_req(self, node_id: int, batches: Any) -> None:
        """An answer that cannot be understood would end the sender, and with it every partition's sends."""
        task = asyncio.current_task()
        assert task is not None
        self.requests.add(task)
        try:
            await super()._send_produce_req(node_id, batches)
        except Exception as error:
            logger.exception("an answer to a produce request could not be understood")
            self._failed(node_id, batches, error)
        except asyncio.CancelledError:
            if not self._message_accumulator._closed:  # by somebody else: nobody would ever hear of these batches
                self._failed(node_id, batches, kafka.KafkaError("its request was cancelled by somebody else"))
            raise
        finally:
            self.requests.discard(task)

    def _failed(self, node_id: Any, batches: Any, error: Exception) -> None:
        self._in_flight.discard(node_id)
        self._muted_partitions.difference_update(batches)
        for batch in batches.values():
            if not batch.future.done():
                batch.failure(exception=error)

    def _fail_all(self, task: asyncio.Task[Any]) -> None:
        """Its sending has ended: end what it had. The client's own fails at transactions, without any."""
        accumulator = self._message_accumulator
        error = None if task.cancelled() else task.exception()
        if error is None and accumulator._closed:
            return
        accumulator.fail_all(error or kafka.KafkaError("its sender was cancelled by somebody else"))
        for batches in accumulator._batches.values():
            for batch in batches:
                batch._drain_waiter.exception()  # looked at: nobody waits for it


class ProducerClient(Client):
    """The contained client, which keeps what brokers say of a batch, and asks for metadata at a measured pace.

    aiokafka's sender asks for it again in the very instant of the answer for as long as a partition has no leader
    (of a deleted topic, for one), as fast as the broker can answer.

    Attributes:
        refusals: partition -> code and words of its last refusal. aiokafka calls every code above 79 "unknown", and
            drops the words.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.refusals: dict[TopicPartition, tuple[int, str | None]] = {}
        self._asked_at_s = 0.0
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
        if now_s - self._asked_at_s >= self._retry_backoff:
            self._asked_at_s = now_s
            asked: asyncio.Future[Any] = super().force_metadata_update()
            return asked
        self._next = self._loop.create_future()
        self._loop.call_later(self._asked_at_s + self._retry_backoff - now_s, self._ask_now)
        return asyncio.shield(self._next)

    def _ask_now(self) -> None:
        waiting, self._next = self._next, None
        assert waiting is not None
        if self._sync_task is None or self._sync_task.done():
            waiting.set_result(False)  # it has been closed meanwhile
            return
        self._asked_at_s = time.monotonic()

        def answered(asked: asyncio.Future[Any]) -> None:
            if not waiting.done():
                waiting.set_result(not asked.cancelled() and asked.exception() is None and asked.result())

        super().force_metadata_update().add_done_callback(answered)
