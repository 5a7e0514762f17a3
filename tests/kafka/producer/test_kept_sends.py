"""What exactly-once endpoints send over a producer, on a real Kafka."""

from __future__ import annotations

import random
from typing import Any

import pytest

from evkafka import EVKafkaApp, Handler, Request, Sender
from evkafka.exceptions import RecordRefused, RecordTooLarge
from evkafka.telemetry import AttemptFailed, ConsumerLost
from tests.support.backends import RealBackend, committed_is
from tests.support.kafka_topics import MakeTopic

LIMIT = 5_000
"""The `max.message.bytes` of the output topic."""

ZEROS, NOISE = b"zeros", b"noise"


class Inflating:
    """An app whose endpoint sends so many bytes as its record says: `zeros 100`.

    Attributes:
        errors: why attempts have failed.
    """

    def __init__(self, kafka: RealBackend, source: str, out: str, **producer: Any) -> None:
        self.config = kafka.config(source, auto_commit_mode="exactly-once")
        self.config |= {"on_error": {"max_attempts": 1, "then": "skip"}}
        del self.config["auto_commit_interval_ms"]
        self.errors: list[BaseException | None] = []
        self.app, handler, sender = EVKafkaApp(), Handler(), Sender()

        @sender.event("Out", topic=out)
        async def send_out(value: bytes) -> None: ...

        @handler.event("E")
        async def inflate(value: bytes, request: Request) -> None:
            await send_out(inflated(value), key=request.key)

        self.app.add_consumer(self.config, handler)  # type: ignore[arg-type]
        self.app.add_producer({"bootstrap_servers": kafka.servers, **producer}, sender)
        self.app.telemetry.listen(AttemptFailed, lambda event: self.errors.append(event.error))


def inflated(value: bytes) -> bytes:
    kind, size = value.split()
    return bytes(int(size)) if kind == ZEROS else random.Random(1).randbytes(int(size))


async def outputs(kafka: RealBackend, topic: str) -> list[bytes | None]:
    return [value for value, _ in await kafka.values(topic)]


@pytest.mark.parametrize("compression", ["gzip", "snappy", "lz4", "zstd"])
async def test_they_are_compressed_as_the_producer_says(kafka: RealBackend, topic: MakeTopic, compression: str) -> None:
    source, out = await topic(), await topic(config={"max.message.bytes": LIMIT})
    app = Inflating(kafka, source, out, compression_type=compression)
    await kafka.send(source, ZEROS + b" 50000")
    async with kafka.running(app.app):
        await committed_is(kafka, app.config, source, 1)
    assert await outputs(kafka, out) == [bytes(50_000)]
    assert app.errors == []


async def test_one_that_is_refused_fails_no_larger_one_that_is_smaller_compressed(
    kafka: RealBackend, topic: MakeTopic
) -> None:
    source, out = await topic(), await topic(config={"max.message.bytes": LIMIT})
    app = Inflating(kafka, source, out, compression_type="lz4")
    async with kafka.running(app.app):
        for value in (NOISE + b" 10000", ZEROS + b" 50000", NOISE + b" 20000"):
            await kafka.send(source, value)
        await committed_is(kafka, app.config, source, 3)
    assert await outputs(kafka, out) == [bytes(50_000)]
    assert [type(error) for error in app.errors] == [RecordTooLarge, RecordTooLarge]


async def test_the_largest_size_is_known_after_the_first_refusal(kafka: RealBackend, topic: MakeTopic) -> None:
    source, out = await topic(), await topic(config={"max.message.bytes": LIMIT})
    app = Inflating(kafka, source, out)
    restarts: list[ConsumerLost] = []
    app.app.telemetry.listen(ConsumerLost, restarts.append)
    async with kafka.running(app.app):
        for size in range(10_000, 4_000, -1_000):
            await kafka.send(source, NOISE + b" %d" % size)
        await committed_is(kafka, app.config, source, 6)
    assert [len(value or b"") for value in await outputs(kafka, out)] == []
    assert len(restarts) == 1
    assert [f"which was at most {LIMIT} less than a minute ago" in str(error) for error in app.errors] == [True] * 6


async def test_a_record_that_the_topic_refuses_fails_no_other_one(kafka: RealBackend, topic: MakeTopic) -> None:
    """A compacted topic takes no record without a key."""
    source, out = await topic(), await topic(config={"cleanup.policy": "compact"})
    app = Inflating(kafka, source, out)
    async with kafka.running(app.app):
        for key in (b"a", None, b"b", b"c"):
            await kafka.send(source, ZEROS + b" 10", key=key)
        await committed_is(kafka, app.config, source, 4)
    assert len(await outputs(kafka, out)) == 3
    [error] = app.errors
    assert isinstance(error, RecordRefused)
    assert "the record has no key, and a compacted topic requires one; give it a key" in str(error)


async def test_the_producers_own_limit_is_that_of_the_size_before_the_compression(
    kafka: RealBackend, topic: MakeTopic
) -> None:
    source, out = await topic(), await topic()
    app = Inflating(kafka, source, out, compression_type="lz4", max_request_size=40_000)
    await kafka.send(source, ZEROS + b" 50000")
    async with kafka.running(app.app):
        await committed_is(kafka, app.config, source, 1)
    [error] = app.errors
    assert isinstance(error, RecordTooLarge)
    assert "is larger than max_request_size, 40000 bytes" in str(error)
