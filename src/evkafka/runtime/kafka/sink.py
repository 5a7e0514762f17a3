"""AIOKafkaProducer as the runtime's sink: started with a diagnosis, stopped within its time."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka import errors as kafka

from evkafka.exceptions import BrokerError, BrokerUnavailable
from evkafka.ports import RecordMetadata
from evkafka.runtime.kafka.errors import cause, translate
from evkafka.runtime.kafka.options import connection_options, milliseconds
from evkafka.runtime.kafka.preflight import reach
from evkafka.settings import ProducerSettings

logger = logging.getLogger("evkafka.runtime.kafka")

CLOSE_S = 1.0


class SendFailed(BrokerError):
    """One record was refused or lost.

    Attributes:
        poisons: True where the client's producer is of no further use for this partition: aiokafka never resets
            its sequence, so after one refused record every later one of the partition is refused too.
        may_have_been_written: True where no answer came.
    """

    def __init__(self, message: str, *, poisons: bool, may_have_been_written: bool) -> None:
        super().__init__(message)
        self.poisons = poisons
        self.may_have_been_written = may_have_been_written


class KafkaSink:
    """One AIOKafkaProducer: start once, stop once."""

    def __init__(self, settings: ProducerSettings) -> None:
        self._settings = settings
        self._producer: Any = None

    async def start(self) -> None:
        """Connect and log in.

        Raises:
            BrokerUnavailable, BrokerRefused, BrokerError: what kept it from it.
        """
        settings = self._settings
        await reach(settings.connection, timeout_s=settings.start_timeout_s)
        self._producer = AIOKafkaProducer(
            **{
                **connection_options(settings.connection),
                **settings.options,
                "acks": settings.acks,
                "enable_idempotence": settings.enable_idempotence,
                # An answer later than the delivery timeout helps nobody.
                "request_timeout_ms": min(
                    milliseconds(settings.connection.request_timeout_s), milliseconds(settings.delivery_timeout_s)
                ),
            }
        )
        try:
            async with asyncio.timeout(settings.start_timeout_s):
                await self._producer.start()
        except TimeoutError:
            await self.stop(timeout_s=CLOSE_S)
            raise BrokerUnavailable(f"the producer could not start within {settings.start_timeout_s:g} s") from None
        except kafka.KafkaError as error:
            await self.stop(timeout_s=CLOSE_S)
            raise translate(error, "starting the producer") from error

    async def send(
        self,
        topic: str,
        *,
        value: bytes | None,
        key: bytes | None,
        partition: int | None,
        timestamp_ms: int | None,
        headers: Sequence[tuple[str, bytes | None]],
    ) -> asyncio.Future[RecordMetadata]:
        """Queue one record; waits for metadata of the topic and for room in the buffer.

        Raises:
            SendFailed: it could not even be queued (too large, no such partition or topic).
        """
        try:
            queued = await self._producer.send(
                topic, value=value, key=key, partition=partition, timestamp_ms=timestamp_ms, headers=list(headers)
            )
        except (kafka.KafkaError, AssertionError) as error:
            raise SendFailed(_said(error), poisons=False, may_have_been_written=False) from error
        confirmed: asyncio.Future[RecordMetadata] = asyncio.get_running_loop().create_future()
        queued.add_done_callback(lambda done: _pass_on(done, confirmed, idempotent=self._settings.enable_idempotence))
        return confirmed

    async def flush(self) -> None:
        await self._producer.flush()

    async def stop(self, *, timeout_s: float) -> None:
        """Flush and close; by force where the time runs out: aiokafka's own stop has no end while brokers are away."""
        producer, self._producer = self._producer, None
        if producer is None:
            return
        stopping = asyncio.ensure_future(producer.stop())
        await asyncio.wait({stopping}, timeout=timeout_s)
        if not stopping.done():
            logger.warning("the producer could not be stopped within %.1f s; its connections are closed", timeout_s)
            await _abandon(producer, stopping)
        elif not stopping.cancelled() and (error := stopping.exception()) is not None:
            logger.warning("the producer did not stop cleanly: %s", cause(error))


async def _abandon(producer: Any, stopping: asyncio.Future[None]) -> None:
    """Cancel what a producer runs, and close its connections. Private names of aiokafka 0.14, all in here."""
    sender = producer._sender
    tasks = [stopping, *([sender._sender_task] if sender._sender_task is not None else [])]
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks, timeout=CLOSE_S)
    closing = asyncio.ensure_future(producer.client.close())
    await asyncio.wait({closing}, timeout=CLOSE_S)
    closing.cancel()
    producer._closed = True


def _pass_on(done: asyncio.Future[Any], confirmed: asyncio.Future[RecordMetadata], *, idempotent: bool) -> None:
    """The client's answer in our words."""
    if confirmed.done():
        return
    if done.cancelled():
        confirmed.set_exception(SendFailed("the producer was closed", poisons=False, may_have_been_written=True))
        return
    error = done.exception()
    if error is None:
        confirmed.set_result(RecordMetadata(*_fields(done.result())))
        return
    unknown = isinstance(error, kafka.RequestTimedOutError | kafka.KafkaTimeoutError | kafka.KafkaConnectionError)
    retriable = isinstance(error, kafka.KafkaError) and error.retriable
    confirmed.set_exception(
        SendFailed(_said(error), poisons=idempotent and not retriable, may_have_been_written=unknown or retriable)
    )


def _fields(metadata: Any) -> tuple[str, int, int, int | None, int | None, int | None]:
    return (
        metadata.topic,
        metadata.partition,
        metadata.offset,
        metadata.timestamp,
        metadata.timestamp_type,
        metadata.log_start_offset,
    )


def _said(error: BaseException) -> str:
    match error:
        case kafka.MessageSizeTooLargeError():
            return "the record is larger than max_request_size, or than the topic's max.message.bytes"
        case kafka.UnknownTopicOrPartitionError():
            return "there is no such topic or partition"
        case AssertionError():
            return str(error) or "there is no such partition"
        case _:
            return cause(error)
