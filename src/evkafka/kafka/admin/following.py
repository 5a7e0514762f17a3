"""Reading a topic without a group, from any place in it, to its end or for ever."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any

from aiokafka.structs import TopicPartition as ClientPartition

from evkafka.config.settings import ConnectionSettings
from evkafka.kafka.admin.log_reader import _all, _told
from evkafka.kafka.admin.reader import reader_client
from evkafka.kafka.client.preflight import reach
from evkafka.records import Record

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
