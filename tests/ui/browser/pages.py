"""Pages in a browser, and what tests expect on them."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

from playwright.async_api import Page, expect

OpenPage = Callable[..., AbstractAsyncContextManager[Page]]


def is_401(wrong: str) -> bool:
    return "401" in wrong


LOADING = re.compile("^(Loading|Checking|Searching|Looking)…$")
SCREENS = ("overview", "consumers", "events", "errors", "letters", "records", "config", "check")
DETAILS = ("consumers?consumer=billing", "consumers?consumer=billing&topic=payments&partition=1")


async def shows(page: Page, url: str, screen: str) -> None:
    await page.goto(f"{url}ui#/{screen}")
    await expect(page.locator("#connection")).to_have_text("Live")
    await expect(page.get_by_text(LOADING)).to_have_count(0)
