"""Looking at a topic and a group from outside, as a person at a console would: offsets, and what stands in the log."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from aiokafka.consumer.fetcher import READ_UNCOMMITTED
from aiokafka.errors import KafkaError
from aiokafka.structs import TopicPartition as ClientPartition

from evkafka.config.settings import ConnectionSettings
from evkafka.exceptions import BrokerError, ConfigError
from evkafka.kafka.admin.reader import Reader, reader_client
from evkafka.kafka.client.client import admin_client
from evkafka.kafka.client.connection import SilenceLimit
from evkafka.kafka.client.preflight import reach
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


POLL_MS = 200


@dataclass(frozen=True, slots=True)
class Excerpt:
    """Attributes:
    first, end: the first offset that the partition still has, and the one behind its last record.
    records: what cannot be read is an `UnreadRecord` among them.
    """

    first: int
    end: int
    records: Sequence[Record]


async def excerpt(
    connection: ConnectionSettings,
    topic: str,
    partition: int,
    *,
    limit: int,
    offset: int | None = None,
    at_ms: int | None = None,
    most_bytes: int | None = None,
    timeout_s: float = 15.0,
) -> Excerpt:
    """Records from an offset on, or from a time; the newest if neither is given.

    Args:
        limit: the most records.
        most_bytes: once their values are larger than this, no more records are read; None reads on.

    Raises:
        ConfigError: there is no such partition.
        BrokerUnavailable, BrokerRefused, BrokerError: the cluster did not say.
    """
    async with _reader(connection, f"reading {topic}[{partition}]", timeout_s) as reader:
        at = ClientPartition(topic, partition)
        if at not in await _all(reader, topic):
            raise ConfigError(f"there is no {topic}[{partition}]")
        [first], [end] = (
            (await reader.beginning_offsets([at])).values(),
            (await reader.end_offsets([at])).values(),
        )
        begin = offset if offset is not None else end - limit
        if at_ms is not None:
            found = (await reader.offsets_for_times({at: at_ms}))[at]
            begin = found.offset if found is not None else end
        begin = max(begin, first)
        reader.assign([at])
        reader.seek(at, begin)
        records: list[Record] = []
        size = 0
        while len(records) < limit and (most_bytes is None or size < most_bytes) and await reader.position(at) < end:
            got = (await reader.getmany(at, timeout_ms=POLL_MS, max_records=limit - len(records))).get(at, ())
            records += got
            size += sum(len(one.value or b"") for one in got)
        return Excerpt(first, end, records)


async def partition_numbers(
    connection: ConnectionSettings, topics: Collection[str], *, timeout_s: float = 15.0
) -> Mapping[str, Sequence[int]]:
    """The partitions of each of these topics; a topic that is not there is left out.

    Raises:
        BrokerUnavailable, BrokerRefused, BrokerError: the cluster did not say.
    """
    async with _reader(connection, "reading which topics there are", timeout_s) as reader:
        known = await reader.topics()
        wanted = [topic for topic in topics if topic in known]
        found = await asyncio.gather(*(_all(reader, topic) for topic in wanted))
    return {
        topic: [at.partition for at in partitions]
        for topic, partitions in zip(wanted, found, strict=True)
        if partitions
    }


LOOK_MS = 200


async def follow(
    connection: ConnectionSettings,
    topic: str,
    starts: Mapping[int, int],
    ends: Mapping[int, int] | None = None,
    *,
    quiet_s: float = 30.0,
) -> AsyncGenerator[Sequence[Record]]:
    """The records of some partitions, as they come, a few at a time. Whoever leaves early closes it
    (`contextlib.aclosing`). What cannot be read is an `UnreadRecord` among them.

    Args:
        starts: partition -> the offset to begin at.
        ends: partition -> the offset to stop before; None goes on for ever.
        quiet_s: how long the cluster may keep us waiting, where there are ends.

    Raises:
        BrokerUnavailable, BrokerRefused, BrokerError: it could not be read.
    """
    doing = f"reading topic {topic!r}"
    await reach(connection, timeout_s=quiet_s)
    reader: Any = reader_client(connection, isolation_level="read_committed")
    try:
        async with _told(doing, quiet_s):
            await reader.start()
            await _all(reader, topic)
            places = {ClientPartition(topic, number): offset for number, offset in starts.items()}
            reader.assign(list(places))
            for at, offset in places.items():
                reader.seek(at, offset)
        open_ = _Open(reader, places, ends)
        while left := await open_.left():
            async with _told(doing, quiet_s):
                batches = await reader.getmany(*left, timeout_ms=LOOK_MS, max_records=500)
            for at, records in batches.items():
                if wanted := [one for one in records if ends is None or one.offset < ends[at.partition]]:
                    yield wanted
    finally:
        await asyncio.wait_for(reader.stop(), quiet_s)


class _Open:
    """The partitions that have not been read to their ends."""

    def __init__(self, reader: Any, places: Mapping[ClientPartition, int], ends: Mapping[int, int] | None) -> None:
        self._reader = reader
        self._places = places
        self._ends = ends

    async def left(self) -> list[ClientPartition]:
        if self._ends is None:
            return list(self._places)
        return [at for at in self._places if await self._reader.position(at) < self._ends[at.partition]]
