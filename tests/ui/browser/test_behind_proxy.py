"""The dashboard behind a proxy that serves it under another path and keeps the Host header."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest
import pytest_asyncio
from playwright.async_api import expect
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from evkafka import EVKafkaApp, Handler
from evkafka.http.server import WebServer
from evkafka.testing import InMemoryKafka
from tests.ui.browser.pages import OpenPage, is_401

pytestmark = pytest.mark.asyncio(loop_scope="session")

TOKEN = "a-token-for-this-test"
OF_THE_CONNECTION = {"connection", "transfer-encoding", "content-length"}


class Proxy:
    """Forwards `/shop/...` to `/...` of another server, unchanged."""

    def __init__(self, behind: str, client: httpx.AsyncClient) -> None:
        self._behind = behind
        self._client = client

    def asgi(self) -> Starlette:
        return Starlette(routes=[Route("/shop/{path:path}", self._handed_on, methods=["GET", "POST"])])

    async def _handed_on(self, request: Request) -> Response:
        url = f"{self._behind}{request.path_params['path']}?{request.url.query}"
        sent = self._client.build_request(
            request.method, url, headers=request.headers.raw, content=await request.body()
        )
        answer = await self._client.send(sent, stream=True)
        made = StreamingResponse(answer.aiter_raw(), answer.status_code, background=BackgroundTask(answer.aclose))
        made.raw_headers = [pair for pair in answer.headers.raw if pair[0].decode().lower() not in OF_THE_CONNECTION]
        return made


@pytest_asyncio.fixture(loop_scope="session")
async def proxied() -> AsyncIterator[tuple[str, EVKafkaApp]]:
    app = EVKafkaApp(title="Shop", web=True, web_host="0.0.0.0", web_port=0, ui_token=TOKEN)
    app.add_consumer({"topics": ["orders"], "group_id": "billing"}, Handler(), name="billing")
    async with httpx.AsyncClient(trust_env=False, timeout=240) as client, InMemoryKafka() as kafka:
        async with kafka.running(app):
            assert app.web_url is not None
            server = WebServer(Proxy(app.web_url, client).asgi, host="127.0.0.1", port=0)
            await server.start()
            yield f"{server.url}shop/", app
        await server.stop()


async def test_the_token_the_stream_and_actions_work(proxied: tuple[str, EVKafkaApp], open_page: OpenPage) -> None:
    url, app = proxied
    async with open_page(f"{url}ui", expected=is_401) as page:
        await page.get_by_label("Token").fill(TOKEN)
        await page.keyboard.press("Enter")
        await expect(page.locator("#connection")).to_have_text("Live")
        assert page.url == f"{url}ui"
        await page.get_by_role("link", name="Consumers").first.click()
        await page.get_by_role("button", name="Pause orders[0]").click()
        await page.get_by_role("dialog").get_by_role("button", name="Pause").click()
        await page.get_by_role("dialog", name="Unlock actions").get_by_label("Token").fill(TOKEN)
        await page.get_by_role("dialog").get_by_role("button", name="Unlock").click()
        await expect(page.get_by_text("orders[0] is paused.").first).to_be_visible()
        assert app.consumer("billing").paused
        await page.get_by_role("link", name="API docs").click()
        await expect(page.get_by_role("heading", level=1)).to_have_text("API documentation")
        await page.get_by_role("link", name="Consumers").click()
        await expect(page.locator("#connection")).to_have_text("Live")
