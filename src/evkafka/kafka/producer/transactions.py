"""Writes several records in one transaction: readers of committed records see all of them or none.

For tools, not for the runtime: one producer per transactional id, which the next one to use that id fences.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from aiokafka import AIOKafkaProducer
from aiokafka import errors as kafka
from aiokafka.structs import TopicPartition as ClientPartition

from evkafka.config.settings import ConnectionSettings
from evkafka.exceptions import BrokerError, BrokerRefused
from evkafka.kafka.client.log_filters import client_log_filters
from evkafka.kafka.errors import translate
from evkafka.kafka.options import connection_options
from evkafka.runtime.partitioner import partition_for

START_S = 30.0
COMMIT_S = 30.0
CLOSE_S = 5.0

MOST_BYTES = 64 * 1024 * 1024
"""The largest record for aiokafka. The topic's own limit is the one that counts."""


@dataclass(frozen=True, slots=True)
class TransactionRecord:
    """A record to write. Without a partition its key decides."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]] = ()
    partition: int | None = None


class Fenced(BrokerRefused):
    """Another producer has used this transactional id since: this one can write no more."""


class Transactions:
    """Writes under a transactional id, one transaction at a time.

    Entering it aborts the open transaction of an earlier producer with this id, and fences that producer.

    Raises (at the entry and by `write`):
        Fenced: another producer has taken over the id.
        BrokerUnavailable, BrokerRefused, BrokerError: no record of the transaction can be read. Only if there was no
            answer to the commit, all of them may be.
    """

    def __init__(self, connection: ConnectionSettings, transactional_id: str) -> None:
        self._doing = f"writing as {transactional_id!r}"
        self._options = connection_options(connection) | {
            "transactional_id": transactional_id,
            "max_request_size": MOST_BYTES,
        }
        self._producer: Any = None
        self._log_filters = ExitStack()

    async def __aenter__(self) -> Self:
        self._log_filters.enter_context(client_log_filters.installed())
        self._producer = AIOKafkaProducer(**self._options)
        try:
            async with asyncio.timeout(START_S):
                await self._producer.start()
        except BaseException as error:
            await self._close()
            if isinstance(error, kafka.KafkaError | OSError | TimeoutError):
                raise self._translated(error, START_S) from error
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._close()

    async def write(self, records: Sequence[TransactionRecord]) -> None:
        """Write records in one transaction, and return when it is committed. One call at a time."""
        try:
            async with asyncio.timeout(COMMIT_S):
                await self._write(records)
        except (kafka.KafkaError, OSError, TimeoutError) as error:
            raise self._translated(error, COMMIT_S) from error

    async def _write(self, records: Sequence[TransactionRecord]) -> None:
        await self._producer.begin_transaction()
        try:
            sent = [await self._send(record) for record in records]
            await asyncio.gather(*sent)
        except kafka.ProducerFenced:
            raise
        except kafka.KafkaError:
            await self._producer.abort_transaction()
            raise
        await self._producer.commit_transaction()

    async def _send(self, record: TransactionRecord) -> asyncio.Future[Any]:
        """Like aiokafka's `send`, which refuses a record with neither key nor value."""
        producer = self._producer
        await producer.client._wait_on_metadata(record.topic)
        partition = record.partition
        partitions = sorted(producer.client.cluster.partitions_for_topic(record.topic) or ())
        if partition is None or partition not in partitions:
            available = sorted(producer.client.cluster.available_partitions_for_topic(record.topic) or ())
            partition = partition_for(record.key, partitions, available)
        sent: asyncio.Future[Any] = await producer._message_accumulator.add_message(
            ClientPartition(record.topic, partition), record.key, record.value, COMMIT_S, headers=list(record.headers)
        )
        sent.add_done_callback(_retrieve_error)
        return sent

    async def _close(self) -> None:
        """Close within `CLOSE_S`: aiokafka's own stop waits for brokers that are away."""
        with self._log_filters:
            await self._close_producer()

    async def _close_producer(self) -> None:
        closing = asyncio.ensure_future(self._producer.stop())
        await asyncio.wait({closing}, timeout=CLOSE_S)
        unsent = self._producer._message_accumulator
        for batch in (*unsent._pending_batches, *(batch for batches in unsent._batches.values() for batch in batches)):
            _retrieve_error(batch._drain_waiter)
        if (ending := self._producer._txn_manager.wait_for_transaction_end()) is not None:
            _retrieve_error(ending)
        if not closing.done():
            closing.cancel()
            await self._producer.client.close()
        else:
            _retrieve_error(closing)

    def _translated(self, error: BaseException, within_s: float) -> BrokerError:
        match error:
            case kafka.ProducerFenced():
                return Fenced(f"{self._doing}: another process has started to do so")
            case TimeoutError():
                return BrokerError(f"{self._doing}: no answer within {within_s:g} s")
            case _:
                return translate(error, self._doing)


def _retrieve_error(future: asyncio.Future[Any]) -> None:
    """Retrieve a future's error, so that the loop does not report it: the outcome is known by now."""
    if future.done() and not future.cancelled():
        future.exception()
