"""Consumers and senders with the envelope "cloudevents", through the whole engine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from pydantic import BaseModel

from evkafka import (
    CloudEvent,
    ConfigError,
    Context,
    DecodeError,
    EVKafkaApp,
    Handler,
    Middleware,
    Request,
    Sender,
    TestClient,
)
from evkafka.exceptions import EncodeError
from evkafka.testing import AsyncTestClient, InMemoryKafka
from tests.asyncapi.documents import document_of

EVENT = {"specversion": "1.0", "id": "7", "source": "/shop", "type": "OrderPlaced"}
BINARY = {f"ce_{name}": text for name, text in EVENT.items()}
STRUCTURED = {"content-type": "application/cloudevents+json; charset=UTF-8"}


class Order(BaseModel):
    order_id: str


def app_of(handler: Any, *senders: Sender, **config: Any) -> EVKafkaApp:
    app = EVKafkaApp()
    base = {"topics": ["orders"], "group_id": "billing", "auto_offset_reset": "earliest", "envelope": "cloudevents"}
    app.add_consumer({**base, **config}, handler)  # type: ignore[typeddict-item]
    for sender in senders:
        app.add_producer({"topic": "invoices"}, sender)
    return app


async def send_both(kafka: InMemoryKafka, data: Any, **more: Any) -> None:
    """One event in each mode."""
    await kafka.send("orders", data, headers=BINARY, **more)
    await kafka.send("orders", {**EVENT, "id": "8", "data": data}, headers=STRUCTURED, **more)


class TestConsumers:
    async def test_both_modes_reach_the_endpoint_of_their_type(self) -> None:
        handler, seen = Handler(), []

        @handler.event("OrderPlaced")
        async def on_order(order: Order, request: Request) -> None:
            seen.append((order.order_id, request.cloudevent, request.event_type, request.key))

        async with InMemoryKafka() as kafka, kafka.running(app_of(handler)):
            await send_both(kafka, {"order_id": "1"}, key="k")
            await kafka.settle()
        extensions = {"partitionkey": "k"}
        assert seen == [
            ("1", CloudEvent(id=number, source="/shop", type="OrderPlaced", extensions=extensions), "OrderPlaced", b"k")
            for number in ("7", "8")
        ]

    async def test_an_endpoint_that_takes_only_the_payload(self) -> None:
        handler, seen = Handler(), []

        @handler.event("OrderPlaced")
        async def on_order(order: Order) -> None:
            seen.append(order.order_id)

        async with InMemoryKafka() as kafka, kafka.running(app_of(handler)):
            await send_both(kafka, {"order_id": "1"})
            await kafka.settle()
        assert seen == ["1", "1"]

    async def test_a_plain_def_endpoint(self) -> None:
        handler, seen = Handler(), []

        @handler.event("OrderPlaced")
        def on_order(order: Order, request: Request) -> None:
            seen.append((order.order_id, request.cloudevent.id))

        async with InMemoryKafka() as kafka, kafka.running(app_of(handler)):
            for number in range(50):
                await kafka.send("orders", {"order_id": str(number)}, headers=BINARY)
            await kafka.settle()
        assert seen == [(str(number), "7") for number in range(50)]

    async def test_a_batch_endpoint(self) -> None:
        handler, seen = Handler(), []

        @handler.event("OrderPlaced", batch=True)
        async def on_orders(orders: list[Order], requests: list[Request]) -> None:
            seen.append(([order.order_id for order in orders], [request.cloudevent.id for request in requests]))

        config = {"on_error": {"max_attempts": 1, "then": "skip"}}
        async with InMemoryKafka() as kafka:
            await send_both(kafka, {"order_id": "1"})
            await kafka.send("orders", {}, headers={"ce_type": "OrderPlaced"})  # no event: it must not stop the batch
            await send_both(kafka, {"order_id": "2"})
            async with kafka.running(app_of(handler, **config)):
                await kafka.settle()
                kafka.assert_committed(group="billing", topic="orders", offset=5)
        assert [order for orders, _ in seen for order in orders] == ["1", "1", "2", "2"]
        assert [number for _, numbers in seen for number in numbers] == ["7", "8", "7", "8"]

    async def test_a_middleware_sees_the_data_and_the_type(self) -> None:
        handler, seen = Handler(), []

        class Seeing:
            def __init__(self, app: Any) -> None:
                self.app = app

            async def __call__(self, context: Context) -> None:
                seen.append((context.message.value, dict(context.message.headers)["Event-Type"]))
                await self.app(context)

        @handler.event("OrderPlaced")
        async def on_order(order: Order, request: Request) -> None:
            seen.append((request.cloudevent.id, order.order_id))

        app = EVKafkaApp()
        app.add_consumer({"topics": ["orders"], "envelope": "cloudevents"}, handler, middleware=[Middleware(Seeing)])
        async with AsyncTestClient(app) as client:
            await client.send_event({"order_id": "1"}, "OrderPlaced", "orders", headers={"ce_id": "7"})
        assert seen == [(b'{"order_id": "1"}', b"OrderPlaced"), ("7", "1")]

    async def test_a_tombstone_is_an_event_without_data(self) -> None:
        handler, seen = Handler(), []

        @handler.event("OrderPlaced")
        async def on_order(order: Order | None, request: Request) -> None:
            seen.append((order, request.cloudevent.id))

        async with InMemoryKafka() as kafka, kafka.running(app_of(handler)):
            await kafka.send("orders", None, key="k", headers=BINARY)
            await kafka.send("orders", EVENT, headers=STRUCTURED)
            await kafka.settle()
        assert seen == [(None, "7"), (None, "7")]

    async def test_an_invalid_event_is_a_dead_letter_byte_for_byte_without_a_retry(self) -> None:
        handler = Handler()

        @handler.event("OrderPlaced")
        async def on_order(order: Order) -> None: ...

        config = {"on_error": {"max_attempts": 5, "then": "dead_letter"}}
        async with InMemoryKafka() as kafka, kafka.running(app_of(handler, **config)):
            await kafka.send("orders", {"order_id": "1"}, headers={"ce_id": "7", "ce_type": "OrderPlaced"})
            await kafka.send("orders", b"[", headers=STRUCTURED)
            await kafka.settle()
            first, second = kafka.records("orders.billing.dlq")
        assert (first.value, first.header("ce_id"), first.header("evkafka-dlq-attempts")) == (
            b'{"order_id": "1"}',
            b"7",
            b"1",
        )
        assert b"required attributes source and specversion are missing" in (
            first.header("evkafka-dlq-error-message") or b""
        )
        assert second.value == b"["

    async def test_an_event_of_a_retry_topic_is_the_same_event(self) -> None:
        handler, seen = Handler(), []

        @handler.event("OrderPlaced")
        async def on_order(order: Order, request: Request) -> None:
            seen.append((request.attempt, request.cloudevent.id, request.topic))
            if request.attempt == 1:
                raise ValueError("again")

        config = {"on_error": {"max_attempts": 1, "retry_topics": [1_000], "then": "skip"}}
        async with InMemoryKafka() as kafka, kafka.running(app_of(handler, **config)):
            await send_both(kafka, {"order_id": "1"})
            await kafka.settle()
        assert sorted(seen) == [(1, "7", "orders"), (1, "8", "orders"), (2, "7", "orders"), (2, "8", "orders")]

    async def test_a_consumer_without_the_envelope_has_no_cloudevent(self) -> None:
        handler = Handler()

        @handler.event("OrderPlaced")
        async def on_order(order: Order, request: Request) -> None:
            _ = request.cloudevent

        async with AsyncTestClient(app_of(handler, envelope=None)) as client:
            with pytest.raises(RuntimeError, match='set "envelope": "cloudevents" in its configuration'):
                await client.send_event({"order_id": "1"}, "OrderPlaced", "orders")

    def test_an_unknown_envelope_is_a_fault_of_the_configuration(self) -> None:
        with pytest.raises(ConfigError, match="envelope"):
            app_of(Handler(), envelope="cloudevent")


class TestSenders:
    @pytest.fixture(params=["binary", "structured"])
    def sender(self, request: pytest.FixtureRequest) -> Sender:
        return Sender(envelope="cloudevents", source="/billing", mode=request.param)

    async def test_what_is_sent_is_received(self, sender: Sender) -> None:
        handler, seen = Handler(), []

        @sender.event("Invoiced", topic="orders", key_field="order_id")
        async def send_invoice(order: Order) -> None: ...

        @handler.event("OrderPlaced")
        async def on_order(order: Order) -> None:
            await send_invoice(order, headers={"ce_subject": "order 1"})

        @handler.event("Invoiced")
        async def on_invoice(order: Order, request: Request) -> None:
            seen.append((order.order_id, request.cloudevent, request.key))

        async with InMemoryKafka() as kafka, kafka.running(app_of(handler, sender)):
            await kafka.send("orders", {"order_id": "1"}, headers=BINARY)
            await kafka.settle()
            kafka.assert_sent("orders", "Invoiced", event={"order_id": "1"}, key="1", times=1)
        [(order_id, event, key)] = seen
        assert (order_id, key, event.source, event.subject) == ("1", b"1", "/billing", "order 1")
        assert event.extensions == {"partitionkey": "1"}
        assert event.time is not None
        assert event.time.isoformat() == "2025-01-01T00:00:00+00:00"  # of the virtual clock

    def test_a_test_client_shows_the_data(self, sender: Sender) -> None:
        handler = Handler()

        @sender.event("Invoiced")
        async def send_invoice(order: Order) -> None: ...

        @handler.event("OrderPlaced")
        def on_order(order: Order) -> None:
            send_invoice.from_thread(order)

        with TestClient(app_of(handler, sender)) as client:
            client.send_event({"order_id": "1"}, "OrderPlaced", "orders")
            [sent] = client.sent
        assert (sent.event, sent.event_type, sent.headers["Event-Type"]) == ({"order_id": "1"}, "Invoiced", b"Invoiced")

    @pytest.mark.parametrize(
        ("payload", "event", "media"), [(str, "a ü", "text/plain"), (bytes, b"\xff", "application/octet-stream")]
    )
    def test_the_media_type_follows_the_payload(self, sender: Sender, payload: Any, event: Any, media: str) -> None:
        handler, seen = Handler(), []

        async def send_text(text: Any) -> None: ...

        send_text.__annotations__["text"] = payload
        send = sender.event("Text", topic="orders")(send_text)

        @handler.event("OrderPlaced")
        async def on_order(order: Order) -> None:
            await send(event)

        with TestClient(app_of(handler, sender)) as client:
            client.send_event({"order_id": "1"}, "OrderPlaced", "orders")
            [sent] = client.sent

        async def on_text(text: Any, request: Request) -> None:
            seen.append((text, request.cloudevent.datacontenttype))

        on_text.__annotations__["text"] = payload
        handler = Handler()
        handler.event("Text")(on_text)
        with TestClient(app_of(handler)) as client:
            client.send_event(sent.value, None, "orders", headers=sent.headers)
        assert (sent.event, seen) == (event, [(event, media)])

    @pytest.mark.parametrize("headers", [{"ce_id": ""}, {"ce_Subject": "a"}, {"ce_time": "today"}])
    def test_an_invalid_attribute_is_an_encode_error(self, sender: Sender, headers: Mapping[str, str]) -> None:
        handler = Handler()

        @sender.event("Invoiced")
        async def send_invoice(order: Order) -> None: ...

        @handler.event("OrderPlaced")
        async def on_order(order: Order) -> None:
            await send_invoice(order, headers=headers)

        with TestClient(app_of(handler, sender)) as client:
            with pytest.raises(EncodeError, match=r"send_invoice sends event 'Invoiced' .*; nothing was sent"):
                client.send_event({"order_id": "1"}, "OrderPlaced", "orders")
            assert client.sent == []

    @pytest.mark.parametrize(
        ("arguments", "why"),
        [
            ({"envelope": "cloudevents"}, 'CloudEvents need a source.*source="/billing"'),
            ({"envelope": "cloudevents", "source": ""}, "CloudEvents need a source"),
            ({"envelope": "cloud", "source": "/a"}, "envelope is \"cloudevents\" or None, not 'cloud'"),
            ({"envelope": "cloudevents", "source": "/a", "mode": "batch"}, "'binary' or 'structured', not 'batch'"),
            ({"source": "/a"}, "source and mode belong to an envelope"),
            ({"mode": "structured"}, "source and mode belong to an envelope"),
        ],
    )
    def test_a_wrong_declaration_is_refused(self, arguments: Any, why: str) -> None:
        with pytest.raises(ConfigError, match=why):
            Sender(**arguments)


class TestTestClients:
    def test_a_sent_event_is_a_cloudevent(self) -> None:
        handler, seen = Handler(), []

        @handler.event("OrderPlaced")
        async def on_order(order: Order, request: Request) -> None:
            seen.append(request.cloudevent)

        with TestClient(app_of(handler)) as client:
            client.send_event({"order_id": "1"}, "OrderPlaced", "orders")
            client.send_event({"order_id": "1"}, "OrderPlaced", "orders", headers={"ce_id": "7", "ce_source": "/shop"})
            client.send_batch([{"order_id": "1"}], "OrderPlaced", "orders", key="k")
        first, second, third = seen
        assert (first.source, first.type, first.specversion, bool(first.id)) == ("/test", "OrderPlaced", "1.0", True)
        assert (second.id, second.source) == ("7", "/shop")
        assert third.extensions == {"partitionkey": "k"}

    def test_a_structured_event_is_sent_as_it_is(self) -> None:
        handler, seen = Handler(), []

        @handler.event("OrderPlaced")
        async def on_order(order: Order, request: Request) -> None:
            seen.append((order.order_id, request.cloudevent.id))

        with TestClient(app_of(handler)) as client:
            client.send_event({**EVENT, "data": {"order_id": "1"}}, None, "orders", headers=STRUCTURED)
        assert seen == [("1", "7")]

    def test_an_invalid_event_raises_its_decode_error(self) -> None:
        with TestClient(app_of(Handler())) as client, pytest.raises(DecodeError, match="type is missing"):
            client.send_event({}, None, "orders")


class TestReplays:
    async def test_a_dead_letter_is_handled_again_as_the_same_event(self) -> None:
        handler, seen = Handler(), []

        @handler.event("OrderPlaced")
        async def on_order(order: Order, request: Request) -> None:
            seen.append((order.order_id, request.cloudevent.id))
            if len(seen) <= 2:
                raise ValueError("no")

        config = {"on_error": {"max_attempts": 1, "then": "dead_letter"}}
        app = app_of(handler, **config)
        async with InMemoryKafka() as kafka, kafka.running(app):
            await send_both(kafka, {"order_id": "1"})
            await kafka.settle()
            for dead in kafka.records("orders.billing.dlq"):
                await kafka.send("orders", dead.value, headers=dead.headers)
            await kafka.settle()
        assert seen == [("1", "7"), ("1", "8")] * 2


def test_the_document_names_attributes_as_headers() -> None:
    handler, sender = Handler(), Sender(envelope="cloudevents", source="/billing")

    @handler.event("OrderPlaced")
    async def on_order(order: Order) -> None: ...

    @sender.event("Invoiced", topic="invoices")
    async def send_invoice(order: Order) -> None: ...

    messages = document_of(app_of(handler, sender))["components"]["messages"]
    received, sent = messages["OrderPlaced"], messages["Invoiced"]
    assert received["headers"]["required"] == ["ce_id", "ce_source", "ce_specversion", "ce_type"]
    assert received["headers"]["properties"]["ce_type"]["const"] == "OrderPlaced"
    assert sent["headers"]["properties"]["ce_source"]["const"] == "/billing"
    assert sent["contentType"] == "application/json"


def test_the_document_describes_the_structured_value() -> None:
    handler, sender = Handler(), Sender(envelope="cloudevents", source="/billing", mode="structured")

    @sender.event("Invoiced", topic="invoices")
    async def send_invoice(order: Order) -> None: ...

    sent = document_of(app_of(handler, sender))["components"]["messages"]["Invoiced"]
    assert sent["contentType"] == "application/cloudevents+json; charset=UTF-8"
    assert sent["payload"]["required"] == ["id", "source", "specversion", "type"]
    assert sent["payload"]["properties"]["data"] == {"$ref": "#/components/schemas/Order"}
    [example] = sent["examples"]
    assert example["payload"]["type"] == "Invoiced"
    assert example["payload"]["data"] == {"order_id": "text"}
