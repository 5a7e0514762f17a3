"""The operations page of a real app on a real Kafka: seen, paused, and a dead letter replayed until it is handled."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from playwright.async_api import Page, expect

from evkafka import EVKafkaApp, EVKafkaProducer, Handler
from evkafka.broker import KafkaBroker
from tests.browser.axe import violations
from tests.browser.conftest import OpenPage
from tests.browser.test_page import SCREENS, shows
from tests.conftest import MakeTopic
from tests.support.waiting import eventually

pytestmark = pytest.mark.asyncio(loop_scope="session")

TOKEN = "a-token-for-this-test"


@dataclass
class Shop:
    """An app that cannot bill in euros until it is mended."""

    topic: str
    producer: EVKafkaProducer
    url: str = ""
    billed: list[int] = field(default_factory=list)
    mended: bool = False

    async def order(self, number: int, currency: str = "USD") -> None:
        event = {"order_id": number, "currency": currency, "card_number": "4111111111111111"}
        await self.producer.send_event(event, "OrderPlaced", key=str(number))


@pytest.fixture
def shop(kafka_broker: KafkaBroker, topic: MakeTopic) -> Any:
    @asynccontextmanager
    async def running() -> AsyncIterator[Shop]:
        name = await topic()
        await topic(name=f"{name}.billing.dlq")
        connection = {"bootstrap_servers": kafka_broker.bootstrap_servers}
        app, handler = EVKafkaApp(title="Shop", web=True, web_port=0, ui_token=TOKEN), Handler()
        async with EVKafkaProducer({"topic": name, **connection}) as producer:
            shop = Shop(name, producer)

            @handler.event("OrderPlaced")
            async def on_placed(event: dict[str, Any]) -> None:
                if event["currency"] == "EUR" and not shop.mended:
                    raise LookupError("no rate for EUR")
                shop.billed.append(event["order_id"])

            on_error = {"max_attempts": 1, "then": "dead_letter"}
            config = {"topics": [name], "group_id": "billing", "auto_offset_reset": "earliest", "on_error": on_error}
            app.add_consumer({**config, **connection}, handler, name="billing")  # type: ignore[typeddict-item]
            async with app.running():
                assert app.web_url is not None
                shop.url = app.web_url
                yield shop

    return running


async def with_token(page: Page) -> None:
    await page.evaluate("(token) => sessionStorage.setItem('evkafka-token', token)", TOKEN)
    await page.reload()


class TestARealApp:
    async def test_its_screens_are_filled_and_axe_finds_nothing_light_or_dark(
        self, shop: Any, open_page: OpenPage
    ) -> None:
        async with shop() as running:
            await running.order(1)
            await running.order(2, "EUR")
            await eventually(lambda: running.billed == [1], 30)
            for dark in (False, True):
                async with open_page(f"{running.url}ui", dark=dark) as page:
                    for screen in SCREENS:
                        await shows(page, running.url, screen)
                        assert (screen, await violations(page)) == (screen, [])
                    for screen, text in (
                        ("events", "OrderPlaced"),
                        ("errors", "no rate for EUR"),
                        ("letters", f"{running.topic}[0]@1"),
                        ("records", '"currency": "EUR"'),
                        ("config", "max_poll_records"),
                    ):
                        await shows(page, running.url, screen)
                        await expect(page.locator("#screen")).to_contain_text(text)
                        await expect(page.locator("body")).not_to_contain_text("4111111111111111")

    async def test_what_it_handles_is_seen_to_come_in_and_pause_pauses(self, shop: Any, open_page: OpenPage) -> None:
        async with shop() as running, open_page(f"{running.url}ui#/consumers") as page:
            await with_token(page)
            row = page.get_by_role("row").filter(has_text=f"{running.topic}[0]")
            position = row.get_by_role("cell").nth(1)
            await expect(position).to_have_text("0")
            await running.order(1)
            await expect(position).to_have_text("1")
            await page.get_by_role("button", name=f"Pause {running.topic}[0]").click()
            await page.get_by_role("dialog").get_by_role("button", name="Pause").click()
            await expect(row).to_contain_text("Paused")
            await running.order(2)
            await expect(row.get_by_role("cell").nth(4)).to_have_text("1")  # behind by one, and stays so
            assert running.billed == [1]
            await page.get_by_role("button", name=f"Resume {running.topic}[0]").click()
            await page.get_by_role("dialog").get_by_role("button", name="Resume").click()
            await eventually(lambda: running.billed == [1, 2], 30)

    async def test_a_dead_letter_is_tried_dry_and_replayed_until_it_is_handled(
        self, shop: Any, open_page: OpenPage
    ) -> None:
        async with shop() as running:
            await running.order(7, "EUR")
            async with open_page(f"{running.url}ui#/errors") as page:
                await expect(page.get_by_text("no rate for EUR").first).to_be_visible()
                await with_token(page)
                await shows(page, running.url, "letters")
                await page.get_by_role("button", name="Show", exact=False).first.click()
                await expect(page.locator("#screen pre").first).to_contain_text('"card_number": "***"')

                await replay(page, "Dry run")
                await expect(page.locator("#told")).to_contain_text("1 letter would be replayed")
                await replay(page, "Replay")
                await expect(page.locator("#told")).to_contain_text("LookupError: no rate for EUR")
                assert running.billed == []

                running.mended = True
                await replay(page, "Replay")
                await expect(page.locator("#told")).to_contain_text("1 letter of 1 replayed.")
                assert running.billed == [7]
                await expect(page.get_by_text("No dead letter is open here.")).to_be_visible()
                await page.get_by_label("Also replayed").check()
                await expect(page.get_by_role("row").filter(has_text="replayed")).to_have_count(1)


async def replay(page: Page, button: str) -> None:
    choose = page.get_by_role("checkbox", name="Choose all")
    if not await choose.is_checked():
        await choose.check()
    await page.get_by_role("button", name=button).first.click()
    await page.get_by_role("dialog").get_by_role("button", name=button).click()
    await expect(page.get_by_role("dialog")).to_have_count(0)
