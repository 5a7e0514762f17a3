"""Offset gaps of transactions and compaction do not block commits."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from evkafka.broker import KafkaBroker
from tests.acceptance.records.apps import Handled, running
from tests.support.backends import RealBackend, committed_is
from tests.support.kafka_topics import MakeTopic
from tests.support.waiting import eventually

TYPED = [("Event-Type", b"E")]


async def end_of(servers: str, topic: str) -> int:
    async with AIOKafkaConsumer(bootstrap_servers=servers, isolation_level="read_committed") as consumer:
        partition = TopicPartition(topic, 0)
        consumer.assign([partition])
        return (await consumer.end_offsets([partition]))[partition]


class TestTransactions:
    async def send(self, kafka: RealBackend, topic: str, *, ends: list[bool]) -> None:
        """A transaction with two records for each: True commits it, False aborts it."""
        producer = AIOKafkaProducer(bootstrap_servers=kafka.servers, transactional_id=f"x-{topic}")
        async with producer:
            for number, commits in enumerate(ends):
                await producer.begin_transaction()
                for part in ("a", "b"):
                    await producer.send_and_wait(topic, f"{number}{part}".encode(), partition=0, headers=TYPED)
                await (producer.commit_transaction() if commits else producer.abort_transaction())

    async def test_aborted_ones_are_not_handled_and_the_end_is_committed(self, kafka: RealBackend) -> None:
        topic, handler = await kafka.topic(), Handled()
        await self.send(kafka, topic, ends=[True, False, True, False])
        config = kafka.config(topic)
        async with running(config, handler):
            await committed_is(kafka, config, topic, await end_of(kafka.servers, topic))
        assert [value for _, _, value in handler.records] == [b"0a", b"0b", b"2a", b"2b"]
        assert [offset for _, offset, _ in handler.records] == [0, 1, 6, 7]  # a marker behind each two records

    async def test_read_uncommitted_handles_all(self, kafka: RealBackend) -> None:
        topic, handler = await kafka.topic(), Handled()
        await self.send(kafka, topic, ends=[True, False])
        config = kafka.config(topic, isolation_level="read_uncommitted")
        async with running(config, handler):
            await committed_is(kafka, config, topic, await end_of(kafka.servers, topic))
        assert [value for _, _, value in handler.records] == [b"0a", b"0b", b"1a", b"1b"]


@pytest.fixture(scope="module")
def eager_cleaner() -> Iterator[KafkaBroker]:
    """A broker that compacts at once."""
    with KafkaBroker(properties={"log.cleaner.backoff.ms": 100}) as broker:
        yield broker


async def readable(servers: str, topic: str) -> list[int]:
    """The offsets that a reader gets."""
    found: list[int] = []
    async with AIOKafkaConsumer(bootstrap_servers=servers) as consumer:
        partition = TopicPartition(topic, 0)
        consumer.assign([partition])
        await consumer.seek_to_beginning(partition)
        end = (await consumer.end_offsets([partition]))[partition]
        while await consumer.position(partition) < end:
            for records in (await consumer.getmany(timeout_ms=500)).values():
                found += [record.offset for record in records]
    return found


class TestCompaction:
    async def test_compacted_records_do_not_block_commits(self, eager_cleaner: KafkaBroker, topic: MakeTopic) -> None:
        servers = eager_cleaner.bootstrap_servers
        compacting = {
            "cleanup.policy": "compact",
            "segment.bytes": 1024 * 1024,
            "min.cleanable.dirty.ratio": 0.01,
            "min.compaction.lag.ms": 0,
        }
        name = await topic(config=compacting, brokers=servers)
        async with AIOKafkaProducer(bootstrap_servers=servers, linger_ms=5) as producer:
            sent = [
                await producer.send(name, bytes(2000), key=b"%d" % (n % 10), partition=0, headers=TYPED)
                for n in range(2000)
            ]
        assert (await sent[-1]).offset == 1999

        async def compacted() -> list[int]:
            left = await readable(servers, name)
            return left if left[0] > 0 else []

        left = await eventually(compacted, what="compaction")
        assert len(left) < 2000

        kafka, handler = RealBackend(servers), Handled()
        config = kafka.config(name)
        async with running(config, handler):
            await committed_is(kafka, config, name, 2000)
        await kafka.close()
        offsets = [offset for _, offset, _ in handler.records]
        assert offsets == sorted(set(offsets))
        assert set(offsets) >= set(await readable(servers, name))  # the cleaner may have gone on meanwhile
        assert set(offsets) <= set(left)
