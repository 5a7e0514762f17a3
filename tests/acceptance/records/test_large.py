"""Records of a megabyte among small ones."""

from __future__ import annotations

import pytest

from evkafka import EVKafkaProducer, RecordMetadata
from tests.acceptance.records.apps import Handled, running
from tests.support.backends import RealBackend, committed_is

MEGABYTE = 1_000_000


async def send(kafka: RealBackend, topic: str) -> list[bytes]:
    """Send ten records, every second one of a megabyte; each starts with its number."""
    values = [b"%d" % n + bytes(MEGABYTE - 1 if n % 2 else 10) for n in range(10)]
    async with EVKafkaProducer({"bootstrap_servers": kafka.servers, "topic": topic}) as producer:
        queued = [await producer.enqueue_event(value, "E", key="k", partition=0) for value in values]
        assert [(await future).offset for future in queued] == list(range(10))
    return values


class TestLargeRecords:
    @pytest.mark.parametrize(
        "keys",
        [
            {},
            {"concurrency": 4},
            {
                "max_pending_bytes": 100_000
            },  # smaller than one record: it is read, and the next one only when it is done
            {"max_partition_fetch_bytes": 1000, "fetch_max_bytes": 1000},
            {"auto_commit_mode": "pre-commit"},
        ],
        ids=lambda keys: ",".join(keys) or "defaults",
    )
    async def test_are_handled_in_order(self, kafka: RealBackend, keys: dict[str, object]) -> None:
        topic, handler = await kafka.topic(), Handled()
        values = await send(kafka, topic)
        config = kafka.config(topic, **keys)
        async with running(config, handler):
            await committed_is(kafka, config, topic, len(values))
            await kafka.until(lambda: len(handler.records) == len(values))
        assert [value for _, _, value in handler.records] == values

    async def test_above_the_producers_limit_are_refused_with_the_setting_named(self, kafka: RealBackend) -> None:
        topic = await kafka.topic()
        async with EVKafkaProducer({"bootstrap_servers": kafka.servers, "topic": topic}) as producer:
            with pytest.raises(Exception, match=r"'E'.*max_request_size"):
                await producer.send_event(bytes(2 * MEGABYTE), "E")
            assert isinstance(await producer.send_event(b"small", "E"), RecordMetadata)
