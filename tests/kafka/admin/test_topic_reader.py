"""Readers outside of a consumer: unreadable records are reported, slow answers are waited for."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer

from evkafka.broker import KafkaBroker
from evkafka.cli.connection import FoundCluster
from evkafka.cli.impl.tail import RecordFilter, RecordRange, tail
from evkafka.config.settings import ConnectionSettings
from evkafka.dlq import DeadLetterFilter, DeadLetterTopic, Target, replay_dead_letters
from evkafka.exceptions import BrokerError
from evkafka.kafka.admin import reader as reading
from evkafka.kafka.admin.log_pages import FromOffset, PageLimits, read_page
from evkafka.kafka.admin.topic_reader import follow_topic, for_each_record_of_topic, stream_topic
from evkafka.records import Record
from evkafka.runtime.ports import UnreadRecord
from evkafka.ui.record_browser import record_row
from tests.support.kafka_topics import MakeTopic, produce, produce_one
from tests.support.proxy import Proxy

SIZE = 5_000_000
LIMITS = PageLimits(records=10, examined=1000, bytes=10 * SIZE, time_s=60, partitions=1)


async def produce_bomb(servers: str, topic: str, headers: Any = ()) -> None:
    """Produce a record of a few hundred bytes that decompresses to five megabytes."""
    async with AIOKafkaProducer(
        bootstrap_servers=servers, compression_type="zstd", max_request_size=2 * SIZE
    ) as producer:
        await producer.send_and_wait(topic, bytes(SIZE), partition=0, headers=list(headers))


@pytest.fixture
def connection(kafka_broker: KafkaBroker, monkeypatch: pytest.MonkeyPatch) -> ConnectionSettings:
    monkeypatch.setattr(reading, "MAX_DECOMPRESSED_BYTES", 1_000_000)
    return ConnectionSettings((kafka_broker.bootstrap_servers,))


@pytest.fixture(params=["gzip", "snappy", "lz4", "zstd"])
async def orders(request: pytest.FixtureRequest, kafka_broker: KafkaBroker, topic: MakeTopic) -> str:
    """Two records, a batch of three that decompresses to more than a reader takes, and two more records."""
    servers, name = kafka_broker.bootstrap_servers, await topic()
    await produce(servers, name, 2)
    async with AIOKafkaProducer(
        bootstrap_servers=servers,
        compression_type=request.param,
        max_request_size=2 * SIZE,
        max_batch_size=2 * SIZE,
    ) as producer:
        batch = producer.create_batch()
        for _ in range(3):
            batch.append(key=None, value=bytes(SIZE // 3), timestamp=None)
        await (await producer.send_batch(batch, name, partition=0))
    await produce(servers, name, 2)
    return name


def errors_or_values(records: list[Record]) -> list[object]:
    return [str(one.error) if isinstance(one, UnreadRecord) else one.value for one in records]


def shows_the_batch_as_unreadable(shown: list[object]) -> bool:
    first, second, bomb, *rest = shown
    return [first, second, *rest] == [b"0", b"1", b"0", b"1"] and "max_decompressed_bytes, 1000000" in str(bomb)


class TestATooLargeBatch:
    async def test_is_a_record_of_follow(self, connection: ConnectionSettings, orders: str) -> None:
        seen: list[Record] = []
        async with aclosing(follow_topic(connection, orders, {0: 0}, {0: 7})) as batches:
            async for records in batches:
                seen += records
        assert shows_the_batch_as_unreadable(errors_or_values(seen))

    async def test_is_a_record_of_the_log(self, connection: ConnectionSettings, orders: str) -> None:
        seen: list[Record] = []
        async with aclosing(stream_topic(connection, orders)) as batches:
            async for records in batches:
                seen += records
        assert shows_the_batch_as_unreadable(errors_or_values(seen))

    async def test_is_a_row_of_the_operations_page(self, connection: ConnectionSettings, orders: str) -> None:
        found = await read_page(connection, orders, 0, FromOffset(0), LIMITS, lambda record: True)
        assert shows_the_batch_as_unreadable(errors_or_values(list(found.records)))
        row = record_row(found.records[2], "Event-Type", 1000)
        assert row["offset"] == 2
        assert row["value"] is not None
        assert row["value"]["text"].startswith("2 to 4 cannot be read: TooLargeUnpacked")

    async def test_is_reported_when_reading_begins_inside_of_it(
        self, connection: ConnectionSettings, orders: str
    ) -> None:
        found = await read_page(connection, orders, 0, FromOffset(4), LIMITS, lambda record: True)
        assert [one.offset for one in found.records] == [4, 5, 6]

    async def test_is_an_error_of_reading_a_whole_log(self, connection: ConnectionSettings, orders: str) -> None:
        with pytest.raises(BrokerError, match=r"\[0\]@2 to 4 cannot be read: TooLargeUnpacked"):
            await for_each_record_of_topic(connection, orders, lambda record: None)

    @pytest.mark.parametrize("wanted", [RecordFilter(), RecordFilter(event_types=("E",))], ids=["all", "some"])
    async def test_is_a_line_of_tail_with_any_filter(
        self,
        connection: ConnectionSettings,
        orders: str,
        wanted: RecordFilter,
        capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr("signal.signal", lambda *_: None)
        found = FoundCluster(connection, None, None)
        await asyncio.to_thread(tail, found, RecordRange(orders, follow=False), wanted, as_json=True)
        lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        [row] = [line for line in lines if "unreadable" in line]
        assert row["offset"] == 2
        assert len(lines) == (1 if wanted.event_types else 5)

    async def test_is_a_dead_letter_that_stays_open_and_does_not_block_others(
        self, connection: ConnectionSettings, kafka_broker: KafkaBroker, topic: MakeTopic
    ) -> None:
        source = await topic()
        dead = await topic(name=f"{source}.g.dlq")
        story = [("evkafka-dlq-topic", source.encode()), ("evkafka-dlq-group", b"g")]
        await produce_bomb(kafka_broker.bootstrap_servers, dead, story)
        async with AIOKafkaProducer(bootstrap_servers=kafka_broker.bootstrap_servers) as producer:
            await producer.send_and_wait(dead, b"small", partition=0, headers=story)
        dead_letters = DeadLetterTopic(connection, dead)

        report = await replay_dead_letters(dead_letters, Target(), DeadLetterFilter())

        [failure] = report.failed
        assert (report.chosen, report.done) == (2, 1)
        assert failure.reason.startswith("the dead letter itself, 0 cannot be read: TooLargeUnpacked")
        [(left, _)] = [one async for one in dead_letters.read(DeadLetterFilter())]
        assert left.position == (0, 0)
        assert left.unreadable
        assert left.error_type == "TooLargeUnpacked"
        sent: list[Record] = []
        await for_each_record_of_topic(connection, source, sent.append)
        assert errors_or_values(sent) == [b"small"]


class TestSlowAnswers:
    async def test_are_waited_for_while_they_make_progress(
        self, kafka_broker: KafkaBroker, topic: MakeTopic, proxy: Proxy
    ) -> None:
        orders = await topic()
        await produce_one(kafka_broker.bootstrap_servers, orders, 4_000)
        proxy.bytes_per_s = 1_000
        connection = ConnectionSettings((proxy.bootstrap_servers,))
        async with aclosing(stream_topic(connection, orders, quiet_s=1.5)) as log:
            [[record]] = [records async for records in log]
        assert record.value == bytes(4_000)

    async def test_time_out_after_silence(self, kafka_broker: KafkaBroker, topic: MakeTopic, proxy: Proxy) -> None:
        orders = await topic()
        for _ in range(6):  # each needs a fetch of its own
            await produce_one(kafka_broker.bootstrap_servers, orders, 600_000)
        connection = ConnectionSettings((proxy.bootstrap_servers,))

        async def read_on(log: AsyncIterator[object]) -> None:
            async for _ in log:
                pass

        async with aclosing(stream_topic(connection, orders, quiet_s=1.0)) as log:
            await anext(log)
            await proxy.set("blackhole")
            with pytest.raises(BrokerError, match="no answer within 1 s"):
                await read_on(log)
