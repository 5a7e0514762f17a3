"""Looking at a topic and a group from outside, as a person at a console would: offsets, and what stands in the log."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from aiokafka.consumer.fetcher import READ_UNCOMMITTED
from aiokafka.errors import KafkaError
from aiokafka.structs import TopicPartition as ClientPartition

from evkafka.config.settings import ConnectionSettings
from evkafka.exceptions import BrokerError
from evkafka.kafka.admin.reader import Reader, reader_client
from evkafka.kafka.client.client import admin_client
from evkafka.kafka.client.connection import SilenceLimit
from evkafka.kafka.errors import translate
from evkafka.records import Record
from evkafka.runtime.ports import UnreadRecord

SETTLE_S = 2.0


async def committed_offsets(
    connection: ConnectionSettings, group_id: str, topic: str, *, timeout_s: float = 30.0
) -> Mapping[int, int]:
    """A group's committed offsets in one topic, by partition; a partition without one is left out.

    Raises:
        BrokerUnavailable, BrokerRefused, BrokerError: the cluster did not say.
    """
    async with _told(f"reading the offsets of group {group_id!r}", timeout_s):
        admin = admin_client(connection)
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
    async with _reader(connection, f"reading the ends of topic {topic!r}", timeout_s) as reader:
        return {at.partition: offset for at, offset in (await reader.end_offsets(await _all(reader, topic))).items()}


async def read_log(
    connection: ConnectionSettings, topic: str, take: Callable[[Record], object], *, timeout_s: float = 120.0
) -> None:
    """Read a topic from its beginning to the end that it has now, as a reader of committed records without a group.

    Raises:
        BrokerUnavailable, BrokerRefused, BrokerError: it could not be read to its end in this time, or a record of it
            not at all.
    """
    async with _reader(connection, f"reading topic {topic!r}", timeout_s) as reader:
        partitions = await _all(reader, topic)
        ends = await _committed_ends(reader, partitions)
        reader.assign(partitions)
        for at, beginning in (await reader.beginning_offsets(partitions)).items():
            reader.seek(at, beginning)
        while any([await reader.position(at) < ends[at] for at in partitions]):
            for at, records in (await reader.getmany(timeout_ms=200)).items():
                for record in records:
                    if isinstance(record, UnreadRecord):
                        raise BrokerError(f"{at.topic}[{at.partition}]@{record}")
                    take(record)


async def stream_log(
    connection: ConnectionSettings, topic: str, *, quiet_s: float = 30.0
) -> AsyncGenerator[Sequence[Record]]:
    """The same as `read_log`, a few records of one partition at a time: whoever takes them sets the pace. Whoever
    leaves early closes it (`contextlib.aclosing`). What cannot be read is an `UnreadRecord` among them.

    Args:
        quiet_s: how long the cluster may keep us waiting.

    Raises:
        BrokerUnavailable, BrokerRefused, BrokerError: it could not be read to its end.
    """
    doing = f"reading topic {topic!r}"
    reader = reader_client(connection, isolation_level="read_committed")
    try:
        async with _told(doing, quiet_s, reader):
            await reader.start()
            partitions = await _all(reader, topic)
            ends = await _committed_ends(reader, partitions)
            reader.assign(partitions)
            for at, beginning in (await reader.beginning_offsets(partitions)).items():
                reader.seek(at, beginning)
        for at in partitions:
            while True:
                async with _told(doing, quiet_s, reader):
                    records: Sequence[Any] = ()
                    while not records and await reader.position(at) < ends[at]:
                        records = (await reader.getmany(at, timeout_ms=200, max_records=200)).get(at, ())
                # A transaction that began behind the end as it was is none of ours.
                if wanted := [record for record in records if record.offset < ends[at]]:
                    yield wanted
                if len(wanted) < len(records) or not records:
                    break
    finally:
        await reader.stop()


async def _committed_ends(reader: Any, partitions: Sequence[ClientPartition]) -> Mapping[ClientPartition, int]:
    """Where reading committed records ends. A transaction's commit is answered a moment before its records can be
    read, so what is undecided is given that moment; one that was left open holds us up no longer."""
    clock = asyncio.get_running_loop().time
    until_s = clock() + SETTLE_S
    written = await written_ends(reader, partitions)
    while True:
        ends: Mapping[ClientPartition, int] = await reader.end_offsets(partitions)
        if all(ends[at] >= written[at] for at in partitions) or clock() > until_s:
            return ends
        await asyncio.sleep(0.02)


async def written_ends(reader: Any, partitions: Sequence[ClientPartition]) -> Mapping[ClientPartition, int]:
    """Where all that is written ends, open transactions included."""
    fetcher = reader._fetcher
    committed_only, fetcher._isolation_level = fetcher._isolation_level, READ_UNCOMMITTED
    try:
        ends: Mapping[ClientPartition, int] = await reader.end_offsets(partitions)
    finally:
        fetcher._isolation_level = committed_only
    return ends


async def _all(reader: Any, topic: str) -> list[ClientPartition]:
    await reader._client._wait_on_metadata(topic)
    return [ClientPartition(topic, number) for number in sorted(reader.partitions_for_topic(topic) or ())]


@asynccontextmanager
async def _reader(connection: ConnectionSettings, doing: str, timeout_s: float) -> AsyncIterator[Any]:
    reader = reader_client(connection, isolation_level="read_committed")
    async with _told(doing, timeout_s, reader):
        try:
            await reader.start()
            yield reader
        finally:
            await reader.stop()


@asynccontextmanager
async def _told(doing: str, timeout_s: float, reader: Reader | None = None) -> AsyncIterator[None]:
    """For `timeout_s` at most, and as long as a large answer comes to this reader, piece by piece; what fails inside
    says what was being done."""
    patience = SilenceLimit(timeout_s, lambda: reader.coming if reader is not None else None)
    try:
        async with patience.limit:
            yield
    except TimeoutError as error:
        raise BrokerError(f"{doing}: no answer within {timeout_s:g} s") from error
    except (KafkaError, OSError) as error:
        raise translate(error, doing) from error
    finally:
        patience.end()
