"""A shop on a real Kafka, for tests of its dashboard."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from playwright.async_api import Page, expect

from evkafka import EVKafkaApp, EVKafkaProducer, Handler
from evkafka.broker import KafkaBroker
from tests.support.kafka_topics import MakeTopic

TOKEN = "a-token-for-this-test"
PLANTED = "kolibri-Pa55"
CARD = "4111111111111111"


@dataclass
class Shop:
    """An app that cannot bill in euros until it is fixed, and sends no parcel until the test allows it."""

    topic: str
    app: EVKafkaApp
    producer: EVKafkaProducer
    url: str = ""
    billed: list[int] = field(default_factory=list)
    mended: bool = False
    may_send: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def dead_letters(self) -> str:
        return f"{self.topic}.billing.dlq"

    async def order(self, number: int, currency: str = "USD") -> None:
        event = {"order_id": number, "currency": currency, "card_number": CARD}
        await self.producer.send_event(event, "OrderPlaced", key=str(number))

    async def send(self, event_type: str) -> None:
        await self.producer.send_event({"parcel": 1}, event_type, key="p")


OpenShop = Callable[..., AbstractAsyncContextManager[Shop]]


@pytest.fixture
def shop(kafka_broker: KafkaBroker, topic: MakeTopic) -> OpenShop:
    """Run a shop, which may also read other topics, and missing ones."""

    @asynccontextmanager
    async def running(*other_topics: str) -> AsyncIterator[Shop]:
        name = await topic()
        await topic(name=f"{name}.billing.dlq")
        connection = {"bootstrap_servers": kafka_broker.bootstrap_servers}
        app = EVKafkaApp(title="Shop", web=True, web_port=0, ui_token=TOKEN)
        async with EVKafkaProducer({"topic": name, **connection}) as producer:
            shop = Shop(name, app, producer)
            config: dict[str, Any] = {
                "topics": [name, *other_topics],
                "group_id": "billing",
                "auto_offset_reset": "earliest",
                "auto_commit_interval_ms": 200,
                "concurrency": 4,
                "on_error": {"max_attempts": 1, "then": "dead_letter"},
                "sasl_plain_password": PLANTED,
            }
            app.add_consumer({**config, **connection}, handler_of(shop), name="billing")  # type: ignore[typeddict-item]
            async with app.running():
                assert app.web_url is not None
                shop.url = app.web_url
                try:
                    yield shop
                finally:
                    shop.may_send.set()

    return running


def handler_of(shop: Shop) -> Handler:
    handler = Handler()

    @handler.event("OrderPlaced")
    async def on_placed(event: dict[str, Any]) -> None:
        if event["currency"] == "EUR" and not shop.mended:
            raise LookupError("no rate for EUR")
        shop.billed.append(event["order_id"])

    @handler.event("ParcelPacked")
    async def on_packed(event: dict[str, Any]) -> None:
        await shop.may_send.wait()

    return handler


async def with_token(page: Page) -> None:
    await page.evaluate("(token) => sessionStorage.setItem('evkafka-token', token)", TOKEN)
    await page.reload()


async def confirmed(page: Page, verb: str) -> None:
    """Confirm the dialog, and wait until it is closed."""
    await page.get_by_role("dialog").get_by_role("button", name=verb).click()
    await expect(page.get_by_role("dialog")).to_have_count(0)


async def looked(page: Page) -> None:
    """Load the dead letters, and wait for the answer: a second request before it would discard it."""
    async with page.expect_response(lambda answer: "/api/letters" in answer.url):
        await page.get_by_role("button", name="Search").click()


async def twin(page: Page) -> str:
    """The command that the dialog shows."""
    line = await page.get_by_role("dialog").locator(".command code").text_content()
    assert line is not None
    return line
