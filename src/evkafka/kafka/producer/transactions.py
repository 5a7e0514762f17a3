"""Several records in one transaction: readers of committed records see all of them, or none.

For tools, not for the engine: one producer under one name, which whoever opens it next takes away.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from aiokafka import AIOKafkaProducer
from aiokafka import errors as kafka
from aiokafka.structs import TopicPartition as ClientPartition

from evkafka.config.settings import ConnectionSettings
from evkafka.exceptions import BrokerError, BrokerRefused
from evkafka.kafka.errors import translate
from evkafka.kafka.options import connection_options
from evkafka.runtime.partitioner import partition_for

START_S = 30.0
COMMIT_S = 30.0
CLOSE_S = 5.0

MOST_BYTES = 64 * 1024 * 1024
"""What we give the client as its limit for a record: the topic's own is the one that counts."""


@dataclass(frozen=True, slots=True)
class TransactionRecord:
    """A record to be written. Partition None: its key decides."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]] = ()
    partition: int | None = None


class Fenced(BrokerRefused):
    """Somebody else has opened a transaction of this name: this one can write no more."""


class Transactions:
    """Writes under a transactional id, one transaction at a time. Opening it ends whatever an earlier holder of the
    name has left open, and keeps that one from writing anything more.

    Raises (at the entry, and by `write`):
        Fenced: the name was taken over.
        BrokerUnavailable, BrokerRefused, BrokerError: nothing of the transaction can be read, but for one whose
            answer to the commit did not come.
    """

    def __init__(self, connection: ConnectionSettings, transactional_id: str) -> None:
        self._doing = f"writing as {transactional_id!r}"
        self._options = connection_options(connection) | {
            "transactional_id": transactional_id,
            "max_request_size": MOST_BYTES,
        }
        self._producer: Any = None

    async def __aenter__(self) -> Self:
        self._producer = AIOKafkaProducer(**self._options)
        try:
            async with asyncio.timeout(START_S):
                await self._producer.start()
        except BaseException as error:
            await self._close()
            if isinstance(error, kafka.KafkaError | OSError | TimeoutError):
                raise self._told(error, START_S) from error
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._close()

    async def write(self, records: Sequence[TransactionRecord]) -> None:
        """Write these in one transaction, and return when it is committed. One call at a time."""
        try:
            async with asyncio.timeout(COMMIT_S):
                await self._write(records)
        except (kafka.KafkaError, OSError, TimeoutError) as error:
            raise self._told(error, COMMIT_S) from error

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
        """What the client's own `send` does, which takes no record without key and value."""
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
        sent.add_done_callback(_taken)
        return sent

    async def _close(self) -> None:
        """Never hangs: the client's own end waits for brokers that are away."""
        closing = asyncio.ensure_future(self._producer.stop())
        await asyncio.wait({closing}, timeout=CLOSE_S)
        unsent = self._producer._message_accumulator
        for batch in (*unsent._pending_batches, *(batch for batches in unsent._batches.values() for batch in batches)):
            _taken(batch._drain_waiter)
        if (ending := self._producer._txn_manager.wait_for_transaction_end()) is not None:
            _taken(ending)
        if not closing.done():
            closing.cancel()
            await self._producer.client.close()
        else:
            _taken(closing)

    def _told(self, error: BaseException, within_s: float) -> BrokerError:
        match error:
            case kafka.ProducerFenced():
                return Fenced(f"{self._doing}: somebody else has begun to")
            case TimeoutError():
                return BrokerError(f"{self._doing}: no answer within {within_s:g} s")
            case _:
                return translate(error, self._doing)


def _taken(future: asyncio.Future[Any]) -> None:
    """Its error is looked at: what was written is known by now, and the loop need not report it."""
    if future.done() and not future.cancelled():
        future.exception()
