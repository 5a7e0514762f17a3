"""Exactly once, on both backends: what endpoints send is in the log once, and in the order of its records."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Any

from evkafka import BatchError, EVKafkaApp, Handler, ProducerConfig, Request, Sender
from evkafka.sender import OutboundEndpoint
from tests.support.backends import Backend, RealBackend, committed_is

LETTERS = [b"%d" % number for number in range(12)]


class Relay:
    """An app whose endpoints send their values on.

    Attributes:
        fails: value -> how many attempts at it fail, after the send.
    """

    def __init__(self, backend: Backend, *topics: str, out: str, **keys: Any) -> None:
        self.config = backend.config(*topics, auto_commit_mode="exactly-once", **keys)
        del self.config["auto_commit_interval_ms"]
        self.fails: dict[bytes, int] = {}
        self.sender, self.app = Sender(), EVKafkaApp()
        self.send_out = self._declared(out)
        self.app.add_consumer(self.config, self._handler())  # type: ignore[arg-type]
        producer: ProducerConfig = {"max_request_size": 4_000_000}
        if isinstance(backend, RealBackend):
            producer["bootstrap_servers"] = backend.servers
        self.app.add_producer(producer, self.sender)

    def _declared(self, out: str) -> OutboundEndpoint[bytes]:
        @self.sender.event("Out", topic=out)
        async def send_out(value: bytes) -> None: ...

        return send_out

    def _handler(self) -> Handler:
        handler = Handler()

        @handler.event("E")
        async def on_record(value: bytes, request: Request) -> None:
            await self.send_out(value, key=request.key)
            self._fail(value, request)

        @handler.event("Sync")
        def in_thread(value: bytes, request: Request) -> None:
            self.send_out.from_thread(value, key=request.key)
            self._fail(value, request)

        @handler.event("Batch", batch=True, max_wait_ms=50)
        async def on_batch(values: list[bytes], requests: list[Request]) -> None:
            failed: dict[int, BaseException] = {}
            for index, (value, request) in enumerate(zip(values, requests, strict=True)):
                await self.send_out(value, key=request.key)
                try:
                    self._fail(value, request)
                except ValueError as error:
                    failed[index] = error
            if failed:
                raise BatchError(failed)

        @handler.event("Large")
        async def on_large(value: bytes) -> None:
            await self.send_out(value)
            await self.send_out(bytes(2_000_000))

        return handler

    def _fail(self, value: bytes, request: Request) -> None:
        if request.attempt <= self.fails.get(value, 0):
            raise ValueError(value)


async def written(backend: Backend, topic: str) -> list[bytes | None]:
    return [value for value, _ in await backend.values(topic)]


async def test_endpoints_of_each_kind_write_one_output_for_each_record_in_the_order_of_keys(backend: Backend) -> None:
    topic, out = await backend.topic(), await backend.topic()
    relay = Relay(backend, topic, out=out, concurrency=4, on_error={"backoff_ms": 10, "max_backoff_ms": 20})
    relay.fails = {b"3": 1, b"4": 2, b"5": 1}
    kinds = ["E", "Sync", "Batch"]
    for number, letter in enumerate(LETTERS):
        await backend.send(topic, letter, kinds[number % 3], key=b"%d" % (number % 2))
    async with backend.running(relay.app):
        await committed_is(backend, relay.config, topic, len(LETTERS))
    values = await written(backend, out)
    for key in (0, 1):
        assert [value for value in values if value is not None and int(value) % 2 == key] == LETTERS[key::2]


async def test_dead_letters_and_retry_topics_are_part_of_the_transaction(backend: Backend) -> None:
    topic, out = await backend.topic(), await backend.topic()
    policy = {"max_attempts": 1, "retry_topics": [100], "then": "dead_letter"}
    relay = Relay(backend, topic, out=out, on_error=policy)
    relay.fails = {b"once": 1, b"always": 100}
    for value in (b"never", b"once", b"always"):
        await backend.send(topic, value)
    letters = f"{topic}.{relay.config['group_id']}.dlq"
    async with backend.running(relay.app):
        await committed_is(backend, relay.config, topic, 3)
        await backend.until(lambda: written(backend, letters))
    assert await written(backend, out) == [b"never", b"once"]
    assert await written(backend, letters) == [b"always"]


async def test_a_rebalance_repeats_no_output(backend: Backend) -> None:
    topic, out = await backend.topic(2), await backend.topic()
    first = Relay(backend, topic, out=out, concurrency=4)
    second = Relay(backend, topic, out=out, concurrency=4, group_id=first.config["group_id"])
    async with AsyncExitStack() as members:
        await members.enter_async_context(backend.running(first.app))
        for number, letter in enumerate(LETTERS):
            await backend.send(topic, letter, partition=number % 2)
            if number == len(LETTERS) // 2:
                await members.enter_async_context(backend.running(second.app))
        for partition in (0, 1):
            await committed_is(backend, first.config, topic, len(LETTERS) // 2, partition)
    assert sorted(await written(backend, out), key=str) == sorted(LETTERS, key=str)


async def test_an_output_that_the_brokers_refuse_fails_its_own_record(backend: Backend) -> None:
    topic, out = await backend.topic(), await backend.topic()
    relay = Relay(backend, topic, out=out, on_error={"max_attempts": 1, "then": "skip"})
    for value, event_type in ((b"a", "E"), (b"large", "Large"), (b"b", "E")):
        await backend.send(topic, value, event_type)
    async with backend.running(relay.app):
        await committed_is(backend, relay.config, topic, 3)
    assert await written(backend, out) == [b"a", b"b"]
