"""Looking at a topic and a group from outside, as a person at a console would: offsets, and what stands in the log."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from aiokafka import AIOKafkaConsumer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError
from aiokafka.structs import TopicPartition as ClientPartition

from evkafka.exceptions import BrokerError
from evkafka.ports import Record
from evkafka.runtime.kafka.errors import translate
from evkafka.runtime.kafka.options import connection_options
from evkafka.settings import ConnectionSettings


async def committed_offsets(
    connection: ConnectionSettings, group_id: str, topic: str, *, timeout_s: float = 30.0
) -> Mapping[int, int]:
    """A group's committed offsets in one topic, by partition; a partition without one is left out.

    Raises:
        BrokerUnavailable, BrokerRefused, BrokerError: the cluster did not say.
    """
    async with _told(f"reading the offsets of group {group_id!r}", timeout_s):
        admin = AIOKafkaAdminClient(**connection_options(connection))
        try:
            await admin.start()
            found = await admin.list_consumer_group_offsets(group_id)
        finally:
            await admin.close()
    return {at.partition: meta.offset for at, meta in found.items() if at.topic == topic and meta.offset >= 0}


async def end_offsets(connection: ConnectionSettings, topic: str, *, timeout_s: float = 30.0) -> Mapping[int, int]:
    """Where each partition of a topic ends: the offset of the next record to be written.

    Raises:
        BrokerUnavailable, BrokerRefused, BrokerError: the cluster did not say.
    """
    async with _told(f"reading the ends of topic {topic!r}", timeout_s), _reader(connection) as reader:
        return {at.partition: offset for at, offset in (await reader.end_offsets(await _all(reader, topic))).items()}


async def read_log(
    connection: ConnectionSettings, topic: str, take: Callable[[Record], object], *, timeout_s: float = 120.0
) -> None:
    """Read a topic from its beginning to the end that it has now, as a reader of committed records without a group.

    Raises:
        BrokerUnavailable, BrokerRefused, BrokerError: it could not be read to its end in this time.
    """
    async with _told(f"reading topic {topic!r}", timeout_s), _reader(connection) as reader:
        partitions = await _all(reader, topic)
        reader.assign(partitions)
        ends = await reader.end_offsets(partitions)
        for at, beginning in (await reader.beginning_offsets(partitions)).items():
            reader.seek(at, beginning)
        while any([await reader.position(at) < ends[at] for at in partitions]):
            for records in (await reader.getmany(timeout_ms=200)).values():
                for record in records:
                    take(record)


async def _all(reader: Any, topic: str) -> list[ClientPartition]:
    await reader._client._wait_on_metadata(topic)
    return [ClientPartition(topic, number) for number in sorted(reader.partitions_for_topic(topic) or ())]


@asynccontextmanager
async def _reader(connection: ConnectionSettings) -> AsyncIterator[Any]:
    reader = AIOKafkaConsumer(
        **connection_options(connection), enable_auto_commit=False, isolation_level="read_committed"
    )
    try:
        await reader.start()
        yield reader
    finally:
        await reader.stop()


@asynccontextmanager
async def _told(doing: str, timeout_s: float) -> AsyncIterator[None]:
    """For `timeout_s` at most; what fails inside says what was being done."""
    try:
        async with asyncio.timeout(timeout_s):
            yield
    except TimeoutError as error:
        raise BrokerError(f"{doing}: no answer within {timeout_s:g} s") from error
    except (KafkaError, OSError) as error:
        raise translate(error, doing) from error
