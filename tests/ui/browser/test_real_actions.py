"""The actions of the dashboard on a real Kafka, each with the command that does the same."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import re
import shlex
import subprocess
import sys

import pytest
from playwright.async_api import Locator, Page, expect

from tests.support.curl import curl
from tests.support.waiting import eventually
from tests.ui.browser.pages import OpenPage, shows
from tests.ui.browser.shop import TOKEN, OpenShop, Shop, confirmed, looked, shop, twin, with_token

__all__ = ["shop"]

HAS_TOKEN = {"EVKAFKA_UI_TOKEN": TOKEN}

pytestmark = pytest.mark.asyncio(loop_scope="session")


def partition_of(page: Page, running: Shop) -> Locator:
    return page.get_by_role("row").filter(has_text=f"{running.topic}[0]").first


async def evkafka(line: str, servers: str) -> str:
    """The output of the command, run with the brokers in place of the app."""
    program, *arguments = shlex.split(line.replace("--app MODULE:APP", f"--bootstrap-servers {servers}"))
    assert program == "evkafka"
    command = [sys.executable, "-m", "evkafka.cli", *arguments]
    done = await asyncio.to_thread(
        subprocess.run, command, capture_output=True, text=True, timeout=120, env={**os.environ, "NO_COLOR": "1"}
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


class TestConsumers:
    async def test_a_partition_is_paused_and_resumed_and_the_audit_log_has_the_address(
        self, shop: OpenShop, open_page: OpenPage, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.INFO, "evkafka.audit")
        async with shop() as running, open_page(f"{running.url}ui#/consumers") as page:
            await with_token(page)
            row = partition_of(page, running)
            await running.order(1)
            await expect(row.get_by_role("cell").nth(1)).to_have_text("1")
            await page.get_by_role("button", name=f"Pause {running.topic}[0]").click()
            pause = await twin(page)
            await confirmed(page, "Pause")
            await expect(row).to_contain_text("no records are handled until it is resumed")
            await running.order(2)
            await expect(row.get_by_role("cell").nth(4)).to_have_text("1")  # the lag stays 1
            assert running.billed == [1]
            await page.get_by_role("button", name=f"Resume {running.topic}[0]").click()
            resume = await twin(page)
            await confirmed(page, "Resume")
            await eventually(lambda: running.billed == [1, 2])

            assert await curl(pause, HAS_TOKEN) == {"done": "paused"}
            await expect(row).to_contain_text("no records are handled until")
            assert await curl(resume, HAS_TOKEN) == {"done": "resumed"}
            await expect(row).not_to_contain_text("no records are handled until")
        messages = [record.getMessage() for record in caplog.records if record.name == "evkafka.audit"]
        assert [line.partition(" ")[0] for line in messages] == ["pause", "resume", "pause", "resume"]
        assert all("from 127.0.0.1" in line and running.topic in line for line in messages)
        assert not any(TOKEN in line for line in messages)

    async def test_a_partition_is_read_again_from_an_offset(self, shop: OpenShop, open_page: OpenPage) -> None:
        async with shop() as running, open_page(f"{running.url}ui#/consumers") as page:
            await with_token(page)
            for number in (1, 2, 3):
                await running.order(number)
            await eventually(lambda: len(running.billed) == 3)
            await page.get_by_role("button", name=f"Seek {running.topic}[0]").click()
            await page.get_by_role("dialog").get_by_label("Offset").fill("1")
            await expect(page.get_by_role("dialog").locator(".command code")).to_contain_text('"offset":1')
            seek = await twin(page)
            await confirmed(page, "Seek")
            await expect(page.locator("#told")).to_contain_text(f"{running.topic}[0] continues at offset 1.")
            await eventually(lambda: sorted(running.billed) == [1, 2, 2, 3, 3])

            assert await curl(seek, HAS_TOKEN) == {"done": "reads on at 1"}
            await eventually(lambda: sorted(running.billed) == [1, 2, 2, 2, 3, 3, 3])


class TestDeadLetters:
    async def test_one_is_found_dry_run_and_replayed_until_it_is_handled(
        self, shop: OpenShop, open_page: OpenPage
    ) -> None:
        async with shop() as running:
            await running.order(7, "EUR")
            async with open_page(f"{running.url}ui#/errors") as page:
                await expect(page.get_by_text("no rate for EUR").first).to_be_visible()
                await with_token(page)
                await shows(page, running.url, "letters")
                await self._looked_for(page)
                await page.get_by_role("button", name="Show", exact=False).first.click()
                await expect(page.locator(".drawer")).to_contain_text(f"/{running.topic}:")
                await expect(page.locator(".drawer pre").first).to_contain_text('"card_number": "***"')
                await page.keyboard.press("Escape")

                result = page.locator(".result")
                await order(page, dry_run=True)
                await expect(result).to_contain_text("0 of 1 dead letter replayed. 1 failed and stays open.")
                await expect(result).to_contain_text("LookupError: no rate for EUR")
                assert running.billed == []
                badge = page.locator("#screens a").filter(has_text="Dead letters").locator(".count")
                await expect(badge).to_have_text("1")

                running.mended = True
                await order(page)
                await expect(result).to_contain_text("1 of 1 dead letter replayed.")
                assert running.billed == [7]
                await expect(page.get_by_text("Nothing matches.")).to_be_visible()
                await expect(badge).to_be_empty()
                await page.get_by_role("button", name="Replayed").click()
                await expect(page.get_by_role("button", name="Show billing")).to_have_count(1)

    async def _looked_for(self, page: Page) -> None:
        containing, boxes = page.get_by_label("Containing"), page.get_by_role("checkbox", name="Select billing")

        async def is_written() -> bool:  # a moment after its error is shown
            await looked(page)
            return await boxes.count() == 1

        await eventually(is_written)
        for text, found in (("a rate for CHF", 0), ("RATE for eur", 1)):
            await containing.fill(text)
            await containing.press("Enter")
            await expect(boxes).to_have_count(found)

    async def test_some_are_discarded_on_the_page_and_others_by_the_command(
        self, shop: OpenShop, open_page: OpenPage, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.INFO, "evkafka.audit")
        async with shop() as running:
            for number in (1, 2, 3):
                await running.order(number, "EUR")
            servers = running.producer.settings.connection.bootstrap_servers[0]
            async with open_page(f"{running.url}ui#/letters") as page:
                await with_token(page)
                boxes = page.get_by_role("checkbox", name="Select billing")

                async def all_there() -> bool:
                    await looked(page)
                    return await boxes.count() == 3

                await eventually(all_there)
                await page.get_by_role("checkbox", name=letter(running, 0)).check()
                await page.get_by_role("checkbox", name=letter(running, 1)).check()
                await page.get_by_role("button", name="Discard…").click()
                await page.get_by_role("dialog").get_by_label("Reason").fill("bought twice")
                drop = await twin(page)
                await confirmed(page, "Discard")
                await expect(page.locator(".result")).to_contain_text("2 of 2 dead letters discarded.")
                await expect(boxes).to_have_count(1)

                assert "1 discarded" in await evkafka(drop.replace("0@0-1", "0@1-2", 1), servers)
                await page.get_by_role("button", name="Search").click()
                await expect(page.get_by_text(f"No open dead letters in {running.dead_letters}.")).to_be_visible()
        [message] = [record.getMessage() for record in caplog.records if record.name == "evkafka.audit"]
        assert "letters/drop" in message
        assert "bought twice" in message


def letter(running: Shop, offset: int) -> re.Pattern[str]:
    """The checkbox of the record at this offset. Its id also has the ids of cluster and topic."""
    return re.compile(rf"Select billing.+{running.topic}:.+\b0\W{offset}$")


class TestRecords:
    async def test_are_found_by_offset_by_time_and_newest_first_and_the_command_finds_the_same(
        self, shop: OpenShop, open_page: OpenPage
    ) -> None:
        async with shop() as running:
            for number in range(60):
                await running.order(number)
            async with open_page(f"{running.url}ui#/records?topic={running.topic}&partition=0&offset=55") as page:
                offsets = page.locator("#screen tbody th.number")
                await expect(offsets).to_have_text(["55", "56", "57", "58", "59"])
                await page.get_by_role("button", name="Older").click()
                await expect(offsets.first).to_have_text("5")
                line = await page.locator(".command code").text_content()
                assert line is not None
                output = await evkafka(f"{line} --json", running.producer.settings.connection.bootstrap_servers[0])
                printed = [json.loads(one)["offset"] for one in output.splitlines()]
                assert printed == list(range(5, 55))

                await page.get_by_label("Start at").select_option("newest")
                await page.get_by_role("button", name="Search", exact=True).click()
                await expect(offsets.first).to_have_text("59")
                await page.get_by_label("Start at").select_option("time")
                await page.get_by_label("Time (of this browser)").fill("2001-01-01T00:00:00")
                await page.get_by_role("button", name="Search", exact=True).click()
                await expect(offsets.first).to_have_text("0")
                await page.get_by_role("button", name="Details of 0@3", exact=True).click()
                await expect(page.locator("#screen pre").filter(visible=True).first).to_contain_text('"order_id": 3')
                await page.get_by_label("Time (of this browser)").fill("2101-01-01T00:00:00")
                await page.get_by_role("button", name="Search", exact=True).click()
                await expect(page.get_by_text("No record there")).to_be_visible()


async def order(page: Page, *, dry_run: bool = False) -> None:
    choose = page.get_by_role("checkbox", name="Select all")
    if not await choose.is_checked():
        await choose.check()
    await page.get_by_role("group", name="Selection").get_by_role("button", name="Replay").click()
    if dry_run:
        await page.get_by_role("dialog").get_by_role("button", name="Dry run").click()
        await expect(page.get_by_role("dialog")).to_contain_text("1 of 1 dead letter would reach an endpoint")
    await confirmed(page, "Replay")
