"""The records of a topic, read from its beginning."""

from __future__ import annotations

from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition


async def contents(servers: str, topic: str, partitions: int = 1) -> dict[int, list[Any]]:
    """All records by partition, in order."""
    found: dict[int, list[Any]] = {}
    async with AIOKafkaConsumer(
        bootstrap_servers=servers, enable_auto_commit=False, auto_offset_reset="earliest"
    ) as consumer:
        addresses = [TopicPartition(topic, number) for number in range(partitions)]
        ends = await consumer.end_offsets(addresses)
        consumer.assign(addresses)
        for address in addresses:
            records = found.setdefault(address.partition, [])
            while (await consumer.position(address)) < ends[address]:
                records += (await consumer.getmany(address, timeout_ms=1000)).get(address, [])
    return found


async def values(servers: str, topic: str, partitions: int = 1) -> list[bytes]:
    """All values, by partition."""
    found = await contents(servers, topic, partitions)
    return [record.value for records in found.values() for record in records]
