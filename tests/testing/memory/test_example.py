"""The example of the specification."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from evkafka import DeadLetter, EVKafkaApp, Handler
from evkafka.testing import InMemoryKafka


def billing(*, bad: bool) -> EVKafkaApp:
    handler = Handler()

    @handler.event("OrderPlaced")
    async def on_order(order: dict[str, Any]) -> DeadLetter | None:
        return DeadLetter("bad") if bad else None

    app = EVKafkaApp()
    app.add_consumer({"topics": ["orders"], "group_id": "billing"}, handler)
    return app


class TestTheExample:
    async def test_runs_as_written_with_a_new_topic_and_the_default_reset(self) -> None:
        app, event = billing(bad=True), {"number": 1}

        async with InMemoryKafka(seed=1) as kafka, kafka.running(app):
            await kafka.send("orders", event, event_type="OrderPlaced", key="1")
            await kafka.settle()  # the clock jumps until nothing is due; or: await kafka.advance(ms=…)
        kafka.assert_committed(group="billing", topic="orders", partition=0, offset=1)
        [dead] = kafka.records("orders.billing.dlq")

        assert dead.json() == event
        assert dead.header("evkafka-dlq-topic") == b"orders"

    async def test_a_dead_letter_has_failed_at_the_time_of_the_records(self) -> None:
        async with InMemoryKafka() as kafka, kafka.running(billing(bad=True)):
            sent = await kafka.send("orders", {}, event_type="OrderPlaced")
            await kafka.settle()
        [dead] = kafka.records("orders.billing.dlq")
        failed_at = datetime.fromisoformat((dead.header("evkafka-dlq-failed-at") or b"").decode())
        assert sent.timestamp <= failed_at.timestamp() * 1000 <= dead.timestamp

    @pytest.mark.parametrize("seed", range(20))
    async def test_runs_with_any_seed(self, seed: int) -> None:
        app = billing(bad=False)
        async with InMemoryKafka(seed=seed) as kafka, kafka.running(app):
            for number in range(3):
                await kafka.send("orders", {"number": number}, event_type="OrderPlaced", key="1")
            await kafka.settle()
        kafka.assert_committed(group="billing", topic="orders", partition=0, offset=3)
        assert kafka.records("orders.billing.dlq") == []
