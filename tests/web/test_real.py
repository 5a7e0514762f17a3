"""The web server on a real broker and the real clock: code that blocks the event loop is named."""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from evkafka import EVKafkaApp, EVKafkaProducer, Handler
from evkafka.broker import KafkaBroker
from tests.support.http_client import get
from tests.support.kafka_topics import MakeTopic
from tests.support.waiting import eventually


class FirstLine(logging.Handler):
    """Keeps the first line about an endpoint, in any thread. On a slow machine the start of the app is reported too."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.there = threading.Event()
        self.record: logging.LogRecord | None = None

    def emit(self, record: logging.LogRecord) -> None:
        if self.record is None and hasattr(record, "handler"):
            self.record = record
            self.there.set()


@pytest.fixture
def log() -> Iterator[FirstLine]:
    first, logger = FirstLine(), logging.getLogger("evkafka.loop")
    logger.addHandler(first)
    yield first
    logger.removeHandler(first)


async def test_an_endpoint_that_blocks_the_loop_is_named_while_it_does(
    kafka_broker: KafkaBroker, topic: MakeTopic, log: FirstLine
) -> None:
    name, handler = await topic(), Handler()

    @handler.event("OrderPlaced")
    async def on_order(event: dict[str, Any]) -> None:
        assert log.there.wait(60)  # block the loop until it is noticed

    app = EVKafkaApp(web=True, web_port=0)
    connection = {"bootstrap_servers": kafka_broker.bootstrap_servers}
    app.add_consumer(
        {"topics": [name], "group_id": name, "auto_offset_reset": "earliest", **connection}, handler, name="billing"
    )
    async with EVKafkaProducer({"topic": name, **connection}) as producer:
        await producer.send_event({}, "OrderPlaced")
    async with app.running():
        await eventually(lambda: log.record)
        record = log.record
        assert record is not None
        assert re.search(rf"on_order has blocked the event loop for \d+\.\d s at {name}\[0\]@0", record.getMessage())

        async def is_counted() -> bool:
            text = (await get(app.web_url, "metrics")).text
            return any(line.startswith("evkafka_event_loop_blocked_total{") for line in text.splitlines())

        await eventually(is_counted)
        verbose = (await get(app.web_url, "livez?verbose")).json()
        [note] = verbose["consumers"]["billing"]["notes"]
        assert "on_order blocked the event loop for" in note
        assert "evkafka_event_loop_lag_seconds" in (await get(app.web_url, "metrics")).text
