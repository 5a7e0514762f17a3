"""`make demo`: the page shows flights, a failed one is replayed until it is handled, and the flights begin again."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.async_api import Page, expect

from tests.support.waiting import eventually
from tests.ui.browser.axe import violations
from tests.ui.browser.pages import OpenPage
from tests.ui.browser.shop import confirmed, looked

# It waits for 6 000 flights: seconds, or minutes on a busy machine.
pytestmark = [pytest.mark.kafka, pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(420)]

ROOT = Path(__file__).parents[3]
DEMO = (sys.executable, "-m", "examples.flights.demo", "--keep-running", "--rate", "600", "--port", "0")


@dataclass(frozen=True)
class Demo:
    """The address of its page, and the token that it prints."""

    url: str
    token: str


@asynccontextmanager
async def demo() -> AsyncIterator[Demo]:
    unbuffered = {**os.environ, "PYTHONUNBUFFERED": "1", "COLUMNS": "120"}
    process = await asyncio.create_subprocess_exec(*DEMO, cwd=ROOT, stdout=asyncio.subprocess.PIPE, env=unbuffered)
    assert process.stdout is not None
    try:
        shown = (await asyncio.wait_for(process.stdout.readuntil(b"Ctrl-C stops it"), 120)).decode()
        [url], [token] = re.findall(r"Dashboard +(http://\S+/)ui", shown), re.findall(r"Token +(\S+)", shown)
        all_sent = asyncio.Event()
        reading = asyncio.ensure_future(_read_on(process.stdout, all_sent))  # a full pipe would block the process
        yield Demo(url, token)
        await asyncio.wait_for(all_sent.wait(), 180)  # it does not end with the sample: that is `--keep-running`
        process.send_signal(signal.SIGINT)
        assert await asyncio.wait_for(process.wait(), 60) == 0
        await reading
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def _read_on(output: asyncio.StreamReader, all_sent: asyncio.Event) -> None:
    async for line in output:
        if b"6,000 flights:" in line:  # more than the sample has
            all_sent.set()


async def test_shows_flights_and_a_failed_one_can_be_replayed_until_it_is_handled(
    open_page: OpenPage,
) -> None:
    async with demo() as running, open_page(f"{running.url}ui") as page:
        await expect(page.locator("#connection")).to_have_text("Live")
        tile = page.locator(".tile").filter(has_text="Handled per second")
        await expect(tile.locator(".figure")).not_to_have_text("0")
        in_all = tile.locator(".note")
        await expect(in_all).not_to_have_text(await in_all.inner_text())
        attention = page.locator("#screen li").filter(has_text=re.compile(r"dead letters?$"))
        await expect(attention).to_be_visible()
        assert await violations(page) == []

        await attention.get_by_role("link", name="View dead letters").click()
        await page.get_by_role("button", name="Unlock").click()
        await page.get_by_role("dialog").get_by_label("Token").fill(running.token)
        await confirmed(page, "Unlock")
        await page.get_by_label("Containing").fill("'G7'")
        boxes = page.get_by_role("checkbox", name="Select departures-board")

        async def both_are_there() -> bool:
            await looked(page)
            return await boxes.count() == 2  # this airline has two, whatever the others have

        await eventually(both_are_there, 180)
        await page.get_by_role("button", name="Show").first.click()
        await expect(page.locator(".drawer pre").first).to_contain_text('"carrier": "G7"')
        await eventually(lambda: replayed(page), 180)
        await expect(page.get_by_text("Nothing matches.")).to_be_visible()
        await page.get_by_role("button", name="Replayed").click()
        await expect(page.get_by_role("row").filter(has_text="replayed")).to_have_count(2)


async def replayed(page: Page) -> bool:
    """Replay the dead letters. They fail until the airline is registered, which is the fix."""
    choose = page.get_by_role("checkbox", name="Select all")
    if not await choose.is_checked():
        await choose.check()
    await page.get_by_role("group", name="Selection").get_by_role("button", name="Replay").click()
    await confirmed(page, "Replay")
    result = page.locator(".result .notice")
    await expect(result).to_contain_text("replayed")
    return "2 of 2 dead letters replayed." in await result.inner_text()
