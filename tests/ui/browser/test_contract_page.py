"""The API documentation in a real browser: read, searched, dark, narrow, without other hosts."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Annotated, Any, Literal

import pytest
import pytest_asyncio
from playwright.async_api import expect
from pydantic import BaseModel, Field

from evkafka import EVKafkaApp, Handler
from evkafka.http.server import WebServer
from tests.ui.browser.axe import violations, widest
from tests.ui.browser.pages import OpenPage, is_401

pytestmark = pytest.mark.asyncio(loop_scope="session")

TOKEN = "a-token-for-this-test"


class Item(BaseModel):
    sku: str
    pieces: Annotated[int, Field(gt=0, description="At least **one**")]


class OrderPlaced(BaseModel):
    """An order that a customer placed."""

    order_id: int
    items: list[Item]
    placed_at: datetime
    channel: Literal["shop", "phone"] = "shop"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def contract_url() -> AsyncIterator[str]:
    """The page of an app that is not started, so it needs no Kafka."""
    app, handler = EVKafkaApp(title="Orders", description="What the *shop* tells.", ui_token=TOKEN), Handler()

    @handler.event("OrderPlaced", summary="An order was placed", tags=["orders"])
    async def on_placed(event: OrderPlaced) -> None:
        """Bills it."""

    @handler.event(
        "OrderCancelled",
        description='<img src="https://example.org/x.png" onerror="alert(1)"> [no](javascript:alert(1))',
    )
    async def on_cancelled(event: dict[str, str]) -> None:
        """Takes the bill back."""

    policy: Any = {"max_attempts": 3, "then": "dead_letter"}
    app.add_consumer({"topics": ["orders"], "group_id": "billing", "on_error": policy}, handler)
    server = WebServer(app.asgi, host="127.0.0.1", port=0)
    await server.start()
    yield server.url
    await server.stop()


class TestTheContractPage:
    @pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
    async def test_axe_finds_nothing_and_nothing_is_asked_of_other_hosts(
        self, contract_url: str, open_page: OpenPage, dark: bool
    ) -> None:
        async with open_page(contract_url, dark=dark) as page:
            for details in await page.locator("details").all():
                await details.evaluate("(one) => { one.open = true; }")
            assert await violations(page) == []

    async def test_has_the_frame_and_the_theme_of_the_operations_page(
        self, contract_url: str, open_page: OpenPage
    ) -> None:
        async with open_page(contract_url, expected=is_401) as page:
            await page.get_by_role("button", name="Theme").click()
            await expect(page.locator("html")).to_have_attribute("data-theme", "light")
            await expect(page.locator("nav [aria-current=page]")).to_have_text("API docs")
            labels = await page.locator("#screens li").all_inner_texts()
            await page.get_by_role("link", name="Consumers", exact=True).click()
            await page.get_by_label("Token").fill(TOKEN)
            await page.keyboard.press("Enter")
            await expect(page.locator("#heading")).to_have_text("Overview")
            items = await page.locator("#screens li").all_inner_texts()
            assert [item.partition("\n")[0] for item in items] == labels  # without the numbers
            await expect(page.locator("html")).to_have_attribute("data-theme", "light")

    async def test_a_link_to_a_folded_copy_opens_it(self, contract_url: str, open_page: OpenPage) -> None:
        async with open_page(contract_url) as page:
            article = page.locator("#message-OrderPlaced-dead-letter")
            await expect(article).to_be_hidden()
            await page.locator(".contents summary").last.click()
            await page.locator(".contents").get_by_role("link", name="OrderPlaced, dead letter").click()
            await expect(article).to_be_visible()

    async def test_fits_a_phone(self, contract_url: str, open_page: OpenPage) -> None:
        async with open_page(contract_url, width=360) as page:
            assert await widest(page) <= 0
            assert await violations(page) == []

    async def test_works_with_the_keyboard(self, contract_url: str, open_page: OpenPage) -> None:
        async with open_page(contract_url) as page:
            await page.get_by_label("Search topics").fill("cancelled")
            await page.keyboard.press("Enter")
            await page.get_by_role("status").filter(has_text="found for “cancelled”").wait_for()
            assert await page.locator("#message-OrderPlaced").count() == 0
            await page.get_by_role("link", name="Show everything").press("Enter")
            link = page.get_by_role("link", name="OrderPlaced").first
            await link.press("Enter")
            assert "#message-" in page.url
