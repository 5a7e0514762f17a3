"""What looks into a topic from outside (the page, `tail`, `dlq list`, `replay`) is bounded too."""

from __future__ import annotations

from contextlib import aclosing

import pytest
from aiokafka import AIOKafkaProducer

from evkafka.broker import KafkaBroker
from evkafka.config import producer_settings
from evkafka.exceptions import BrokerError
from evkafka.ports import Record
from evkafka.runtime.kafka import reading
from evkafka.runtime.kafka.browsing import excerpt
from evkafka.runtime.kafka.following import follow
from evkafka.runtime.kafka.lookup import read_log, stream_log
from evkafka.settings import ConnectionSettings
from tests.conftest import MakeTopic
from tests.kafka.conftest import produce

SAYS = "a batch of [0-9]+ bytes unpacks to more than 2000000"


@pytest.fixture
def connection(kafka_broker: KafkaBroker, monkeypatch: pytest.MonkeyPatch) -> ConnectionSettings:
    monkeypatch.setattr(reading, "MOST_UNPACKED", 2_000_000)
    return producer_settings({"bootstrap_servers": kafka_broker.bootstrap_servers}).connection


@pytest.fixture(params=["gzip", "snappy", "lz4", "zstd"])
async def orders(request: pytest.FixtureRequest, kafka_broker: KafkaBroker, topic: MakeTopic) -> str:
    """Two records, three in one batch that becomes too large, one record."""
    servers, name = kafka_broker.bootstrap_servers, await topic()
    await produce(servers, name, 2)
    async with AIOKafkaProducer(
        bootstrap_servers=servers,
        compression_type=request.param,
        max_request_size=10_000_000,
        max_batch_size=10_000_000,
    ) as producer:
        batch = producer.create_batch()
        for _ in range(3):
            batch.append(key=None, value=bytes(1_000_000), timestamp=None)
        await (await producer.send_batch(batch, name, partition=0))
    await produce(servers, name, 1)
    return name


async def followed(connection: ConnectionSettings, topic: str, begin: int, **more: bool) -> list[Record]:
    async with aclosing(follow(connection, topic, {0: begin}, {0: 6}, **more)) as batches:
        return [record async for records in batches for record in records]


async def test_a_batch_that_becomes_too_large_is_one_row_that_says_so_and_the_others_are_shown(
    connection: ConnectionSettings, orders: str
) -> None:
    found = await excerpt(connection, orders, 0, limit=10, offset=0)
    seen = await followed(connection, orders, 0, shows_too_large=True)
    letters = [record async for records in stream_log(connection, orders) for record in records]
    for records in (found.records, seen, letters):
        assert [record.offset for record in records] == [0, 1, 2, 5]
        assert (records[2].value or b"").startswith(b"not shown: a batch of ")


async def test_it_is_a_row_at_the_offset_where_reading_begins_inside_of_it(
    connection: ConnectionSettings, orders: str
) -> None:
    assert [one.offset for one in (await excerpt(connection, orders, 0, limit=10, offset=4)).records] == [4, 5]
    assert [one.offset for one in await followed(connection, orders, 3, shows_too_large=True)] == [3, 5]


async def test_what_copies_or_counts_records_does_not_take_the_row_for_one(
    connection: ConnectionSettings, orders: str
) -> None:
    with pytest.raises(BrokerError, match=rf"{orders}\[0\]@2 cannot be read: not shown: {SAYS}"):
        await followed(connection, orders, 0)
    with pytest.raises(BrokerError, match=rf"{orders}\[0\]@2 cannot be read"):
        await read_log(connection, orders, lambda record: None)
