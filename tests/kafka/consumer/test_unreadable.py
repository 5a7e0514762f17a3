"""Records that cannot be read are reported and hold back only their own partition."""

from __future__ import annotations

from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.protocol.fetch import FetchRequest

from evkafka.broker import KafkaBroker
from evkafka.records import TopicPartition
from tests.support.kafka_reader import Read, Reader
from tests.support.kafka_topics import MakeTopic, produce
from tests.support.proxy import FETCH, Proxy
from tests.support.waiting import eventually

Poisoned = tuple[str, Proxy]


async def _polls(reader: Reader, count: int) -> None:
    polls = reader.polls
    await eventually(lambda: reader.polls >= polls + count)


@pytest.fixture
async def poisoned(kafka_broker: KafkaBroker, topic: MakeTopic, proxy: Proxy) -> Poisoned:
    """Partition 0: three records, a damaged one, three more. Partition 1: ten records."""
    servers, orders = kafka_broker.bootstrap_servers, await topic(partitions=2)
    await produce(servers, orders, 3)
    async with AIOKafkaProducer(bootstrap_servers=servers) as producer:
        await producer.send_and_wait(orders, b"poison", partition=0, headers=[("naming", b"1")])
    await produce(servers, orders, 3)
    await produce(servers, orders, 10, partition=1)
    proxy.rewrite(FETCH, lambda frame: frame.replace(b"poison", b"POISON"))
    return orders, proxy


class TestDamagedRecords:
    async def test_every_other_record_is_handed_out_and_the_damage_is_reported_once(
        self, poisoned: Poisoned, name: str, read: Read
    ) -> None:
        orders, proxy = poisoned
        reader = await read(proxy.bootstrap_servers, orders, name)

        await eventually(lambda: reader.listener.unreadable)
        await eventually(lambda: len(reader.records) == 13)
        assert reader.offsets(0) == [0, 1, 2]
        assert reader.offsets(1) == list(range(10))
        (damage,) = reader.listener.unreadable
        assert (damage.partition, damage.offset, damage.next_offset) == (TopicPartition(orders, 0), 3, 4)
        assert "CRC" in str(damage.error)
        assert reader.source.position(TopicPartition(orders, 0)) == 3
        await _polls(reader, 10)
        assert len(reader.listener.unreadable) == 1
        assert reader.errors == []

    async def test_the_records_before_it_are_handed_out_before_it_is_reported(
        self, poisoned: Poisoned, name: str, read: Read
    ) -> None:
        orders, proxy = poisoned
        reader = await read(proxy.bootstrap_servers, orders, name)
        seen: list[list[int]] = []
        reader.listener.when_unreadable = lambda _: seen.append(reader.offsets(0))

        await eventually(lambda: seen)
        assert seen == [[0, 1, 2]]

    async def test_a_seek_past_it_continues_reading(self, poisoned: Poisoned, name: str, read: Read) -> None:
        orders, proxy = poisoned
        reader = await read(proxy.bootstrap_servers, orders, name)
        reader.listener.when_unreadable = lambda found: reader.source.seek(found.partition, found.next_offset)

        await eventually(lambda: reader.offsets(0) == [0, 1, 2, 4, 5, 6])
        assert len(reader.listener.unreadable) == 1

    async def test_a_poll_that_names_the_partition_reads_it_again(
        self, poisoned: Poisoned, name: str, read: Read
    ) -> None:
        orders, proxy = poisoned
        reader = await read(proxy.bootstrap_servers, orders, name)
        await eventually(lambda: reader.listener.unreadable)
        proxy.rewrite(FETCH, None)

        await reader.want([TopicPartition(orders, 0)])

        await eventually(lambda: reader.offsets(0) == [0, 1, 2, 3, 4, 5, 6])

    async def test_a_poll_of_all_partitions_reads_it_again_after_a_poll_without_it(
        self, poisoned: Poisoned, name: str, read: Read
    ) -> None:
        orders, proxy = poisoned
        reader = await read(proxy.bootstrap_servers, orders, name)
        await eventually(lambda: reader.listener.unreadable)
        await reader.want([TopicPartition(orders, 1)])

        await reader.want(None)

        await eventually(lambda: len(reader.listener.unreadable) == 2)
        await reader.want(())
        proxy.rewrite(FETCH, None)
        await reader.want(None)
        await eventually(lambda: reader.offsets(0) == [0, 1, 2, 3, 4, 5, 6])

    async def test_a_header_name_that_is_not_utf8_costs_its_own_record_only(
        self, poisoned: Poisoned, name: str, read: Read
    ) -> None:
        orders, proxy = poisoned
        proxy.rewrite(FETCH, lambda frame: frame.replace(b"naming", b"\xff" * 6))
        reader = await read(proxy.bootstrap_servers, orders, name, options={"check_crcs": False})
        reader.listener.when_unreadable = lambda found: reader.source.seek(found.partition, found.next_offset)

        await eventually(lambda: reader.offsets(0) == [0, 1, 2, 4, 5, 6])
        assert isinstance(reader.listener.unreadable[0].error, Exception)


class TestRecordsLargerThanAFetch:
    @pytest.fixture
    def cut_off(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Current brokers return a record whole, however small the fetch; older ones truncate it."""
        from evkafka.kafka.client.client import Client

        send = Client.send

        async def cutting_off(client: Client, node_id: Any, request: Any, **options: Any) -> Any:
            answer = await send(client, node_id, request, **options)
            if isinstance(request, FetchRequest):
                most = request.topics[0][1][0][2]
                answer.topics = [
                    (topic, [(*row[:-1], (row[-1] or b"")[:most]) for row in rows]) for topic, rows in answer.topics
                ]
            return answer

        monkeypatch.setattr(Client, "send", cutting_off)

    async def test_the_fetch_is_made_larger_until_the_record_fits(
        self, kafka_broker: KafkaBroker, topic: MakeTopic, name: str, read: Read, cut_off: None
    ) -> None:
        orders = await topic()
        async with AIOKafkaProducer(bootstrap_servers=kafka_broker.bootstrap_servers) as producer:
            for size in (10, 50_000, 10):
                await producer.send_and_wait(orders, b"x" * size, partition=0)

        reader = await read(kafka_broker.bootstrap_servers, orders, name, options={"max_partition_fetch_bytes": 1000})

        await eventually(lambda: reader.offsets() == [0, 1, 2])
        assert reader.listener.unreadable == []

    async def test_at_the_limit_it_is_unreadable(
        self, kafka_broker: KafkaBroker, topic: MakeTopic, name: str, read: Read, cut_off: None
    ) -> None:
        orders = await topic()
        async with AIOKafkaProducer(bootstrap_servers=kafka_broker.bootstrap_servers) as producer:
            for size in (10, 50_000, 10):
                await producer.send_and_wait(orders, b"x" * size, partition=0)

        reader = await read(
            kafka_broker.bootstrap_servers,
            orders,
            name,
            options={"max_partition_fetch_bytes": 1000, "fetch_max_bytes": 4000},
        )

        await eventually(lambda: reader.listener.unreadable)
        assert reader.offsets() == [0]
        assert (reader.listener.unreadable[0].offset, reader.listener.unreadable[0].next_offset) == (1, 2)
        assert reader.source.position(TopicPartition(orders, 0)) == 1
