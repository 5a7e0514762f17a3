"""A few records of one partition, without a group: looking moves nobody's position."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from aiokafka.structs import TopicPartition as ClientPartition

from evkafka.config.settings import ConnectionSettings
from evkafka.exceptions import ConfigError
from evkafka.kafka.admin.log_reader import _all, _reader
from evkafka.records import Record

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
