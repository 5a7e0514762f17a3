"""Sends of apps: confirmed, in order, with a deadline; in an outage, with latency, with injected faults."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from evkafka import DeliveryError, EVKafkaApp, EVKafkaProducer, Handler, Request, Sender
from evkafka.exceptions import RecordTooLarge
from evkafka.records import RecordMetadata
from evkafka.testing import InMemoryKafka
from evkafka.testing.memory.faults import SendFault
from tests.testing.memory.apps import PRODUCER, Relay


class TestSenders:
    async def test_write_here_and_get_the_place_in_the_log(self) -> None:
        relay = Relay()
        async with InMemoryKafka() as kafka, kafka.running(relay.app):
            for number in range(3):
                await kafka.send("in", {"key": "k", "number": number}, "E")
            await kafka.settle()
        sent = kafka.assert_sent("out", "Relayed", key="k", times=3)
        assert [record.json()["number"] for record in sent] == [0, 1, 2]
        assert [(place.topic, place.partition, place.offset) for place in relay.confirmed] == [
            ("out", 0, 0),
            ("out", 0, 1),
            ("out", 0, 2),
        ]

    async def test_wait_in_an_outage_and_keep_their_order(self) -> None:
        relay = Relay()
        async with InMemoryKafka() as kafka, kafka.running(relay.app):
            await kafka.send("in", {"key": "k", "number": 0}, "E")
            await kafka.send("in", {"key": "k", "number": 1}, "E")
            kafka.fail_sends("timed out, lost")
            await kafka.advance(ms=1000)
            async with kafka.outage(ms=5_000):
                pass
            await kafka.settle()
        numbers = [record.json()["number"] for record in kafka.records("out")]
        assert numbers == [0, 1]

    async def test_fail_when_an_outage_outlasts_their_time_and_the_record_is_tried_again(self) -> None:
        relay = Relay(delivery_timeout_ms=5_000)
        async with InMemoryKafka() as kafka, kafka.running(relay.app):
            with kafka.latency(produce_ms=1_000):
                await kafka.send("in", {"key": "k"}, "E")
                await kafka.advance(ms=200)  # it is on its way
                async with kafka.outage(ms=10_000):
                    pass
                assert kafka.records("out") == []
                await kafka.settle()
        assert "no answer within 5 s, because the in-memory Kafka is unavailable" in str(relay.failed[0])
        kafka.assert_sent("out", times=1)
        kafka.assert_committed(group="g", topic="in", offset=1)

    async def test_that_are_refused_fail_and_the_record_is_tried_again(self) -> None:
        relay = Relay()
        async with InMemoryKafka() as kafka, kafka.running(relay.app):
            kafka.fail_sends("refused")
            await kafka.send("in", {"key": "k"}, "E")
            await kafka.settle()
        assert [error.may_have_been_written for error in relay.failed] == [False]
        assert "refused by the test" in str(relay.failed[0])
        kafka.assert_sent("out", times=1)
        kafka.assert_committed(group="g", topic="in", offset=1)

    @pytest.mark.parametrize(("fault", "copies"), [("timed out, lost", 1), ("timed out, written", 2)])
    async def test_without_an_answer_say_that_it_may_have_been_written(self, fault: str, copies: int) -> None:
        relay = Relay()
        async with InMemoryKafka() as kafka, kafka.running(relay.app):
            kafka.fail_sends(fault, topic="out")  # type: ignore[arg-type]
            await kafka.send("in", {"key": "k"}, "E")
            await kafka.settle()
        assert [error.may_have_been_written for error in relay.failed] == [True]
        kafka.assert_sent("out", times=copies)

    async def test_take_the_time_that_latency_says(self) -> None:
        relay = Relay()
        async with InMemoryKafka() as kafka, kafka.running(relay.app):
            with kafka.latency(produce_ms=3_000):
                await kafka.send("in", {"key": "k"}, "E")
                await kafka.advance(ms=2_000)
                assert relay.confirmed == []
                assert len(kafka.records("out")) == 1  # written at half-time, and confirmed at the end
                await kafka.advance(ms=1_500)
                assert len(relay.confirmed) == 1

    async def test_records_that_no_broker_accepts_are_refused(self) -> None:
        handler, failed = Handler(), []

        @handler.event("E")
        async def on_event(value: bytes) -> None:
            async with EVKafkaProducer({**PRODUCER, "max_request_size": 4_000_000}) as producer:
                try:
                    await producer.send_event(b"x" * 2_000_000, "Big")
                except DeliveryError as error:
                    failed.append(str(error))

        app = EVKafkaApp({"topics": ["in"], "group_id": "g"})
        app.add_consumer({"topics": ["in"], "group_id": "h"}, handler)
        async with InMemoryKafka() as kafka, kafka.running(app):
            await kafka.send("in", b"x", "E")
            await kafka.settle()
        assert "event 'Big' to topic 'out' was not delivered" in failed[0]
        assert "max.message.bytes" in failed[0] or "message.max.bytes" in failed[0]


class TestTheProducersConfig:
    """It applies as on a real Kafka, also to the sends that an exactly-once endpoint keeps."""

    @pytest.mark.parametrize("mode", ["post-commit", "exactly-once"])
    async def test_the_partitioner_chooses_the_partition(self, mode: str) -> None:
        calls: list[tuple[bytes | None, list[int], list[int]]] = []

        def last(key: bytes | None, partitions: list[int], available: list[int]) -> int:
            calls.append((key, partitions, available))
            return partitions[-1]

        app, errors = sends(mode, {"key": "k"}, partitioner=last)
        async with InMemoryKafka(partitions=3) as kafka, kafka.running(app):
            await kafka.send("in", b"x", "E")
            await kafka.settle()
        assert calls == [(b"k", [0, 1, 2], [0, 1, 2])]
        assert [record.partition for record in kafka.records("out")] == [2]
        assert errors == []

    async def test_a_partition_that_does_not_exist_cannot_be_chosen(self) -> None:
        app, errors = sends("post-commit", {"key": "k"}, partitioner=lambda *_: 7)
        async with InMemoryKafka() as kafka, kafka.running(app):
            await kafka.send("in", b"x", "E")
            await kafka.settle()
        assert "the configured partitioner chose 7, but the partitions are [0]" in str(errors)

    @pytest.mark.parametrize("mode", ["post-commit", "exactly-once"])
    @pytest.mark.parametrize(("keys", "limit"), [({"max_request_size": 1_000}, 1_000), ({}, 1_048_576)])
    async def test_a_record_larger_than_max_request_size_is_refused(
        self, mode: str, keys: dict[str, Any], limit: int
    ) -> None:
        app, errors = sends(mode, {}, size=limit + 1, **keys)
        async with InMemoryKafka() as kafka, kafka.running(app):
            await kafka.send("in", b"x", "E")
            await kafka.settle()
        [error] = errors
        assert isinstance(error, RecordTooLarge)
        assert f"is larger than max_request_size, {limit} bytes; it was not written" in str(error)
        assert kafka.records("out", isolation_level="read_uncommitted") == []

    @pytest.mark.parametrize("fault", ["refused", "timed out, written", "timed out, lost"])
    async def test_a_kept_send_fails_as_the_test_says(self, fault: SendFault) -> None:
        app, errors = sends("exactly-once", {})
        async with InMemoryKafka() as kafka, kafka.running(app):
            kafka.fail_sends(fault, topic="out")
            await kafka.send("in", b"x", "E")
            await kafka.settle()
        [error] = errors
        assert isinstance(error, DeliveryError)
        assert not error.may_have_been_written
        assert kafka.records("out", isolation_level="read_uncommitted") == []


def sends(mode: str, call: dict[str, Any], *, size: int = 1, **producer: Any) -> tuple[EVKafkaApp, list[Exception]]:
    """An app that sends a record of this size for each one, and the errors of its sends."""
    app, handler, sender = EVKafkaApp(), Handler(), Sender()
    errors: list[Exception] = []

    @sender.event("Out", topic="out")
    async def send_out(value: bytes) -> None: ...

    @handler.event("E")
    async def on_event(value: bytes) -> None:
        try:
            await send_out(bytes(size), **call)
        except DeliveryError as error:
            errors.append(error)

    config: Any = {"topics": ["in"], "group_id": "g", "auto_commit_mode": mode, "auto_offset_reset": "earliest"}
    app.add_consumer(config, handler)
    producer_config: Any = producer
    app.add_producer(producer_config, sender)
    return app, errors


class TestProducersOfUsers:
    async def test_write_here_inside_a_handler_and_dial_nobody(self) -> None:
        handler = Handler()

        @handler.event("E")
        async def on_event(payload: dict[str, Any], request: Request) -> None:
            async with EVKafkaProducer(PRODUCER) as producer:
                await producer.send_event(payload, "Copied", key=request.key)

        app = EVKafkaApp()
        app.add_consumer({"topics": ["in"], "group_id": "g"}, handler)
        async with InMemoryKafka() as kafka, kafka.running(app):
            await kafka.send("in", {"a": 1}, "E", key="k")
            await kafka.settle()
        kafka.assert_sent("out", "Copied", event={"a": 1}, key="k", times=1)

    async def test_write_here_inside_the_lifespan_and_the_test(self) -> None:
        from collections.abc import AsyncIterator
        from contextlib import asynccontextmanager

        @asynccontextmanager
        async def lifespan() -> AsyncIterator[dict[str, Any]]:
            async with EVKafkaProducer(PRODUCER) as producer:
                await producer.send_event("hello", "Started")
                yield {}
                await producer.send_event("bye", "Stopped")

        app = EVKafkaApp({"topics": ["in"], "group_id": "g"}, lifespan=lifespan)
        async with InMemoryKafka() as kafka:
            with kafka.latency(produce_ms=500):
                async with kafka.running(app):
                    pass
        assert [record.event_type for record in kafka.sent] == ["Started", "Stopped"]

    async def test_are_nobodys_affair_outside(self) -> None:
        from evkafka.runtime.backend import current_backend

        app = EVKafkaApp({"topics": ["in"], "group_id": "g"})
        async with InMemoryKafka() as kafka, kafka.running(app):
            assert current_backend.get() is not None
        assert current_backend.get() is None

    async def test_crash_with_their_app(self) -> None:
        relay = Relay()
        async with InMemoryKafka() as kafka, kafka.running(relay.app):
            kafka.go_away()
            await kafka.send("in", {"key": "k"}, "E")
            kafka.come_back()
            with kafka.latency(produce_ms=1_000):
                await kafka.advance(ms=300)
                await kafka.crash(relay.app)
                await kafka.advance(ms=5_000)
        assert relay.confirmed == []
        assert kafka.sending == {}


class TestThreads:
    async def test_a_plain_def_sends_from_its_thread(self) -> None:
        handler, sender = Handler(), Sender()

        @sender.event("Relayed")
        async def relay(payload: dict[str, Any]) -> None: ...

        @handler.event("E")
        def on_event(payload: dict[str, Any]) -> None:
            relay.from_thread(payload)

        app = EVKafkaApp()
        app.add_consumer({"topics": ["in"], "group_id": "g"}, handler)
        app.add_producer(PRODUCER, sender)
        async with InMemoryKafka() as kafka, kafka.running(app):
            await kafka.send("in", {"a": 1}, "E")
            await kafka.settle()
        kafka.assert_sent("out", "Relayed", event={"a": 1}, times=1)


class TestEnqueued:
    async def test_sends_that_an_endpoint_did_not_await_are_waited_for(self) -> None:
        handler = Handler()
        kept: list[asyncio.Future[RecordMetadata]] = []
        producer = EVKafkaProducer(PRODUCER)

        @handler.event("E")
        async def on_event(value: bytes) -> None:
            kept.append(await producer.enqueue_event(value, "Later"))

        app = EVKafkaApp()
        app.add_consumer({"topics": ["in"], "group_id": "g"}, handler)
        async with InMemoryKafka() as kafka, kafka.running(app), producer:
            with kafka.latency(produce_ms=10_000):
                await kafka.send("in", b"x", "E")
                await kafka.settle()
            assert [future.result().offset for future in kept] == [0]
