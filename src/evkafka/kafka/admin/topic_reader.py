"""Reads the records of a topic without a group: all of them, or new ones as they arrive."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator, Callable, Collection, Mapping, Sequence
from contextlib import aclosing

from aiokafka.structs import TopicPartition as ClientPartition

from evkafka.config.settings import ConnectionSettings
from evkafka.exceptions import BrokerError
from evkafka.kafka.admin.reader import Reader
from evkafka.kafka.admin.session import limit_operation, reader_session
from evkafka.kafka.client.log_filters import client_log_filters
from evkafka.kafka.client.preflight import find_reachable_server
from evkafka.records import Record
from evkafka.runtime.ports import UnreadRecord

STREAM_BATCH, FOLLOW_BATCH = 200, 500


async def for_each_record_of_topic(
    connection: ConnectionSettings, topic: str, take: Callable[[Record], object], *, timeout_s: float = 120.0
) -> None:
    """Read a topic's committed records from its beginning to its current end.

    Raises:
        BrokerUnavailable, BrokerRefused, BrokerError: it could not be read to its end in this time, or one of its
            records cannot be read.
    """
    doing = f"reading topic {topic!r}"
    async with reader_session(connection, doing, timeout_s) as reader:
        ends = await reader.assign_from_beginning(topic)
        async with aclosing(_read_batches(reader, ends, doing=doing)) as batches:
            async for records in batches:
                for record in records:
                    if isinstance(record, UnreadRecord):
                        raise BrokerError(f"{record.topic}[{record.partition}]@{record}")
                    take(record)


async def stream_topic(
    connection: ConnectionSettings, topic: str, ranges: Mapping[int, range] | None = None, *, quiet_s: float = 30.0
) -> AsyncGenerator[Sequence[Record]]:
    """Read the same records as `for_each_record_of_topic`, a few of one partition at a time; the caller sets the pace.

    A caller that stops early closes the generator (`contextlib.aclosing`). A record that cannot be read is an
    `UnreadRecord`.

    Args:
        ranges: partition -> the offsets to read, as far as they exist; None reads the whole topic.
        quiet_s: how long the cluster may be silent.

    Raises:
        BrokerUnavailable, BrokerRefused, BrokerError: it could not be read to its end.
    """
    doing = f"reading topic {topic!r}"
    reader = Reader(connection, isolation_level="read_committed")
    with client_log_filters.installed():
        try:
            async with limit_operation(doing, quiet_s, reader):
                await reader.start()
                ends = await reader.assign_from_beginning(topic)
                if ranges is not None:
                    ends = await _seek_to_ranges(reader, ends, ranges)
            for at, end in ends.items():
                part = _read_batches(reader, {at: end}, doing=doing, quiet_s=quiet_s, max_records=STREAM_BATCH)
                async with aclosing(part) as batches:
                    async for records in batches:
                        yield records
        finally:
            await reader.stop()


async def _seek_to_ranges(
    reader: Reader, ends: Mapping[ClientPartition, int], ranges: Mapping[int, range]
) -> Mapping[ClientPartition, int]:
    """Move the reader to the beginnings of these ranges. Returns where they end."""
    narrowed = {at: min(end, ranges[at.partition].stop) for at, end in ends.items() if at.partition in ranges}
    for at in narrowed:
        reader.seek(at, max(await reader.position(at), ranges[at.partition].start))
    return narrowed


async def follow_topic(
    connection: ConnectionSettings,
    topic: str,
    starts: Mapping[int, int],
    ends: Mapping[int, int] | None = None,
    *,
    quiet_s: float = 30.0,
) -> AsyncGenerator[Sequence[Record]]:
    """Read partitions from given offsets on, a few records at a time, and wait for new ones.

    A caller that stops early closes the generator (`contextlib.aclosing`). A record that cannot be read is an
    `UnreadRecord`.

    Args:
        starts: partition -> the offset to begin at.
        ends: partition -> the offset to stop before; None never stops.
        quiet_s: how long connecting, and stopping, may take.

    Raises:
        BrokerUnavailable, BrokerRefused, BrokerError: it could not be read.
    """
    doing = f"reading topic {topic!r}"
    with client_log_filters.installed():
        await find_reachable_server(connection, timeout_s=quiet_s)
        reader = Reader(connection, isolation_level="read_committed")
        try:
            async with limit_operation(doing, quiet_s):
                await reader.start()
                await reader.partitions_of_topic(topic)
                reader.assign_at({ClientPartition(topic, number): offset for number, offset in starts.items()})
            stops = {ClientPartition(topic, number): ends[number] if ends is not None else None for number in starts}
            async with aclosing(_read_batches(reader, stops, doing=doing, max_records=FOLLOW_BATCH)) as batches:
                async for records in batches:
                    yield records
        finally:
            await asyncio.wait_for(reader.stop(), quiet_s)


async def _read_batches(
    reader: Reader,
    ends: Mapping[ClientPartition, int | None],
    *,
    doing: str,
    quiet_s: float = math.inf,
    max_records: int | None = None,
) -> AsyncGenerator[Sequence[Record]]:
    """Read these partitions to their ends: batches of one partition each.

    Args:
        quiet_s: how long to wait for the next records.
    """
    while unfinished := await reader.partitions_to_read(ends):
        batches: Mapping[ClientPartition, Sequence[Record]] = {}
        async with limit_operation(doing, quiet_s, reader):
            while unfinished and not batches:
                batches = await reader.poll(unfinished, ends, max_records)
                unfinished = await reader.partitions_to_read(ends)
        for records in batches.values():
            yield records


async def end_offsets(connection: ConnectionSettings, topic: str) -> Mapping[int, int]:
    """The end of each partition of a topic: the offset of the next record to be written.

    Raises:
        BrokerUnavailable, BrokerRefused, BrokerError: the cluster did not answer.
    """
    async with reader_session(connection, f"reading the end offsets of topic {topic!r}") as reader:
        ends = await reader.end_offsets(await reader.partitions_of_topic(topic))
    return {at.partition: offset for at, offset in ends.items()}


async def partition_numbers_by_topic(
    connection: ConnectionSettings, topics: Collection[str], *, timeout_s: float = 15.0
) -> Mapping[str, Sequence[int]]:
    """The partitions of each of these topics; a topic that does not exist is left out.

    Raises:
        BrokerUnavailable, BrokerRefused, BrokerError: the cluster did not answer.
    """
    async with reader_session(connection, "listing the topics", timeout_s) as reader:
        known = await reader.topics()
        wanted = [topic for topic in topics if topic in known]
        found = await asyncio.gather(*(reader.partitions_of_topic(topic) for topic in wanted))
    return {
        topic: [at.partition for at in partitions]
        for topic, partitions in zip(wanted, found, strict=True)
        if partitions
    }
