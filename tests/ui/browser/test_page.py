"""The dashboard with sample answers: every screen, lost connections, hostile text, actions."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Page, Route, expect

from tests.support.waiting import eventually
from tests.ui.browser.axe import cut_off_tables, violations, widest
from tests.ui.browser.pages import DETAILS, SCREENS, OpenPage, is_401, shows
from tests.ui.browser.sampled import TOKEN, Sampled

pytestmark = pytest.mark.asyncio(loop_scope="session")

HOSTILE = '<img src=x onerror="window.hit=1"><script>window.hit=1</script>'


@pytest_asyncio.fixture(loop_scope="session")
async def sampled() -> AsyncIterator[Sampled]:
    async with Sampled().serving() as served:
        yield served


class TestEveryScreen:
    @pytest.mark.parametrize(("dark", "width"), [(False, 1440), (False, 800), (True, 360)])
    async def test_axe_finds_nothing_and_it_fits(
        self, sampled: Sampled, open_page: OpenPage, dark: bool, width: int
    ) -> None:
        async with open_page(f"{sampled.url}ui", dark=dark, width=width) as page:
            for screen in (*SCREENS, *DETAILS):
                await shows(page, sampled.url, screen)
                for details in await page.locator("details").all():
                    await details.evaluate("(one) => { one.open = true; }")
                assert (screen, await violations(page)) == (screen, [])
                assert (screen, await widest(page)) == (screen, 0)
                assert (screen, await cut_off_tables(page)) == (screen, [])

    async def test_is_reached_by_keyboard_and_has_a_heading(self, sampled: Sampled, open_page: OpenPage) -> None:
        async with open_page(f"{sampled.url}ui") as page:
            await page.keyboard.press("Tab")
            await expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
            await page.get_by_role("link", name="Consumers").first.press("Enter")
            await expect(page.locator("#heading")).to_be_focused()
            await expect(page).to_have_title("Consumers - Flights")
            await expect(page.locator("nav [aria-current=page]")).to_have_text("Consumers")


class TestTheWayFromAConsumer:
    async def test_leads_to_its_partition_the_record_and_the_error_and_back_again(
        self, sampled: Sampled, open_page: OpenPage
    ) -> None:
        async with open_page(f"{sampled.url}ui") as page:
            screen, heading = page.locator("#screen"), page.locator("#heading")
            await screen.get_by_role("link", name="billing").click()
            await expect(heading).to_have_text("billing")
            await screen.get_by_role("link", name="payments[1]", exact=True).click()
            await expect(heading).to_have_text("payments[1]")
            await expect(screen).to_contain_text("after 6 failed attempts")
            await expect(screen.get_by_text("Done ahead").locator("+ dd")).to_have_text("2,845")
            ways = {
                "Oldest pending record, offset 812": "#/records?topic=payments&partition=1&offset=812",
                "Its error, 6 failed attempts": f"#/errors?error={sampled.snapshot['errors'][0]['id']}",
                "Errors of this partition": "#/errors?consumer=billing&topic=payments&partition=1",
            }
            for name, address in ways.items():
                await expect(screen.get_by_role("link", name=name)).to_have_attribute("href", address)
            await screen.get_by_role("link", name="Its error").click()
            await expect(heading).to_have_text("Errors")
            await page.go_back()
            await expect(heading).to_have_text("payments[1]")
            await screen.get_by_role("navigation", name="Breadcrumb").get_by_role("link", name="billing").click()
            await expect(heading).to_have_text("billing")

    async def test_a_partition_of_another_member_says_so(self, sampled: Sampled, open_page: OpenPage) -> None:
        async with open_page(f"{sampled.url}ui#/consumers?consumer=billing&topic=payments&partition=9") as page:
            await expect(page.locator("#screen")).to_contain_text("payments[9] is not assigned to consumer billing")

    async def test_of_many_partitions_only_the_worst_are_shown_at_first(
        self, sampled: Sampled, open_page: OpenPage
    ) -> None:
        rows = sampled.snapshot["consumers"][0]["partitions"]
        rows += [rows[-1] | {"partition": number} for number in range(4, 30)]
        async with open_page(f"{sampled.url}ui#/consumers?consumer=billing") as page:
            partitions = page.get_by_role("group", name="Partitions of billing").locator("tbody tr")
            await expect(partitions).to_have_count(10)
            await expect(partitions.first).to_contain_text("Stuck")
            await page.get_by_role("button", name="Show all 30 partitions").click()
            await expect(partitions).to_have_count(30)


UNKNOWN_LANGUAGE = 'Object.defineProperty(Navigator.prototype, "language", { get: () => "en-US@posix" });'
"""What Chromium says with LANG=C. Intl does not accept it."""


class TestHistory:
    async def test_is_drawn_in_a_browser_whose_language_is_unknown(self, sampled: Sampled, open_page: OpenPage) -> None:
        async with open_page(f"{sampled.url}ui", script=UNKNOWN_LANGUAGE) as page:
            await expect(page.locator("canvas")).to_have_count(3)

    async def test_of_a_longer_time_is_requested_and_its_span_is_part_of_the_address(
        self, sampled: Sampled, open_page: OpenPage
    ) -> None:
        async with open_page(f"{sampled.url}ui") as page:
            await expect(page.locator("canvas")).to_have_count(3)
            chart = page.get_by_role("img", name="Lag in records")
            async with page.expect_response(lambda answer: "ui/api/history?span=1h" in answer.url):
                await page.get_by_role("button", name="1 hour").click()
            await expect(chart).to_have_attribute("aria-label", "Lag in records: now lag 1,959")
            assert page.url.endswith("#/overview?span=1h")
            async with page.expect_response(lambda answer: "ui/api/history?span=1h" in answer.url):
                await page.reload()
            await expect(page.get_by_role("button", name="1 hour")).to_have_attribute("aria-pressed", "true")

    async def test_that_cannot_be_loaded_says_why(self, sampled: Sampled, open_page: OpenPage) -> None:
        del sampled.answers["history"]["step_s"]
        sampled.answers["history"]["at_s"] = None
        async with open_page(f"{sampled.url}ui#/consumers?consumer=billing") as page:
            await expect(page.locator(".history [role=status]")).not_to_be_empty()
            await expect(page.get_by_role("row").filter(has_text="payments[1]")).to_be_visible()


class TestTheProcess:
    async def test_shows_cpu_memory_uptime_and_versions(self, sampled: Sampled, open_page: OpenPage) -> None:
        async with open_page(f"{sampled.url}ui") as page:
            process = page.get_by_role("region", name="Process")
            for text in ("12.4 % of a core", "87 MiB", "2 h 3 min", "2.4.0", "1.0.0", "3.11.9", "4711"):
                await expect(process).to_contain_text(text)


class TestRecords:
    async def test_an_invalid_timestamp_is_shown_as_a_number_and_does_not_hide_other_rows(
        self, sampled: Sampled, open_page: OpenPage
    ) -> None:
        sampled.answers["records"]["records"][0]["timestamp_ms"] = 9 * 10**17
        async with open_page(f"{sampled.url}ui#/records") as page:
            await expect(page.get_by_text("900000000000000000 ms")).to_be_visible()
            rows = page.get_by_role("button", name="Details of")
            await expect(rows).to_have_count(len(sampled.answers["records"]["records"]))

    async def test_that_cannot_be_read_stays_behind_the_one_before_it(
        self, sampled: Sampled, open_page: OpenPage
    ) -> None:
        answer = sampled.answers["records"]
        answer["records"].append({**answer["records"][0], "offset": 952, "timestamp_ms": -1})
        async with open_page(f"{sampled.url}ui#/records") as page:
            await expect(page.locator(".record-rows tbody th")).to_have_text(["952", "951", "950"])

    async def test_can_be_searched_once_the_topics_are_loaded(self, sampled: Sampled, open_page: OpenPage) -> None:
        """Their arrival fills the form: a text that was typed before would be gone."""
        loaded = asyncio.Event()

        async def answer_later(route: Route) -> None:
            await loaded.wait()
            await route.continue_()

        async with open_page(f"{sampled.url}ui") as page:
            await page.route("**/ui/api/topics", answer_later)
            await page.goto(f"{sampled.url}ui#/records")
            await expect(page.get_by_label("Text")).to_be_disabled()
            await expect(page.get_by_role("button", name="Search", exact=True)).to_be_disabled()
            loaded.set()
            await page.get_by_label("Text").fill("UA")
            await page.get_by_role("button", name="Search", exact=True).click()
            await expect(page.get_by_role("status").filter(has_text="2 matches")).to_be_visible()

    async def test_of_a_search_are_added_by_searching_further(self, sampled: Sampled, open_page: OpenPage) -> None:
        answer = sampled.answers["records"]
        older = {**answer["records"][0], "offset": 7, "timestamp_ms": 1_600_000_000_000}
        async with open_page(f"{sampled.url}ui#/records") as page:
            await page.get_by_label("Text").fill("UA")
            await page.get_by_role("button", name="Search", exact=True).click()
            await expect(page.get_by_role("status").filter(has_text="2 matches in 50 searched")).to_contain_text(
                "back to"
            )
            rest = {"records": [older], "older": None, "reached_ms": None}
            sampled.answers["records"] = {
                **answer,
                **rest,
                "partitions": [{**answer["partitions"][0], "begin": 0, "stop": 950}],
            }
            await page.get_by_role("button", name="Search further").click()
            await expect(page.get_by_text("3 matches in 1,000 searched offsets, all of them")).to_be_visible()
            await expect(page.get_by_role("button", name="Search further")).to_be_hidden()
            await expect(page.get_by_role("button", name="Details of")).to_have_count(3)
            await page.get_by_role("button", name="Details of 0@7").click()
            await expect(page.locator(".drawer h2")).to_have_text("flights[0]@7")
            await page.go_back()
            await expect(page.locator(".drawer")).to_be_hidden()

    async def test_are_shown_as_text(self, sampled: Sampled, open_page: OpenPage) -> None:
        for name in ("key", "value"):
            sampled.answers["records"]["records"][0][name]["text"] = HOSTILE
        sampled.answers["records"]["records"][0] |= {"event_type": HOSTILE, "headers": [[HOSTILE, HOSTILE]]}
        async with open_page(f"{sampled.url}ui#/records?record=0@950") as page:
            await expect(page.locator("#screen pre").first).to_have_text(HOSTILE)
            assert await page.evaluate("window.hit === undefined && !document.querySelector('#screen img')")

    async def test_that_are_missing_show_how_to_send_one(self, sampled: Sampled, open_page: OpenPage) -> None:
        nothing = [{"partition": 0, "first": 0, "end": 0, "begin": 0, "stop": 0}]
        sampled.answers["records"] |= {"records": [], "partitions": nothing, "older": None}
        async with open_page(f"{sampled.url}ui#/records", expected=lambda wrong: "404" in wrong) as page:
            await expect(page.get_by_text("flights has no records. Send one:")).to_be_visible()
            await expect(page.locator(".steps code")).to_have_text("evkafka send flights '{}' --app flights:app")


class TestIncomingSnapshots:
    async def test_update_the_page_in_place_and_keep_selection_and_details(
        self, sampled: Sampled, open_page: OpenPage
    ) -> None:
        async with open_page(f"{sampled.url}ui#/consumers") as page:
            row = page.get_by_role("row").filter(has_text="flights[0]")
            await expect(row).to_be_visible()
            details = page.locator("#consumer-billing details")
            await details.locator("summary").click()
            await row.locator("th").evaluate(
                "(cell) => { window.cell = cell; getSelection().selectAllChildren(cell); }"
            )

            def moved(snapshot: dict[str, Any]) -> None:
                board = next(one for one in snapshot["consumers"] if one["name"] == "board")
                first = next(one for one in board["partitions"] if one["partition"] == 0)
                first["position"] = 123456

            sampled.tell(moved)
            await expect(row).to_contain_text("123,456")
            assert await page.evaluate("window.cell.isConnected && getSelection().toString() === 'flights[0]'")
            await expect(details).to_have_attribute("open", "")

    async def test_are_shown_as_text(self, sampled: Sampled, open_page: OpenPage) -> None:
        sampled.snapshot["errors"][0] |= {"message": HOSTILE, "traceback": HOSTILE, "type": HOSTILE}
        sampled.answers["letters"]["letters"][0]["value"]["text"] = HOSTILE
        async with open_page(f"{sampled.url}ui#/errors") as page:
            await expect(page.get_by_text(HOSTILE).first).to_be_visible()
            await shows(page, sampled.url, "letters")
            await page.get_by_role("button", name="Show").first.click()
            await expect(page.locator(".drawer pre").first).to_have_text(HOSTILE)
            assert await page.evaluate("window.hit === undefined && !document.querySelector('#screen img')")

    async def test_are_stale_while_the_connection_is_lost(self, sampled: Sampled, open_page: OpenPage) -> None:
        expected = ("503", "ERR_INCOMPLETE_CHUNKED", "ERR_CONNECTION")
        async with open_page(
            f"{sampled.url}ui", expected=lambda wrong: any(word in wrong for word in expected)
        ) as page:
            await expect(page.locator("#connection")).to_have_text("Live")
            sampled.cut()
            await expect(page.locator("#connection")).to_have_text("Connection lost")
            await expect(page.get_by_role("alert")).to_contain_text("All figures are from")
            sampled.refuse = False
            await expect(page.locator("#connection")).to_have_text("Live")
            await expect(page.locator("#banner")).to_be_empty()

    async def test_are_stale_when_none_arrive(self, sampled: Sampled, open_page: OpenPage) -> None:
        sampled.silent = True
        async with open_page(f"{sampled.url}ui") as page:
            await page.clock.install()
            await page.reload()
            await self._is_live_when_told(sampled, page)
            await page.clock.run_for(7000)
            await expect(page.get_by_role("alert")).to_contain_text("sends no figures")
            await self._is_live_when_told(sampled, page)

    async def _is_live_when_told(self, sampled: Sampled, page: Page) -> None:
        async def live() -> bool:
            sampled.tell()  # repeated: on a slow machine a snapshot may already be stale when the test looks
            return await page.locator("#connection").inner_text() == "Live"

        await eventually(live)


class TestOrders:
    async def test_without_a_token_explain_where_it_comes_from(self, sampled: Sampled, open_page: OpenPage) -> None:
        async with open_page(f"{sampled.url}ui#/consumers") as page:
            await page.get_by_role("button", name="Pause flights[0]").click()
            await expect(page.get_by_role("dialog")).to_contain_text('app.consumer("board").pause("flights", 0)')
            await page.get_by_role("dialog").get_by_role("button", name="Pause").click()
            asked = page.get_by_role("dialog", name="Unlock actions")
            await expect(asked).to_contain_text("EVKAFKA_UI_TOKEN")
            assert await violations(page) == []
            await asked.get_by_label("Token").fill(TOKEN)
            await page.keyboard.press("Enter")
            await expect(page.get_by_text("flights[0] is paused.")).to_be_visible()
        assert sampled.orders == [("pause", {"consumer": "board", "topic": "flights", "partition": 0})]

    async def test_a_wrong_token_is_refused_when_it_is_entered(self, sampled: Sampled, open_page: OpenPage) -> None:
        async with open_page(f"{sampled.url}ui", expected=is_401) as page:
            await page.get_by_role("button", name="Unlock").click()
            asked = page.get_by_role("dialog", name="Unlock actions")
            for guess in ("a guess", "nicht-für-Köpfe"):
                await asked.get_by_label("Token").fill(guess)
                await asked.get_by_role("button", name="Unlock").click()
                await expect(asked.get_by_role("alert")).to_have_text("This token is wrong.")
            await asked.get_by_label("Token").fill(TOKEN)
            await asked.get_by_role("button", name="Unlock").click()
            await expect(asked).to_have_count(0)
            await page.get_by_role("button", name="Lock").click()
            await expect(page.get_by_role("button", name="Unlock")).to_be_visible()
        assert sampled.orders == []

    async def test_that_are_cancelled_do_nothing(self, sampled: Sampled, open_page: OpenPage) -> None:
        async with open_page(f"{sampled.url}ui#/consumers") as page:
            button = page.get_by_role("button", name="Seek flights[1]")
            await button.click()
            await page.keyboard.press("Escape")
            await expect(page.get_by_role("dialog")).to_have_count(0)
            await expect(button).to_be_focused()
        assert sampled.orders == []


class TestNotices:
    async def test_are_shown_once_and_hide_nothing_that_cannot_be_scrolled(
        self, sampled: Sampled, open_page: OpenPage
    ) -> None:
        async with open_page(f"{sampled.url}ui") as page:
            await shows(page, sampled.url, "letters")
            for sentence in ("0 letters of 2 replayed.", "no broker answers", "0 letters of 2 replayed."):
                await page.evaluate(
                    "async (said) => (await import(new URL('static/ui/dialog.js', location))).notify(said, 'bad')",
                    sentence,
                )
            notice = page.locator("#told .notice > span")
            await expect(notice).to_have_text(["no broker answers", "0 letters of 2 replayed."])
            await page.evaluate("scrollTo(0, document.body.scrollHeight)")
            last, notices = page.locator("main :is(a, button):visible").last, page.locator("#told")
            ends, begins = await last.bounding_box(), await notices.bounding_box()
            assert ends is not None
            assert begins is not None
            assert ends["y"] + ends["height"] <= begins["y"]
