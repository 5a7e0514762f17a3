"""Takes the screenshots of the documentation: `python -m tools.screenshots` runs the demo and opens its pages.

Writes docs/images/*.png. Needs what the tests need: a real Kafka from pinned jars, and a Chromium.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import signal
import sys
from pathlib import Path

from playwright.async_api import Browser, Page, ViewportSize, async_playwright, expect
from tests.support.chromium import find_browser

IMAGES = Path(__file__).parent.parent / "docs" / "images"
SIZE = ViewportSize(width=1280, height=770)
TALL = ViewportSize(width=1280, height=1060)
PHONE = ViewportSize(width=360, height=720)
DEMO = (sys.executable, "-m", "examples.flights.demo", "--keep-running", "--rate", "60")
PAGE_URL = re.compile(rb"(http://\S+/)ui")
TIMEOUT_S = 60.0


async def main(demo_s: float) -> None:
    IMAGES.mkdir(parents=True, exist_ok=True)
    unbuffered = {**os.environ, "PYTHONUNBUFFERED": "1"}
    demo = await asyncio.create_subprocess_exec(*DEMO, stdout=asyncio.subprocess.PIPE, env=unbuffered)
    assert demo.stdout is not None
    try:
        url = await asyncio.wait_for(_read_url(demo.stdout), TIMEOUT_S)
        reading = asyncio.ensure_future(demo.stdout.read())  # so that a full pipe never blocks the demo
        await asyncio.wait([reading], timeout=demo_s)  # until the charts have data
        await take_screenshots(url)
    finally:
        demo.send_signal(signal.SIGINT)
        await asyncio.wait_for(demo.wait(), TIMEOUT_S)


async def _read_url(output: asyncio.StreamReader) -> str:
    async for line in output:
        if found := PAGE_URL.search(line):
            return found[1].decode()
    raise SystemExit("the demo ended before it printed the address of its page")


async def take_screenshots(url: str) -> None:
    chromium = find_browser()
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=chromium.path, args=["--no-sandbox"], env={**os.environ, **chromium.environment}
        )
        for dark in (False, True):
            page = await open_page(browser, SIZE, dark=dark)
            await open_overview(page, url)
            await page.screenshot(path=IMAGES / f"overview-{'dark' if dark else 'light'}.png")
        page = await open_page(browser, SIZE)
        await page.goto(f"{url}ui#/consumers?consumer=board")
        await expect(page.get_by_role("button", name="Pause").first).to_be_visible()
        await expect(page.locator("canvas")).to_have_count(3)
        await page.screenshot(path=IMAGES / "consumers.png")
        await page.goto(url)
        await page.screenshot(path=IMAGES / "contract.png")
        page = await open_page(browser, TALL)
        await page.goto(f"{url}ui#/letters?q='G7'")
        await page.locator(".letter-rows tbody tr").first.click()
        await page.screenshot(path=IMAGES / "dead-letters.png")
        page = await open_page(browser, PHONE, dark=True)
        await open_overview(page, url)
        await page.screenshot(path=IMAGES / "phone.png")
        await browser.close()


async def open_overview(page: Page, url: str) -> None:
    await page.goto(f"{url}ui")
    await expect(page.locator("#connection")).to_have_text("Live")
    await expect(page.locator("canvas")).to_have_count(3)


async def open_page(browser: Browser, size: ViewportSize, *, dark: bool = False) -> Page:
    context = await browser.new_context(
        color_scheme="dark" if dark else "light", locale="en-US", viewport=size, reduced_motion="reduce"
    )
    context.set_default_timeout(TIMEOUT_S * 1000)
    return await context.new_page()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tools.screenshots", description=__doc__)
    parser.add_argument("--seconds", type=float, default=320.0, help="how long the demo runs first (320)")
    asyncio.run(main(parser.parse_args().seconds))
