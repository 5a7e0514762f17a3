"""Every screen of the dashboard on a real Kafka, with typical content."""

from __future__ import annotations

import pytest
from playwright.async_api import expect

from tests.support.kafka_topics import MakeTopic
from tests.support.waiting import eventually
from tests.ui.browser.axe import violations, widest
from tests.ui.browser.pages import SCREENS, OpenPage, shows
from tests.ui.browser.shop import CARD, PLANTED, OpenShop, shop

__all__ = ["shop"]

pytestmark = pytest.mark.asyncio(loop_scope="session")


class TestEveryScreen:
    @pytest.mark.parametrize(("dark", "width"), [(False, 1280), (True, 1280), (True, 360)])
    async def test_fits_shows_no_secret_and_axe_finds_nothing(
        self, shop: OpenShop, open_page: OpenPage, dark: bool, width: int
    ) -> None:
        async with shop() as running:
            await running.order(1)
            await running.order(2, "EUR")
            await running.send("ParcelPacked")
            await running.send("Strange")
            await eventually(lambda: running.billed == [1])
            async with open_page(f"{running.url}ui", dark=dark, width=width) as page:
                await expect(page.locator("#screens").get_by_text("Dead letters")).to_contain_text("1")
                for screen in SCREENS:
                    await shows(page, running.url, screen)
                    for button in (await page.get_by_role("button", name="Show").all())[:1]:
                        await button.click()
                    for details in await page.locator("details").all():
                        await details.evaluate("(one) => { one.open = true; }")
                    assert (screen, await violations(page)) == (screen, [])
                    assert (screen, await widest(page)) == (screen, 0)
                    for secret in (CARD, PLANTED):
                        await expect(page.locator("body")).not_to_contain_text(secret)


class TestOverview:
    async def test_shows_rates_errors_lag_durations_and_problems(self, shop: OpenShop, open_page: OpenPage) -> None:
        async with shop() as running, open_page(f"{running.url}ui") as page:
            await expect(page.get_by_text("No problems")).to_be_visible()
            tiles = page.locator(".tile")
            for number in range(100):
                await running.order(number, "EUR" if number % 10 == 0 else "USD")
            await expect(tiles.filter(has_text="Handled per second").locator(".figure")).not_to_have_text("0")
            await expect(tiles.filter(has_text="Failed per second").locator(".figure")).not_to_have_text("0")
            await expect(tiles.filter(has_text="Handled per second")).to_contain_text("100 in total")
            await expect(tiles.filter(has_text="p95 of an attempt")).to_contain_text("median")
            await expect(tiles.filter(has_text="p95 of an attempt").locator(".figure")).to_contain_text("s")
            await expect(tiles.filter(has_text="Dead letters").locator(".figure")).to_have_text("10")
            await running.send("ParcelPacked")
            await expect(tiles.filter(has_text="Lag").locator(".figure")).to_have_text("1")
            await expect(tiles.filter(has_text="In flight")).to_contain_text("oldest:")
            for chart in ("Records per second", "Lag in records", "Duration of an attempt"):
                await expect(page.get_by_role("img", name=chart)).to_be_visible()
            await expect(page.get_by_role("img", name="Lag in records")).to_have_attribute(
                "aria-label", "Lag in records: now lag 1"
            )
            await expect(page.locator("canvas")).to_have_count(3)
            await expect(page.get_by_role("row").filter(has_text="billing")).to_contain_text("Reading")
            await page.locator("#screen").get_by_role("link", name="View dead letters").click()
            await expect(page.locator("#heading")).to_have_text("Dead letters")


class TestConsumers:
    async def test_shows_partitions_and_running_attempts_with_their_age(
        self, shop: OpenShop, open_page: OpenPage
    ) -> None:
        async with shop() as running, open_page(f"{running.url}ui#/consumers") as page:
            cells = page.get_by_role("row").filter(has_text=f"{running.topic}[0]").get_by_role("cell")
            await running.order(1)
            await running.order(2)
            for column, text in enumerate(("Reading", "2", "2", "2", "0", "0", "\N{EN DASH}")):  # state, position...
                await expect(cells.nth(column)).to_have_text(text)
            await running.send("ParcelPacked")
            for column, text in enumerate(("Reading", "3", "2", "3", "1", "1")):
                await expect(cells.nth(column)).to_have_text(text)
            await expect(cells.nth(6)).to_contain_text("s")  # the age of the oldest record
            await page.get_by_text("In flight (1)").click()
            runs = page.get_by_role("row").filter(has_text=f"{running.topic}[0]@2")
            await expect(runs).to_contain_text("ParcelPacked")
            await expect(runs).to_contain_text("on_packed")


class TestEvents:
    async def test_shows_counts_percentiles_the_last_error_and_unmatched_records(
        self, shop: OpenShop, open_page: OpenPage
    ) -> None:
        async with shop() as running, open_page(f"{running.url}ui#/events") as page:
            await running.order(1)
            await running.order(2, "EUR")
            await running.send("Strange")
            row = page.get_by_role("row").filter(has_text="OrderPlaced")
            await expect(row.get_by_role("rowheader")).to_contain_text("on_placed")
            await expect(row.get_by_role("cell").nth(0)).to_have_text("2")
            for column in (2, 3, 4):
                await expect(row.get_by_role("cell").nth(column)).to_contain_text("s")
            await expect(row.get_by_role("cell").nth(5)).to_have_text("1")
            await expect(row).to_contain_text("LookupError: no rate for EUR")
            await expect(page.get_by_role("row").filter(has_text="Strange")).to_contain_text(
                "no endpoint for this type"
            )


class TestErrors:
    async def test_are_grouped_and_link_to_their_records(self, shop: OpenShop, open_page: OpenPage) -> None:
        async with shop() as running, open_page(f"{running.url}ui#/errors") as page:
            await expect(page.get_by_text("No attempt has failed")).to_be_visible()
            await running.order(7, "EUR")
            await running.order(8, "EUR")
            await page.get_by_role("button", name="LookupError").click()
            group = page.get_by_role("complementary", name="Error")
            await expect(group.locator("dd").first).to_have_text("2")
            await expect(group.locator("pre")).to_contain_text("in on_placed")
            await group.get_by_role("link", name="View 2 dead letters").click()
            await expect(page.get_by_role("checkbox", name="Select billing")).to_have_count(2)
            await expect(page.get_by_role("button", name="Remove the filter Error: LookupError")).to_be_visible()
            await page.go_back()
            await group.get_by_role("link", name=f"{running.topic}[0]@0").click()
            await expect(page.locator(".drawer h2")).to_have_text(f"{running.topic}[0]@0")
            await expect(page.locator("#screen pre").first).to_contain_text('"order_id": 7')
            await expect(page.locator("#screen pre").first).to_contain_text('"card_number": "***"')


class TestConfiguration:
    async def test_shows_which_keys_are_set_and_hides_secrets(self, shop: OpenShop, open_page: OpenPage) -> None:
        async with shop() as running, open_page(f"{running.url}ui#/config") as page:
            row = page.get_by_role("row").filter(has_text="sasl_plain_password")
            await expect(row).to_contain_text("hidden")
            assert PLANTED not in await page.content()
            await expect(page.get_by_role("row").filter(has_text="max_poll_records")).to_contain_text("default")
            await page.get_by_label("Only keys that are set").check()
            await expect(page.get_by_role("row").filter(has_text="max_poll_records")).to_have_count(0)
            await page.get_by_label("Search").fill("group")
            await expect(row).to_have_count(0)
            await expect(page.get_by_role("row").filter(has_text="group_id")).to_contain_text("billing")


class TestSelfCheck:
    async def test_shows_what_is_missing_with_its_fix(
        self, shop: OpenShop, open_page: OpenPage, topic: MakeTopic
    ) -> None:
        missing = f"{await topic()}-that-is-missing"
        async with shop(missing) as running, open_page(f"{running.url}ui#/check") as page:
            found = page.locator("#screen li").filter(has=page.get_by_text(f"billing: topic {missing}", exact=True))
            await expect(found).to_contain_text("It does not exist.")
            await expect(found).to_contain_text("Fix: Create it.")
            await expect(found.locator("code")).to_have_text("evkafka topics create MODULE:APP")
            await topic(name=missing)
            again = page.get_by_role("button", name="Check again")

            async def is_there() -> bool:
                await again.click()
                await expect(again).to_be_enabled()
                return "1 partition" in await found.inner_text()

            await eventually(is_there)
            await expect(found).to_contain_text("OK")
