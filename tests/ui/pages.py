"""The dashboard of an app on a real Kafka."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from evkafka import EVKafkaApp, EVKafkaProducer, Handler
from evkafka.broker import KafkaBroker
from tests.support.kafka_topics import MakeTopic
from tests.support.waiting import eventually

TOKEN = "let-me"


class Page:
    """The page of a running app, requested as its scripts do."""

    def __init__(self, client: httpx.AsyncClient, app: EVKafkaApp, topic: str, servers: str) -> None:
        self.client = client
        self.app = app
        self.topic = topic
        self.servers = servers

    async def ask(self, path: str, **query: Any) -> Any:
        answer = await self.client.get(f"ui/api/{path}", params=query)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def order(self, path: str, token: str = TOKEN, **body: Any) -> Any:
        answer = await self.client.post(f"ui/api/{path}", content=json.dumps(body), headers=headers(token))
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def snapshot(self) -> Any:
        async with self.client.stream("GET", "ui/api/events") as answer:
            async for line in answer.aiter_lines():
                if line.startswith("data: "):
                    return json.loads(line.removeprefix("data: "))
        return None

    async def shows(self, wanted: Callable[[Any], Any]) -> Any:
        """Wait for the first snapshot that fulfils the condition."""

        async def shown() -> Any:
            one = await self.snapshot()
            return one if wanted(one) else None

        return await eventually(shown)

    async def send(self, event_type: str, *events: Any, key: str | None = None) -> None:
        async with EVKafkaProducer({"bootstrap_servers": self.servers, "topic": self.topic}) as producer:
            for event in events:
                await producer.send_event(event, event_type, key=key)


def headers(token: str = TOKEN) -> dict[str, str]:
    return {"authorization": f"Bearer {token}", "content-type": "application/json"}


class Shop:
    """A handler that a test can block and break."""

    def __init__(self) -> None:
        self.handler = Handler()
        self.broken = True
        self.gate = asyncio.Event()
        self.done: list[int] = []

        @self.handler.event("OrderPlaced")
        async def on_order(order: dict[str, Any]) -> None:
            self.done.append(order["id"])

        @self.handler.event("Poison")
        async def on_poison(order: dict[str, Any]) -> None:
            if self.broken:
                raise ZeroDivisionError("division by zero")
            self.done.append(order["id"])

        @self.handler.event("Slow")
        async def on_slow(order: dict[str, Any]) -> None:
            await self.gate.wait()


@pytest.fixture
def shop() -> Shop:
    return Shop()


@asynccontextmanager
async def opened(broker: KafkaBroker, topic: str, shop: Shop, **config: Any) -> AsyncIterator[Page]:
    app = EVKafkaApp(title="Shop", web=True, web_port=0, ui_token=TOKEN)
    policy = {"max_attempts": 1, "then": "dead_letter"}
    settings: dict[str, Any] = {
        "topics": [topic],
        "bootstrap_servers": broker.bootstrap_servers,
        "group_id": f"shop-{topic}",
        "auto_offset_reset": "earliest",
        "on_error": policy,
        "auto_commit_interval_ms": 200,
        **config,
    }
    if "topic_pattern" in config:
        del settings["topics"]
    app.add_consumer(settings, shop.handler, name="shop")  # type: ignore[arg-type]
    async with httpx.AsyncClient(trust_env=False, timeout=240) as client, app.running():
        assert app.web_url is not None
        client.base_url = app.web_url
        try:
            yield Page(client, app, topic, broker.bootstrap_servers)
        finally:
            shop.gate.set()


@pytest.fixture
async def page(kafka_broker: KafkaBroker, topic: MakeTopic, shop: Shop) -> AsyncIterator[Page]:
    async with opened(kafka_broker, await topic(partitions=2), shop) as one:
        yield one
