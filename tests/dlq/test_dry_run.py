"""A dry run predicts what a consumer of CloudEvents would do with a dead letter."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import BaseModel

from evkafka import EVKafkaApp, Handler
from evkafka.dlq.dead_letter import read_dead_letter
from evkafka.dlq.dry_run import create_reaches_endpoint_check
from evkafka.testing import MemoryRecord

EVENT = {"specversion": "1.0", "id": "7", "source": "/shop", "type": "OrderPlaced"}
BINARY = tuple((f"ce_{name}", text.encode()) for name, text in EVENT.items())
STRUCTURED = (("content-type", b"application/cloudevents+json"),)


class Order(BaseModel):
    order_id: str


def refusal(value: Any, headers: tuple[tuple[str, bytes | None], ...]) -> str | None:
    handler = Handler()

    @handler.event("OrderPlaced")
    async def on_order(order: Order) -> None: ...

    app = EVKafkaApp()
    app.add_consumer({"topics": ["orders"], "group_id": "billing", "envelope": "cloudevents"}, handler)
    [consumer] = app.consumers.values()
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
