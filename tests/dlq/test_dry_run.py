"""A dry run predicts what a consumer would do with a record, or with a dead letter."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import BaseModel

from evkafka import App, Context, EVKafkaApp, Handler
from evkafka.dlq.dead_letter import read_dead_letter
from evkafka.dlq.dry_run import create_reaches_endpoint_check, predict_outcome
from evkafka.middleware import JsonTypedDecoderMiddleware, Middleware
from evkafka.service.plan import DeclaredConsumer
from evkafka.testing import MemoryRecord

EVENT = {"specversion": "1.0", "id": "7", "source": "/shop", "type": "OrderPlaced"}
BINARY = tuple((f"ce_{name}", text.encode()) for name, text in EVENT.items())
STRUCTURED = (("content-type", b"application/cloudevents+json"),)


class Order(BaseModel):
    order_id: str


class Decrypts:
    def __init__(self, app: App) -> None:
        self.app = app

    async def __call__(self, context: Context) -> None:
        await self.app(context)


def declared(*middleware: Middleware, **keys: Any) -> DeclaredConsumer:
    handler = Handler()

    @handler.event("OrderPlaced")
    async def on_order(order: Order) -> None: ...

    app = EVKafkaApp()
    app.add_consumer({"topics": ["orders"], "group_id": "billing", **keys}, handler, middleware=middleware or None)
    [consumer] = app.consumers.values()
    return consumer


def refusal(value: Any, headers: tuple[tuple[str, bytes | None], ...]) -> str | None:
    consumer = declared(envelope="cloudevents")
    record = MemoryRecord("orders.billing.dlq", 0, 0, 0, None, json.dumps(value).encode(), headers)
    return create_reaches_endpoint_check(consumer)(read_dead_letter(record))


@pytest.mark.parametrize("structured", [False, True])
class TestCloudEvents:
    def test_an_event_would_run(self, structured: bool) -> None:
        data = {"order_id": "1"}
        assert refusal({**EVENT, "data": data} if structured else data, STRUCTURED if structured else BINARY) is None

    def test_data_of_another_type_would_fail(self, structured: bool) -> None:
        reason = refusal({**EVENT, "data": {}} if structured else {}, STRUCTURED if structured else BINARY)
        assert "not the Order" in (reason or "")

    def test_an_invalid_event_would_fail(self, structured: bool) -> None:
        reason = refusal({**EVENT, "id": ""} if structured else {}, STRUCTURED if structured else BINARY[:1])
        assert "is not a CloudEvent: required attribute" in (reason or "")


def order(value: bytes, *types: str) -> MemoryRecord:
    return MemoryRecord("orders", 0, 0, 0, None, value, tuple(("Event-Type", one.encode()) for one in types))


class TestARecord:
    def test_of_another_type_would_fail(self) -> None:
        outcome, reason = predict_outcome(declared(), None, order(b"{}", "OrderPlaced"))
        assert (outcome, "not the Order" in (reason or "")) == ("would fail", True)

    def test_has_the_type_of_its_first_header(self) -> None:
        assert predict_outcome(declared(), None, order(b"{}", "Other", "OrderPlaced"))[0] == "no endpoint for Other"

    def test_without_a_header_has_the_type_of_its_topic(self) -> None:
        consumer = declared(topics=[{"name": "orders", "event_type": "Other"}])
        assert predict_outcome(consumer, None, order(b"{}"))[0] == "no endpoint for Other"

    def test_is_not_taken_for_a_cloudevent_by_a_consumer_without_the_envelope(self) -> None:
        event = json.dumps({**EVENT, "data": {"order_id": "1"}}).encode()
        record = MemoryRecord("orders", 0, 0, 0, None, event, STRUCTURED)
        assert predict_outcome(declared(), None, record)[0] == "no event type"

    def test_is_not_decoded_if_middleware_may_change_it(self) -> None:
        default = Middleware(JsonTypedDecoderMiddleware)
        encrypted = order(b"\x07\x01", "OrderPlaced")
        assert predict_outcome(declared(default, Middleware(Decrypts)), None, encrypted)[0] == "would run"
        assert predict_outcome(declared(default), None, encrypted)[0] == "would fail"

    def test_has_the_type_of_its_failed_attempt_if_middleware_may_have_given_it(self) -> None:
        consumers = declared(Middleware(Decrypts)), declared()
        outcomes = [predict_outcome(one, None, order(b""), failed_as="Other")[0] for one in consumers]
        assert outcomes == ["no endpoint for Other", "no event type"]

    @pytest.mark.parametrize("types", [(), ("",), ("v1.OrderPlaced",)], ids=["none", "empty", "of no endpoint"])
    def test_would_run_whatever_its_type_if_middleware_may_give_it_another(self, types: tuple[str, ...]) -> None:
        consumer, record = declared(Middleware(Decrypts)), order(b"", *types)
        failed = [None, *types, "OrderPlaced"]  # before the middleware gave it a type, and after that
        outcomes = {predict_outcome(consumer, None, record, failed_as=one)[0] for one in failed}
        assert outcomes == {"would run"}

    def test_would_not_run_if_the_type_that_middleware_gave_it_has_no_endpoint(self) -> None:
        record = order(b"", "OrderPlaced")
        outcome, _ = predict_outcome(declared(Middleware(Decrypts)), None, record, failed_as="Other")
        assert outcome == "no endpoint for Other"
