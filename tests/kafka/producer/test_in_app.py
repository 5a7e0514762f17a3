"""Sending in a running app: from endpoints and their threads, within the attempt's time; start and stop."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest

from evkafka import EVKafkaApp, EVKafkaProducer, Handler, Request, Sender
from evkafka.broker import KafkaBroker
from evkafka.config.settings import ConsumerSettings, ProducerSettings
from evkafka.exceptions import BrokerUnavailable, DeliveryError, StartFailed
from evkafka.kafka import KafkaCluster
from evkafka.records import RecordMetadata
from evkafka.runtime.ports import RecordSink, RecordSource
from tests.kafka.producer.sinks import TakingCluster
from tests.kafka.producer.topics import values
from tests.support.kafka_topics import MakeTopic
from tests.support.proxy import Proxy
from tests.support.waiting import PATIENCE_S, eventually


def reading(servers: str, topic: str, **more: Any) -> Any:
    group = f"g-{uuid.uuid4().hex[:12]}"
    return {
        "bootstrap_servers": servers,
        "topics": [topic],
        "group_id": group,
        "auto_offset_reset": "earliest",
        "on_error": {"backoff_ms": 50},
        **more,
    }


async def put_in(servers: str, topic: str, *texts: str) -> None:
    async with EVKafkaProducer({"bootstrap_servers": servers}) as producer:
        await producer.send_events(texts, "In", topic)


class TestFromEndpoints:
    async def test_an_endpoint_sends_and_a_thread_does_too(self, kafka_broker: KafkaBroker, topic: MakeTopic) -> None:
        source, out, servers = await topic(), await topic(), kafka_broker.bootstrap_servers
        handler, sender = Handler(), Sender()
        sent: list[RecordMetadata] = []

        @sender.event("Out", topic=out)
        async def send_out(text: str) -> None: ...

        @handler.event("In")
        async def on_loop(text: str) -> None:
            sent.append(await send_out(f"loop {text}"))

        @handler.event("InThread")
        def in_thread(text: str) -> None:
            with pytest.raises(RuntimeError, match=r"call send_out.from_thread\(...\) there"):
                send_out(text)
            sent.append(send_out.from_thread(f"thread {text}"))

        app = EVKafkaApp()
        app.add_consumer(reading(servers, source), handler)
        app.add_producer({"bootstrap_servers": servers}, sender)
        async with EVKafkaProducer({"bootstrap_servers": servers, "topic": source}) as producer:
            await producer.send_event("a", "In")
            await producer.send_event("b", "InThread")
        async with app.running():
            await eventually(lambda: len(sent) == 2)
        assert await values(servers, out) == [b"loop a", b"thread b"]
        assert [place.offset for place in sent] == [0, 1]

    async def test_a_task_of_the_running_app_sends(self, kafka_broker: KafkaBroker, topic: MakeTopic) -> None:
        out, servers, sender = await topic(), kafka_broker.bootstrap_servers, Sender()

        @sender.event("Out")
        async def send_out(text: str) -> None: ...

        app = EVKafkaApp()
        app.add_producer({"bootstrap_servers": servers, "topic": out}, sender)
        async with app.running():
            await asyncio.gather(*(asyncio.ensure_future(send_out(str(number))) for number in range(10)))
        assert len(await values(servers, out)) == 10

    async def test_the_lifespan_sends_with_a_producer_of_its_own(
        self, kafka_broker: KafkaBroker, topic: MakeTopic
    ) -> None:
        out, servers = await topic(), kafka_broker.bootstrap_servers

        @asynccontextmanager
        async def lifespan() -> AsyncIterator[Mapping[str, Any]]:
            async with EVKafkaProducer({"bootstrap_servers": servers, "topic": out}) as producer:
                await producer.send_event("started", "X")
                yield {"producer": producer}
                await producer.send_event("ended", "X")

        async with EVKafkaApp(lifespan=lifespan).running() as state:
            await state["producer"].send_event("running", "X")
        assert await values(servers, out) == [b"started", b"running", b"ended"]


class TestTimeLeft:
    """Records come from the broker itself; sends go to a proxy that drops them."""

    @pytest.mark.parametrize("threaded", [False, True])
    @pytest.mark.parametrize("limit", [{"max_endpoint_exec_time_ms": 2500}, {"timeout_ms": 2500}])
    async def test_a_send_fails_before_the_endpoint_times_out(
        self, kafka_broker: KafkaBroker, topic: MakeTopic, proxy: Proxy, threaded: bool, limit: dict[str, int]
    ) -> None:
        source, out, servers = await topic(), await topic(), kafka_broker.bootstrap_servers
        handler, sender = Handler(), Sender()
        failures: list[DeliveryError] = []

        @sender.event("Out", topic=out)
        async def send_out(text: str) -> None: ...

        async def on_loop(text: str) -> None:
            try:
                await send_out(text)
            except DeliveryError as error:
                failures.append(error)

        def in_thread(text: str) -> None:
            try:
                send_out.from_thread(text)
            except DeliveryError as error:
                failures.append(error)

        of_type = {"timeout_ms": limit["timeout_ms"]} if "timeout_ms" in limit else {}
        declare: Any = handler.event("In", **of_type)
        declare(in_thread if threaded else on_loop)
        app = EVKafkaApp()
        config = reading(servers, source, **({} if of_type else limit))
        app.add_consumer(config, handler)
        app.add_producer({"bootstrap_servers": proxy.bootstrap_servers}, sender)
        async with app.running():
            await send_out("first")
            await proxy.set("blackhole")
            await put_in(servers, source, "a")
            await eventually(lambda: failures)
            await proxy.set("pass")
        assert "the time that the endpoint had left" in str(failures[0])  # 2.5 s of the attempt, less one

    async def test_a_send_outside_of_an_attempt_has_the_delivery_timeout(
        self, kafka_broker: KafkaBroker, topic: MakeTopic
    ) -> None:
        source, servers, handler = await topic(), kafka_broker.bootstrap_servers, Handler()
        cluster = TakingCluster()
        out = EVKafkaProducer({"topic": "t"}, cluster=cluster)
        tasks: list[asyncio.Task[None]] = []
        go_on, handled = asyncio.Event(), asyncio.Event()

        async def later() -> None:
            await go_on.wait()
            await out.send_event("later", "X")

        @handler.event("In")
        async def on_in(text: str) -> None:
            tasks.append(asyncio.ensure_future(later()))
            await out.send_event("now", "X")
            handled.set()

        app = EVKafkaApp()
        app.add_consumer(reading(servers, source, max_endpoint_exec_time_ms=9000), handler)
        async with out, app.running():
            await put_in(servers, source, "a")
            await handled.wait()
            await eventually(lambda: app.service and not any(e.slot.record for e in _executors(app)))
            go_on.set()
            await tasks[0]
            await out.send_event("outside", "X")
        now, later_one, outside = cluster.taken
        assert now.timeout_s is not None
        assert 7 < now.timeout_s <= 8
        assert (later_one.timeout_s, outside.timeout_s) == (None, None)

    async def test_an_event_that_is_tried_again_is_sent_again(
        self, kafka_broker: KafkaBroker, topic: MakeTopic, proxy: Proxy
    ) -> None:
        source, out, servers = await topic(), await topic(), kafka_broker.bootstrap_servers
        handler, sender = Handler(), Sender()
        attempts: list[int] = []

        @sender.event("Out", topic=out)
        async def send_out(text: str) -> None: ...

        @handler.event("In", timeout_ms=1000)
        async def on_in(text: str, request: Request) -> None:
            attempts.append(request.attempt)
            await send_out(text)

        app = EVKafkaApp()
        app.add_consumer(reading(servers, source), handler)
        app.add_producer({"bootstrap_servers": proxy.bootstrap_servers}, sender)
        async with app.running():
            await send_out("first")
            await proxy.set("blackhole")
            await put_in(servers, source, "a")
            await eventually(lambda: len(attempts) >= 3)
            await proxy.set("pass")
            await eventually(lambda: _settled(app))
        written = await values(servers, out)
        assert written[0] == b"first"
        assert set(written[1:]) == {b"a"}
        # A record in flight may have been written despite the error; those that waited behind it are not.
        assert 1 <= len(written[1:]) <= 2


def _executors(app: EVKafkaApp) -> Any:
    assert app.service is not None
    [consumer] = app.service.consumers.values()
    return consumer._executors


async def _settled(app: EVKafkaApp) -> bool:
    assert app.service is not None
    [consumer] = app.service.consumers.values()
    return all(
        not p.has_running_or_queued_records and not p.count_retrying_lanes()
        for p in consumer._assignment.partitions.values()
    )


class NotingCluster:
    """The real Kafka, with a list of starts and stops."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self._kafka = KafkaCluster()

    def source(self, settings: ConsumerSettings) -> RecordSource:
        return _noting(self._kafka.source(settings), "consumer", self.calls)

    def sink(self, settings: ProducerSettings) -> RecordSink:
        return _noting(self._kafka.sink(settings), "producer", self.calls)


def _noting(part: Any, what: str, calls: list[str]) -> Any:
    start, stop = part.start, part.stop

    async def noting_start(*args: Any) -> None:
        await start(*args)
        calls.append(f"{what} started")

    async def noting_stop(*, timeout_s: float) -> None:
        calls.append(f"{what} stops")
        await stop(timeout_s=timeout_s)

    part.start, part.stop = noting_start, noting_stop
    return part


class TestOrder:
    async def test_producers_start_before_consumers_and_are_flushed_after_them(
        self, kafka_broker: KafkaBroker, topic: MakeTopic
    ) -> None:
        source, out, servers = await topic(), await topic(), kafka_broker.bootstrap_servers
        handler, sender, cluster = Handler(), Sender(), NotingCluster()
        stopping = asyncio.Event()
        begun = asyncio.Event()

        @sender.event("Out")
        async def send_out(text: str) -> None: ...

        @handler.event("In")
        async def on_in(text: str) -> None:
            begun.set()
            await stopping.wait()
            await send_out(text)  # while the consumer drains

        @asynccontextmanager
        async def lifespan() -> AsyncIterator[None]:
            cluster.calls.append("lifespan begins")
            yield
            cluster.calls.append("lifespan ends")

        app = EVKafkaApp(lifespan=lifespan)
        app.add_consumer(reading(servers, source), handler)
        app.add_producer({"bootstrap_servers": servers, "topic": out}, sender)
        await put_in(servers, source, "a")
        async with app.running(cluster=cluster):
            await begun.wait()
            asyncio.get_running_loop().call_later(0.1, stopping.set)
        assert cluster.calls == [
            "lifespan begins",
            "producer started",
            "consumer started",
            "consumer stops",
            "producer stops",
            "lifespan ends",
        ]
        assert await values(servers, out) == [b"a"]

    async def test_several_producers_are_stopped_at_the_same_time_within_a_limit(self) -> None:
        cluster, app = TakingCluster(), EVKafkaApp()
        for _ in range(3):
            app.add_producer({"topic": "t"}, Sender())
        app.add_producer({"topic": "t", "delivery_timeout_ms": 1000}, Sender())
        async with app.running(cluster=cluster):
            pass
        assert cluster.calls == ["start"] * 4 + ["stop"] * 4
        # The drain's 20 s, of which nothing has been used, and 2; but never more than its own delivery timeout.
        *drained, own = cluster.stop_timeouts_s
        assert all(1 < timeout_s <= 22 for timeout_s in drained)  # less what the stop has taken so far
        assert own == pytest.approx(1)

    async def test_a_producer_that_cannot_start_keeps_the_app_from_starting(self) -> None:
        cluster, app, sender = TakingCluster(), EVKafkaApp(), Sender()
        cluster.start_error = BrokerUnavailable("nobody there")
        app.add_producer({"topic": "t"}, sender)
        with pytest.raises(StartFailed, match="the app could not start: nobody there"):
            async with app.running(cluster=cluster):
                raise AssertionError("it starts")
        assert not sender.is_bound

    async def test_an_app_that_is_told_to_stop_while_its_producer_connects_does_so(self, proxy: Proxy) -> None:
        await proxy.set("blackhole")
        app = EVKafkaApp()
        connecting_ms = int(2 * PATIENCE_S * 1000)  # longer than the test waits for the stop
        app.add_producer({"bootstrap_servers": proxy.bootstrap_servers, "start_timeout_ms": connecting_ms}, Sender())
        serving = asyncio.ensure_future(app.serve(install_signal_handlers=False))
        await eventually(lambda: app.service is not None)
        app.stop()
        await asyncio.wait_for(serving, PATIENCE_S)


class TestStop:
    async def test_records_that_the_stop_could_not_send_are_logged(
        self, kafka_broker: KafkaBroker, topic: MakeTopic, proxy: Proxy, caplog: pytest.LogCaptureFixture
    ) -> None:
        producer = EVKafkaProducer({"bootstrap_servers": proxy.bootstrap_servers, "topic": await topic()})
        await producer.start()
        await producer.send_event("first", "X")
        await proxy.set("blackhole")
        queued = [await producer.enqueue_event("x", "X") for _ in range(3)]
        with caplog.at_level(logging.WARNING, "evkafka"):
            await producer.stop(timeout_s=0.5)
        assert "3 records were not confirmed when the producer was stopped" in caplog.text
        assert [type(one.exception()) for one in queued] == [DeliveryError] * 3
