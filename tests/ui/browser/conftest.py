"""One browser for each run and one page for each test. After each test, the page must have had no error."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import pytest
import pytest_asyncio
from playwright.async_api import Browser as RunningBrowser
from playwright.async_api import ConsoleMessage, Page, Request, async_playwright, expect

from tests.support.chromium import find_browser
from tests.ui.browser.pages import OpenPage

WAIT_MS = 30_000
expect.set_options(timeout=WAIT_MS)
LISTEN = """
window.violations = [];
document.addEventListener("securitypolicyviolation", (event) =>
  window.violations.push(`${event.violatedDirective}: ${event.blockedURI} ${event.sourceFile ?? ""}`));
"""


@dataclass
class Seen:
    """The errors of a page, and the other hosts that it requested."""

    host: str
    wrong: list[str] = field(default_factory=list)

    def watch(self, page: Page) -> None:
        page.on("console", self._said)
        page.on("pageerror", lambda error: self.wrong.append(f"uncaught: {error}"))
        page.on("request", self._asked)

    def _said(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.wrong.append(f"console {message.type}: {message.text}")

    def _asked(self, request: Request) -> None:
        where = urlsplit(request.url)
        if where.scheme not in ("data", "blob") and where.netloc != self.host:
            self.wrong.append(f"asked another host: {request.url}")


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[RunningBrowser]:
    """The browser. If there is none, every test of a page fails with the reason; none is skipped."""
    chromium = await asyncio.to_thread(find_browser)
    async with async_playwright() as playwright:
        started = await playwright.chromium.launch(
            executable_path=chromium.path,
            args=["--no-sandbox", "--disable-dev-shm-usage", "--disable-background-networking"],
            env={**os.environ, **chromium.environment},
        )
        yield started
        await started.close()


@pytest.fixture
def open_page(browser: RunningBrowser) -> OpenPage:
    """Open a page: `async with open_page(url, dark=True, width=360) as page:`. Fails if the page had an error.

    `script` runs before the page's own.
    """

    @asynccontextmanager
    async def opened(
        url: str,
        *,
        dark: bool = False,
        width: int = 1280,
        height: int = 800,
        script: str = "",
        expected: Callable[[str], bool] = lambda wrong: False,
    ) -> AsyncIterator[Page]:
        context = await browser.new_context(
            color_scheme="dark" if dark else "light",
            viewport={"width": width, "height": height},
            reduced_motion="reduce",
        )
        context.set_default_timeout(WAIT_MS)
        page = await context.new_page()
        await page.add_init_script(LISTEN + script)
        seen = Seen(urlsplit(url).netloc)
        seen.watch(page)
        await page.goto(url, wait_until="load")
        yield page
        wrong = seen.wrong + [f"policy: {one}" for one in await page.evaluate("window.violations")]
        await context.close()
        assert [one for one in wrong if not expected(one)] == []

    return opened
