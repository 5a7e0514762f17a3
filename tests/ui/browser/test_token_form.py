"""The dashboard if other machines can reach it: it shows only a form for the token."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import expect

from evkafka import EVKafkaApp, Handler
from evkafka.http.server import WebServer
from tests.ui.browser.axe import violations, widest
from tests.ui.browser.pages import OpenPage, is_401

pytestmark = pytest.mark.asyncio(loop_scope="session")

TOKEN = "a-token-for-this-test"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def mounted_url() -> AsyncIterator[str]:
    """The address of a mounted page. Who can reach it is not known, so reading needs the token."""
    app, handler = EVKafkaApp(title="Shop", ui_token=TOKEN), Handler()
    app.add_consumer({"topics": ["orders"], "group_id": "billing"}, handler, name="billing")
    server = WebServer(app.asgi, host="127.0.0.1", port=0)
    await server.start()
    yield server.url
    await server.stop()


class TestEntering:
    @pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
    async def test_the_form_is_accessible(self, mounted_url: str, open_page: OpenPage, dark: bool) -> None:
        async with open_page(f"{mounted_url}ui", dark=dark, width=360, expected=is_401) as page:
            await expect(page.get_by_role("heading")).to_have_text("Shop")
            assert await violations(page) == []
            assert await widest(page) == 0

    async def test_a_wrong_token_is_reported_and_the_right_one_opens_the_page(
        self, mounted_url: str, open_page: OpenPage
    ) -> None:
        async with open_page(f"{mounted_url}ui", expected=is_401) as page:
            await page.get_by_label("Token").fill("a guess")
            await page.keyboard.press("Enter")
            await expect(page.get_by_role("alert")).to_have_text("This token is wrong.")
            await page.get_by_label("Token").fill(TOKEN)
            await page.keyboard.press("Enter")
            await expect(page.locator("#connection")).to_have_text("Live")
            await expect(page.get_by_role("heading", level=1)).to_have_text("Overview")

    async def test_leaving_needs_the_token_again(self, mounted_url: str, open_page: OpenPage) -> None:
        async with open_page(f"{mounted_url}ui", expected=is_401) as page:
            await page.get_by_label("Token").fill(TOKEN)
            await page.keyboard.press("Enter")
            await page.get_by_role("button", name="Sign out").click()
            await expect(page.get_by_label("Token")).to_be_visible()
            await page.goto(f"{mounted_url}ui")
            await expect(page.get_by_label("Token")).to_be_visible()
