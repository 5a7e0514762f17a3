"""Fixtures for tests of the client's side: the fake cluster, a proxy, records to read, readers that are stopped."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient

from evkafka.broker import KafkaBroker
from evkafka.config.settings import ConsumerSettings
from evkafka.records import TopicPartition
from tests.support.fake_kafka import FakeKafka, NoGoError, build
from tests.support.listening import Reader, consumer_settings
from tests.support.proxy import Proxy

Produce = Callable[..., Awaitable[None]]
Read = Callable[..., Awaitable[Reader]]


@pytest.fixture(scope="session")
def fake_program() -> Any:
    """The fake's program. Only where there is no Go its tests are skipped: a build that fails is a failure."""
    try:
        return build()
    except NoGoError as reason:
        pytest.skip(str(reason))


@pytest.fixture(scope="session")
def fake(fake_program: Any) -> Iterator[FakeKafka]:
    """A fake cluster of three brokers, one for the whole run: faults are set for one group or topic."""
    with FakeKafka(fake_program) as kafka:
        yield kafka


@pytest.fixture
def name() -> str:
    """A name that no other test has, for a topic or a group."""
    return f"n{uuid.uuid4().hex[:12]}"


@pytest.fixture
async def proxy(kafka_broker: KafkaBroker) -> AsyncIterator[Proxy]:
    """A proxy in front of the real broker."""
    async with Proxy(kafka_broker.bootstrap_servers) as proxy:
        yield proxy


async def produce(servers: str, topic: str, count: int = 10, *, partition: int = 0, **options: Any) -> None:
    """So many records, whose values are their numbers."""
    async with AIOKafkaProducer(bootstrap_servers=servers, **options) as producer:
        for number in range(count):
            await producer.send(topic, str(number).encode(), partition=partition)
        await producer.flush()


async def committed(servers: str, group: str, topic: str, partition: int = 0) -> int | None:
    """What the group has committed; None where it has nothing."""
    admin = AIOKafkaAdminClient(bootstrap_servers=servers)
    await admin.start()
    try:
        offsets = await admin.list_consumer_group_offsets(group)
    finally:
        await admin.close()
    found = {TopicPartition(*tp): meta.offset for tp, meta in offsets.items()}
    return found.get(TopicPartition(topic, partition))


@pytest.fixture
async def read() -> AsyncIterator[Read]:
    """Starts readers, and stops them when the test is over: `reader = await read(servers, topic, group)`."""
    readers: list[Reader] = []

    async def start(
        servers: str | ConsumerSettings, topic: str = "", group: str | None = None, **overrides: Any
    ) -> Reader:
        settings = (
            servers if isinstance(servers, ConsumerSettings) else consumer_settings(servers, topic, group, **overrides)
        )
        reader = Reader(settings)
        readers.append(reader)
        return await reader.start()

    yield start
    for reader in readers:
        await reader.stop()
