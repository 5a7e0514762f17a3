"""An app that consumes, sends and writes dead letters with one login."""

from __future__ import annotations

import asyncio
import json
import logging
import uuid
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from evkafka import EVKafkaApp, Handler, Sender
from evkafka.broker import KafkaBroker
from evkafka.service.process import run_to_exit_code
from tests.support.waiting import eventually


@dataclass
class Shop:
    """Attributes:
    admin: the address of the listener without a login.
    handled: the orders that the endpoint has finished.
    """

    admin: str
    orders: str = field(default_factory=lambda: f"orders-{uuid.uuid4().hex[:8]}")
    handled: list[int] = field(default_factory=list)

    @property
    def group(self) -> str:
        return f"{self.orders}-billing"

    @property
    def bills(self) -> str:
        return f"{self.orders}-bills"

    @property
    def dead(self) -> str:
        return f"{self.orders}.{self.group}.dlq"

    def app(self, servers: str, login: dict[str, Any], *, sends: bool = True, **more: Any) -> EVKafkaApp:
        """Args:
        sends: whether it has a producer too.
        """
        handler, sender = Handler(), Sender()

        @sender.event("Billed")
        async def send_bill(bill: dict[str, Any]) -> None: ...

        @handler.event("Placed")
        async def on_placed(order: dict[str, Any]) -> None:
            if order["n"] < 0:
                raise ValueError("no such order")
            if sends:
                await send_bill({"n": order["n"]})
            self.handled.append(order["n"])

        consumer: Any = {
            "topics": [self.orders],
            "bootstrap_servers": servers,
            "group_id": self.group,
            "auto_offset_reset": "earliest",
            "auto_commit_interval_ms": 100,
            "on_error": {"max_attempts": 1, "then": "dead_letter"},
            **login,
            **more,
        }
        producer: Any = {"bootstrap_servers": servers, "topic": self.bills, **login}
        app = EVKafkaApp()
        app.add_consumer(consumer, handler)
        if sends:
            app.add_producer(producer, sender)
        return app

    async def make_topics(self, *names: str) -> None:
        admin = AIOKafkaAdminClient(bootstrap_servers=self.admin)
        await admin.start()
        try:
            topics = names or (self.orders, self.bills)
            response = await admin.create_topics([NewTopic(name, 1, 1) for name in topics])
            assert [code for _, code, _ in response.topic_errors] == [0] * len(topics)
        finally:
            await admin.close()

    async def place(self, *numbers: int) -> None:
        async with AIOKafkaProducer(bootstrap_servers=self.admin) as producer:
            for n in numbers:
                value = json.dumps({"n": n}).encode()
                await producer.send_and_wait(self.orders, value, headers=[("Event-Type", b"Placed")])

    async def read(self, topic: str, count: int) -> list[int]:
        consumer = AIOKafkaConsumer(topic, bootstrap_servers=self.admin, auto_offset_reset="earliest")
        await consumer.start()
        try:
            return [json.loads((await consumer.getone()).value)["n"] for _ in range(count)]
        finally:
            await consumer.stop()


def refusal(app: EVKafkaApp, caplog: pytest.LogCaptureFixture) -> tuple[int, str]:
    """Run the app; return the exit code of `evkafka run` and the last CRITICAL log line."""
    with caplog.at_level(logging.DEBUG):
        code = run_to_exit_code(lambda: asyncio.wait_for(app.serve(install_signal_handlers=False), 60))
    return code, next(line.getMessage() for line in reversed(caplog.records) if line.levelno == logging.CRITICAL)


async def check_app(broker: KafkaBroker, listener: str, keys: dict[str, Any]) -> None:
    shop = Shop(broker.servers())
    await shop.make_topics()
    await shop.place(1, -1, 2)
    async with shop.app(broker.servers(listener), keys).running():
        await eventually(lambda: shop.handled == [1, 2])
        assert await shop.read(shop.bills, 2) == [1, 2]
        assert await shop.read(shop.dead, 1) == [-1]
