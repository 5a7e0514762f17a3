"""A test client records and confirms what an app sends, without a connection to Kafka."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import pytest
from pydantic import BaseModel

from evkafka import ConfigError, EVKafkaApp, EVKafkaProducer, Handler, RecordMetadata, Sender, TestClient
from evkafka.testing import SentEvent


class Order(BaseModel):
    order_id: str


@dataclass
class Shop:
    """An app whose endpoint `Go` runs a function of the test."""

    app: EVKafkaApp
    sender: Sender
    action: Any = None
    result: Any = None


@pytest.fixture
def shop() -> Shop:
    handler, sender = Handler(), Sender()
    shop = Shop(EVKafkaApp(), sender)
    shop.app.add_consumer({"topics": ["in"]}, handler)
    shop.app.add_producer({"topic": "out"}, sender, name="shop")

    @handler.event("Go")
    async def go(event: dict[str, Any]) -> None:
        shop.result = await shop.action()

    @handler.event("GoInThread")
    def go_in_thread(event: dict[str, Any]) -> None:
        shop.result = shop.action()

    return shop


class TestSenders:
    def test_a_send_is_recorded_with_all_that_went_out(self, shop: Shop) -> None:
        @shop.sender.event("OrderPlaced", topic="orders", key_field="order_id")
        async def send_order(order: Order) -> None: ...

        shop.action = lambda: send_order(
            Order(order_id="7"), partition=2, timestamp_ms=5, headers={"a": "b", "n": None}
        )
        with TestClient(shop.app) as client:
            client.send_event({}, "Go", "in")

        assert client.sent == [
            SentEvent(
                event={"order_id": "7"},
                event_type="OrderPlaced",
                topic="orders",
                key=b"7",
                value=b'{"order_id":"7"}',
                headers={"Event-Type": b"OrderPlaced", "a": b"b"},
                partition=2,
                timestamp_ms=5,
                producer="shop",
            )
        ]

    def test_arguments_that_are_not_given_are_none_and_the_confirmation_is_plausible(self, shop: Shop) -> None:
        @shop.sender.event("X")
        async def send_x(event: dict[str, Any]) -> None: ...

        async def twice() -> list[RecordMetadata]:
            return [await send_x({"n": 1}), await send_x({"n": 2})]

        shop.action = twice
        with TestClient(shop.app) as client:
            client.send_event({}, "Go", "in")

        [first, second] = client.sent
        assert (first.topic, first.key, first.partition, first.timestamp_ms) == ("out", None, None, None)
        assert [place[:3] for place in shop.result] == [("out", 0, 0), ("out", 0, 1)]
        assert second.event == {"n": 2}

    @pytest.mark.parametrize(("kind", "event"), [(str, "5"), (bytes, b"5"), (dict, {"a": 5}), (list, [5])])
    def test_an_event_is_decoded_to_the_sent_value(self, shop: Shop, kind: Any, event: Any) -> None:
        async def send_x(event: Any) -> None: ...

        send_x.__annotations__["event"] = kind
        send = shop.sender.event("X")(send_x)
        shop.action = lambda: send(event)
        with TestClient(shop.app) as client:
            client.send_event({}, "Go", "in")

        assert [one.event for one in client.sent] == [event]

    def test_a_plain_def_endpoint_sends_from_its_thread(self, shop: Shop) -> None:
        @shop.sender.event("X")
        async def send_x(event: dict[str, Any]) -> None: ...

        shop.action = lambda: send_x.from_thread({"a": 1})
        with TestClient(shop.app) as client:
            client.send_event({}, "GoInThread", "in")

        assert [one.event for one in client.sent] == [{"a": 1}]
        assert shop.result.topic == "out"

    def test_the_list_can_be_cleared_between_two_deliveries(self, shop: Shop) -> None:
        @shop.sender.event("X")
        async def send_x(event: dict[str, Any]) -> None: ...

        shop.action = lambda: send_x({})
        with TestClient(shop.app) as client:
            client.send_event({}, "Go", "in")
            client.sent.clear()
            client.send_event({}, "Go", "in")

        assert len(client.sent) == 1

    def test_an_event_without_a_topic_keeps_the_client_from_opening(self) -> None:
        app, sender = EVKafkaApp(), Sender()

        @sender.event("X")
        async def send_x(event: dict[str, Any]) -> None: ...

        app.add_producer({}, sender)
        with pytest.raises(ConfigError, match="send_x: no topic"), TestClient(app):
            pass

    def test_sending_in_the_lifespan_says_that_the_producer_starts_later(self) -> None:
        sender = Sender()

        @sender.event("X", topic="out")
        async def send_x(event: dict[str, Any]) -> None: ...

        @asynccontextmanager
        async def lifespan() -> AsyncIterator[None]:
            await send_x({})
            yield

        app = EVKafkaApp(lifespan=lifespan)
        app.add_producer({}, sender)
        with pytest.raises(RuntimeError, match="its producer starts after the lifespan"), TestClient(app):
            pass

    def test_the_sender_is_free_again_afterwards(self, shop: Shop) -> None:
        with TestClient(shop.app):
            assert shop.sender.is_bound
        assert not shop.sender.is_bound

    def test_two_clients_on_one_app_with_a_sender_are_refused(self, shop: Shop) -> None:
        with TestClient(shop.app), pytest.raises(RuntimeError, match="already running"), TestClient(shop.app):
            pass


class TestProducersOfUserCode:
    @staticmethod
    async def _send() -> RecordMetadata:
        async with EVKafkaProducer({"client_id": "mine", "bootstrap_servers": "kafka.invalid:9092"}) as producer:
            return await producer.send_event({"a": 1}, "X", "out", key=UUID(int=1))

    def _check(self, client: TestClient) -> None:
        [sent] = client.sent
        assert (sent.event, sent.event_type, sent.topic, sent.producer) == ({"a": 1}, "X", "out", "mine")
        assert sent.key == str(UUID(int=1)).encode()

    def test_in_an_endpoint(self, shop: Shop) -> None:
        shop.action = self._send
        with TestClient(shop.app) as client:
            client.send_event({}, "Go", "in")
        self._check(client)

    def test_in_a_plain_def_endpoints_thread(self, shop: Shop) -> None:
        shop.action = lambda: asyncio.run(self._send())
        with TestClient(shop.app) as client:
            client.send_event({}, "GoInThread", "in")
        self._check(client)

    def test_in_the_lifespan(self) -> None:
        @asynccontextmanager
        async def lifespan() -> AsyncIterator[None]:
            await self._send()
            yield

        with TestClient(EVKafkaApp(lifespan=lifespan)) as client:
            self._check(client)

    def test_in_the_test_itself(self) -> None:
        with TestClient(EVKafkaApp()) as client:
            asyncio.run(self._send())
        self._check(client)

    def test_one_that_the_lifespan_keeps_for_endpoints(self) -> None:
        handler = Handler()
        app = EVKafkaApp(lifespan=lambda: keeping())
        app.add_consumer({"topics": ["in"]}, handler)
        producer = EVKafkaProducer({"topic": "out", "bootstrap_servers": "kafka.invalid:9092"})

        @asynccontextmanager
        async def keeping() -> AsyncIterator[None]:
            async with producer:
                yield

        @handler.event("X")
        async def on_x(event: dict[str, Any]) -> None:
            queued = [await producer.enqueue_event({"n": n}, "Y") for n in range(2)]
            await asyncio.gather(*queued)
            await producer.flush()

        with TestClient(app) as client:
            client.send_event({}, "X", "in")
        assert [one.event for one in client.sent] == [{"n": 0}, {"n": 1}]

    def test_a_tombstone_has_no_event(self, shop: Shop) -> None:
        async def bury() -> None:
            async with EVKafkaProducer({}) as producer:
                await producer.send_event(None, "X", "out", key="1")
                await producer.send_event(b"\xff", "X", "out")
                await producer.send_event("text", "X", "out")

        shop.action = bury
        with TestClient(shop.app) as client:
            client.send_event({}, "Go", "in")
        assert [one.event for one in client.sent] == [None, b"\xff", "text"]

    def test_after_the_client_kafka_is_kafka_again(self) -> None:
        with TestClient(EVKafkaApp()):
            pass

        async def start() -> None:
            await EVKafkaProducer({"bootstrap_servers": "127.0.0.1:1", "start_timeout_ms": 300}).start()

        with pytest.raises(Exception, match=r"127\.0\.0\.1:1"):
            asyncio.run(start())

    def test_in_a_thread_that_the_test_starts_with_its_context(self, shop: Shop) -> None:
        import contextvars

        with TestClient(shop.app) as client:
            run = contextvars.copy_context().run
            thread = threading.Thread(target=run, args=(asyncio.run, self._send()))
            thread.start()
            thread.join()
        self._check(client)
