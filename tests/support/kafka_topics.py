"""Topics on a real Kafka for tests: creating, writing, reading, committed offsets."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import for_code

from tests.support.waiting import eventually

MakeTopic = Callable[..., Awaitable[str]]
"""The fixture `topic`."""


@asynccontextmanager
async def admin_of(servers: str) -> AsyncIterator[AIOKafkaAdminClient]:
    """An administration client, closed at the exit."""
    admin = AIOKafkaAdminClient(bootstrap_servers=servers)
    await admin.start()
    try:
        yield admin
    finally:
        await admin.close()


async def create_topic(
    admin: AIOKafkaAdminClient, topic: str, partitions: int = 1, config: Mapping[str, object] | None = None
) -> None:
    """Create a topic, and wait until the broker's metadata has it: a client that asks earlier finds no such topic."""
    configs = {key: str(value) for key, value in (config or {}).items()}
    answer = await admin.create_topics([NewTopic(topic, partitions, 1, topic_configs=configs)])
    for _, code, message in answer.topic_errors:
        if code:
            raise for_code(code)(message)

    async def has_leaders() -> bool:
        [described] = await admin.describe_topics([topic])
        leaders = [partition["leader"] for partition in described["partitions"]]
        return len(leaders) == partitions and min(leaders) >= 0

    await eventually(has_leaders, what=f"a leader of each partition of {topic}")


async def produce(servers: str, topic: str, count: int = 10, *, partition: int = 0, **options: Any) -> None:
    """Write so many records; their values are their numbers."""
    async with AIOKafkaProducer(bootstrap_servers=servers, **options) as producer:
        for number in range(count):
            await producer.send(topic, str(number).encode(), partition=partition)
        await producer.flush()


async def committed(servers: str, group: str, topic: str, partition: int = 0) -> int | None:
    """The group's committed offset; None if it has none."""
    async with admin_of(servers) as admin:
        offsets = await admin.list_consumer_group_offsets(group)
    found = offsets.get(TopicPartition(topic, partition))
    return None if found is None else found.offset


async def metadata(servers: str, group: str, topic: str, partition: int = 0) -> str:
    """The metadata committed with the group's offset."""
    async with admin_of(servers) as admin:
        offsets = await admin.list_consumer_group_offsets(group)
    return str(offsets[TopicPartition(topic, partition)].metadata)


async def read(servers: str, topic: str, partition: int, **options: Any) -> list[Any]:
    """All records of a partition."""
    async with AIOKafkaConsumer(bootstrap_servers=servers, **options) as consumer:
        tp = TopicPartition(topic, partition)
        consumer.assign([tp])
        await consumer.seek_to_beginning(tp)
        end, found = (await consumer.end_offsets([tp]))[tp], []
        while await consumer.position(tp) < end:
            for records in (await consumer.getmany(timeout_ms=500)).values():
                found += records
    return found


async def read_committed(servers: str, topic: str, partition: int = 0) -> list[Any]:
    """All committed records of a partition."""
    return await read(servers, topic, partition, isolation_level="read_committed")


async def produce_one(servers: str, topic: str, size: int) -> None:
    async with AIOKafkaProducer(bootstrap_servers=servers) as producer:
        await producer.send_and_wait(topic, bytes(size), partition=0)
