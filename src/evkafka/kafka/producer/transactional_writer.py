"""Writes several records in one transaction: readers of committed records see all of them or none.

For tools, not for the runtime: one producer per transactional id, which the next one to use that id fences.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from aiokafka import errors as kafka

from evkafka.config.settings import ConnectionSettings
from evkafka.exceptions import BrokerError, RecordTooLarge
from evkafka.kafka.client.log_filters import client_log_filters
from evkafka.kafka.client.preflight import find_reachable_server
from evkafka.kafka.errors import translate_error
from evkafka.kafka.producer.output_queue import reason_too_large_for_any_topic
from evkafka.kafka.producer.transaction_errors import refused_output_error
from evkafka.kafka.producer.transactional_producer import TransactionalProducer
from evkafka.runtime.partitioner import partition_for
from evkafka.runtime.ports import OutgoingRecord

START_S = 30.0
COMMIT_S = 30.0
CLOSE_S = 5.0


class TransactionalWriter:
    """Writes under a transactional id, one transaction at a time.

    Entering it aborts the open transaction of an earlier producer with this id, and fences that producer.

    Raises (at the entry and by `write`):
        ProducerFenced: another producer has taken over the id.
        BrokerUnavailable, BrokerRefused, BrokerError: no record of the transaction can be read. Only after
            `CommitUnknown`, all of them may be.
    """

    def __init__(self, connection: ConnectionSettings, transactional_id: str) -> None:
        self._doing = f"writing as {transactional_id!r}"
        self._connection = connection
        self._producer = TransactionalProducer(connection, transactional_id, timeout_s=COMMIT_S)

    async def __aenter__(self) -> Self:
        with client_log_filters.installed():  # the producer installs them too, for as long as it lives
            first = await find_reachable_server(self._connection, timeout_s=START_S)
            try:
                await self._producer.start(first=first, timeout_s=START_S)
            except BaseException:
                await self._producer.stop(timeout_s=CLOSE_S)
                raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._producer.stop(timeout_s=CLOSE_S)

    async def write_records_in_one_transaction(self, records: Sequence[OutgoingRecord]) -> None:
        """Write records in one transaction, and return when it is committed. One call at a time.

        A record without a partition, or with one that its topic does not have, goes to that of its key.
        """
        try:
            async with asyncio.timeout(COMMIT_S):
                placed = [await self._with_chosen_partition(record) for record in records]
        except TimeoutError as error:
            raise BrokerError(f"{self._doing}: no answer within {COMMIT_S:g} s") from error
        except (kafka.KafkaError, OSError) as error:
            raise translate_error(error, self._doing) from error
        await self._producer.write_records_and_commit_offsets(placed, timeout_s=COMMIT_S)

    async def _with_chosen_partition(self, record: OutgoingRecord) -> OutgoingRecord:
        if (why := reason_too_large_for_any_topic(record)) is not None:
            raise refused_output_error(record, why, RecordTooLarge)
        partitions, available = await self._producer.all_and_available_partitions(record.topic)
        if record.partition in partitions:
            return record
        return record._replace(partition=partition_for(record.key, partitions, available))
