"""The screen of dead letters with sample answers: drawer, pages, selection, groups and dialogs."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Page, expect

from tests.ui.browser.axe import violations, widest
from tests.ui.browser.pages import OpenPage
from tests.ui.browser.sampled import TOKEN, Sampled

pytestmark = pytest.mark.asyncio(loop_scope="session")

TOPIC = "flights.departures-board.dlq"
COMMAND = f"evkafka dlq replay {TOPIC} --app flights:app"


@pytest_asyncio.fixture(loop_scope="session")
async def sampled() -> AsyncIterator[Sampled]:
    async with Sampled().serving() as served:
        yield served


@pytest_asyncio.fixture(loop_scope="session")
async def many(sampled: Sampled) -> Sampled:
    """120 open dead letters, the newest first."""
    answer = sampled.answers["letters"]
    first = answer["letters"][0]
    answer["letters"] = [
        first | {"offset": offset, "place": f"0@{offset}", "id": f"board/flights/2/{offset}"}
        for offset in range(119, -1, -1)
    ]
    answer |= {"counts": {"open": 120, "replayed": 0, "dropped": 0}, "open": 120, "within": "0@0-120"}
    sampled.snapshot["letters"] = {"open": 120, "counted": True, "topics": {TOPIC: 120}}
    return sampled


async def with_token(page: Page) -> None:
    await page.evaluate("(token) => sessionStorage.setItem('evkafka-token', token)", TOKEN)
    await page.reload()


async def asked_for_replay(page: Page) -> None:
    await page.get_by_role("group", name="Selection").get_by_role("button", name="Replay…").click()


async def command(page: Page) -> str:
    return await page.get_by_role("dialog").locator(".command code").inner_text()


class TestTheDrawer:
    async def test_follows_the_arrow_keys_and_escape_closes_it(self, many: Sampled, open_page: OpenPage) -> None:
        async with open_page(f"{many.url}ui#/letters") as page:
            drawer = page.get_by_role("complementary", name="Dead letter")
            await page.get_by_role("row").filter(has_text="FlightDeparted").first.click()
            await expect(drawer).to_contain_text("board/flights/2/119")
            await page.get_by_role("button", name="Show board/flights/2/119").focus()
            await page.keyboard.press("ArrowDown")
            await expect(drawer).to_contain_text("board/flights/2/118")
            await expect(page.get_by_role("button", name="Show board/flights/2/118")).to_be_focused()
            await page.keyboard.press("x")
            await expect(page.get_by_role("checkbox", name="Select board/flights/2/118")).to_be_checked()
            await drawer.get_by_role("button", name="Next").click()
            await expect(drawer).to_contain_text("board/flights/2/117")
            await page.keyboard.press("Escape")
            await expect(drawer).to_be_hidden()
            await expect(page.get_by_role("button", name="Show board/flights/2/117")).to_be_focused()

    async def test_has_an_address_and_the_back_button_closes_it(self, many: Sampled, open_page: OpenPage) -> None:
        async with open_page(f"{many.url}ui#/letters?letter=0@3") as page:
            drawer = page.get_by_role("complementary", name="Dead letter")
            await expect(drawer).to_contain_text("board/flights/2/3")  # of the third page
            await expect(drawer.locator(".command code")).to_have_text(
                f"evkafka dlq show {TOPIC} --app flights:app --at 0@3"
            )
            await drawer.get_by_role("button", name="Close").click()
            await page.get_by_role("button", name="Show board/flights/2/119").click()
            await expect(drawer).to_contain_text("board/flights/2/119")
            await page.go_back()
            await expect(drawer).to_be_hidden()

    async def test_covers_the_list_in_a_narrow_window(self, many: Sampled, open_page: OpenPage) -> None:
        async with open_page(f"{many.url}ui#/letters", width=360, height=640) as page:
            await page.get_by_role("button", name="Show board/flights/2/119").click()
            heading = page.get_by_role("complementary", name="Dead letter").get_by_role("heading", level=2)
            await expect(heading).to_be_focused()
            assert await page.locator(".drawer-list").evaluate("(list) => list.inert")
            await page.keyboard.press("Escape")
            assert not await page.locator(".drawer-list").evaluate("(list) => list.inert")


class TestPages:
    async def test_are_of_the_list_that_was_loaded_first(self, many: Sampled, open_page: OpenPage) -> None:
        async with open_page(f"{many.url}ui#/letters") as page:
            pager = page.get_by_role("navigation", name="Pages")
            await expect(pager).to_contain_text("1 to 50 of 120")
            await pager.get_by_role("button", name="Older").click()
            await expect(pager).to_contain_text("51 to 100 of 120")
            await pager.get_by_role("button", name="Older").click()
            await expect(pager).to_contain_text("101 to 120 of 120")
            await expect(pager.get_by_role("button", name="Older")).to_be_disabled()
            await pager.get_by_role("button", name="Newer").click()
            await expect(pager).to_contain_text("51 to 100 of 120")
        assert [(one["skip"], one.get("within")) for one in many.asked] == [
            ("0", None),
            ("50", "0@0-120"),
            ("100", "0@0-120"),
            ("50", "0@0-120"),
        ]

    async def test_offer_to_reload_when_there_are_new_dead_letters(self, many: Sampled, open_page: OpenPage) -> None:
        async with open_page(f"{many.url}ui#/letters") as page:
            await expect(page.get_by_text("1 to 50 of 120")).to_be_visible()
            for _ in range(4):
                many.tell(lambda snapshot: snapshot["letters"]["topics"].update({TOPIC: 123}))
            await page.get_by_role("button", name="3 new dead letters: reload").click()
            await expect(page.get_by_text("1 to 50 of 120")).to_be_visible()
        assert many.asked[-1].get("within") is None


class TestTheSelection:
    async def test_of_all_that_match_is_an_action_and_a_command_by_filter(
        self, many: Sampled, open_page: OpenPage
    ) -> None:
        async with open_page(f"{many.url}ui#/letters?error=ZeroDivisionError&q=air%20time") as page:
            await with_token(page)
            await page.get_by_role("checkbox", name="Select all on this page").check()
            await expect(page.get_by_text("50 selected")).to_be_visible()
            await page.get_by_role("button", name="Select all 120 that match").click()
            await expect(page.get_by_text("120 selected: all that match")).to_be_visible()
            await asked_for_replay(page)
            assert await command(page) == f"{COMMAND} --error ZeroDivisionError --containing 'air time' --to-handler"
            await page.get_by_label("The topic that each came from").check()
            assert (await command(page)).endswith("--to-topic")
            await page.get_by_role("dialog").get_by_role("button", name="Replay").click()
            await expect(page.get_by_text("120 of 120 dead letters replayed.")).to_be_visible()
            await expect(page.get_by_text("None selected")).to_be_visible()
        [(path, body)] = many.orders
        assert path == "letters/replay"
        assert body["filter"] == {
            "q": "air time",
            "event_type": "",
            "error": "ZeroDivisionError",
            "within": "0@0-120",
        }
        assert "places" not in body

    async def test_survives_paging_and_its_command_has_ranges(self, many: Sampled, open_page: OpenPage) -> None:
        async with open_page(f"{many.url}ui#/letters") as page:
            await with_token(page)
            await page.get_by_role("checkbox", name="Select all on this page").check()
            await page.get_by_role("button", name="Older").click()
            await page.get_by_role("checkbox", name="Select board/flights/2/60").check()
            await expect(page.get_by_text("51 selected")).to_be_visible()
            await asked_for_replay(page)
            assert await command(page) == f"{COMMAND} --at 0@60 --at 0@70-119 --to-handler"

    async def test_without_one_of_all_is_the_rest_of_the_page(self, many: Sampled, open_page: OpenPage) -> None:
        async with open_page(f"{many.url}ui#/letters") as page:
            await page.get_by_role("checkbox", name="Select all on this page").check()
            await page.get_by_role("button", name="Select all 120 that match").click()
            await page.get_by_role("checkbox", name="Select board/flights/2/119").uncheck()
            await expect(page.get_by_text("49 selected")).to_be_visible()

    async def test_after_an_action_is_what_failed(self, sampled: Sampled, open_page: OpenPage) -> None:
        sampled.failing = [{"id": "any", "place": "0@1", "why": "LookupError: no rate for EUR"}]
        async with open_page(f"{sampled.url}ui#/letters") as page:
            await with_token(page)
            await page.get_by_role("checkbox", name="Select all on this page").check()
            await asked_for_replay(page)
            await page.get_by_role("dialog").get_by_role("button", name="Dry run").click()
            await expect(page.get_by_role("dialog")).to_contain_text("2 of 3 dead letters would reach an endpoint.")
            await page.get_by_role("dialog").get_by_role("button", name="Replay").click()
            result = page.locator(".result")
            await expect(result).to_contain_text("2 of 3 dead letters replayed. 1 failed and stays open.")
            await expect(page.get_by_text("1 selected")).to_be_visible()
            row = page.get_by_role("row").filter(has=page.get_by_role("checkbox", checked=True)).last
            await expect(row).to_contain_text("LookupError: no rate for EUR")
            assert await violations(page) == []
        assert [body["dry_run"] for _, body in sampled.orders] == [True, False]

    async def test_stays_if_the_action_is_cancelled_and_ends_with_another_filter(
        self, sampled: Sampled, open_page: OpenPage
    ) -> None:
        async with open_page(f"{sampled.url}ui#/letters") as page:
            await page.get_by_role("checkbox", name="Select departures-board/flights/2/812").check()
            await page.get_by_role("button", name="Discard…").click()
            await page.keyboard.press("Escape")
            await expect(page.get_by_text("1 selected")).to_be_visible()
            await page.get_by_label("Containing").fill("x")
            await page.keyboard.press("Enter")
            await expect(page.get_by_text("None selected")).to_be_visible()
        assert sampled.orders == []

    async def test_stays_if_the_action_is_refused_and_the_list_is_loaded_again(
        self, sampled: Sampled, open_page: OpenPage
    ) -> None:
        sampled.refusal = "another replay has started"
        async with open_page(f"{sampled.url}ui#/letters", expected=lambda wrong: "409" in wrong) as page:
            await with_token(page)
            await page.get_by_role("checkbox", name="Select departures-board/flights/2/812").check()
            await asked_for_replay(page)
            await page.get_by_role("dialog").get_by_role("button", name="Replay").click()
            await expect(page.get_by_role("dialog").get_by_role("alert")).to_have_text("another replay has started")
            before = len(sampled.asked)
            async with page.expect_response(lambda answer: "/api/letters" in answer.url):
                await page.get_by_role("dialog").get_by_role("button", name="Cancel").click()
            await expect(page.get_by_text("1 selected")).to_be_visible()
            assert len(sampled.asked) == before + 1

    async def test_of_one_dead_letter_is_discarded_with_its_reason(self, sampled: Sampled, open_page: OpenPage) -> None:
        async with open_page(f"{sampled.url}ui#/letters") as page:
            await with_token(page)
            await page.get_by_role("checkbox", name="Select departures-board/flights/2/812").check()
            await page.get_by_role("button", name="Discard…").click()
            await page.get_by_role("dialog").get_by_label("Reason").fill("a test's")
            assert await command(page) == f"evkafka dlq drop {TOPIC} --app flights:app --at 0@0"
            await page.get_by_role("dialog").get_by_role("button", name="Discard").click()
            await expect(page.get_by_text("1 of 1 dead letter discarded.")).to_be_visible()
        [(path, body)] = sampled.orders
        assert (path, body["places"], body["ids"]) == ("letters/drop", ["0@0"], ["departures-board/flights/2/812"])
        assert body["reason"] == "a test's"


class TestGroups:
    async def test_lead_to_the_dead_letters_with_this_error(self, sampled: Sampled, open_page: OpenPage) -> None:
        async with open_page(f"{sampled.url}ui#/letters") as page:
            await page.get_by_role("button", name="By error").click()
            groups = page.get_by_role("group", name="Dead letters by error")
            row = groups.get_by_role("row").filter(has_text="ZeroDivisionError")
            await expect(row.locator(".number")).to_have_text("2")
            await row.click()
            await expect(page.get_by_role("checkbox", name="Select departures-board")).to_have_count(3)
            assert (sampled.asked[-1]["error"], sampled.asked[-1]["event_type"]) == (
                "ZeroDivisionError",
                "FlightDeparted",
            )
            await page.get_by_role("button", name="Remove the filter Event type: FlightDeparted").click()
            await expect(page.get_by_role("button", name="Remove the filter Error: ZeroDivisionError")).to_be_visible()
            await page.reload()
            await expect(page.get_by_role("button", name="Remove the filter Error: ZeroDivisionError")).to_be_visible()


class TestHostileText:
    async def test_is_shown_as_text_and_quoted_in_commands(self, sampled: Sampled, open_page: OpenPage) -> None:
        hostile = '<img src=x onerror="window.hit=1">\'; $(touch /tmp/x)'
        answer = sampled.answers["letters"]
        answer["groups"][0] |= {"error_type": hostile, "message": hostile, "event_type": hostile, "error": hostile}
        for letter in answer["letters"]:
            letter |= {"error_type": hostile, "error_message": hostile, "event_type": hostile, "id": hostile}
        async with open_page(f"{sampled.url}ui#/letters?view=errors") as page:
            await page.get_by_role("button", name=hostile).click()
            await page.get_by_role("checkbox", name="Select all on this page").check()
            await asked_for_replay(page)
            quoted = "'" + hostile.replace("'", "'\\''") + "'"
            assert f"--event-type {quoted} --error {quoted} " in await command(page)
            await page.keyboard.press("Escape")
            await page.get_by_role("button", name="Show").first.click()
            await expect(page.locator(".drawer .message")).to_have_text(hostile)
            assert await page.evaluate("window.hit === undefined && !document.querySelector('#screen img')")


class TestDialogs:
    @pytest.mark.parametrize(("width", "height"), [(360, 420), (1280, 480)])
    async def test_keep_their_buttons_in_the_window(
        self, many: Sampled, open_page: OpenPage, width: int, height: int
    ) -> None:
        answer = many.answers["letters"]
        answer["letters"] = answer["letters"][::2]  # no ranges: the command is long
        answer["counts"]["open"] = 300
        async with open_page(f"{many.url}ui#/letters", width=width, height=height) as page:
            await page.get_by_role("checkbox", name="Select all on this page").check()
            await asked_for_replay(page)
            for name in ("Cancel", "Dry run", "Replay"):
                button = page.get_by_role("dialog").get_by_role("button", name=name)
                await expect(button).to_be_in_viewport(ratio=1)
            await expect(page.get_by_role("dialog").get_by_role("button", name="Replay")).to_be_focused()
            assert await violations(page) == []
            assert await widest(page) == 0


class TestNothing:
    async def test_says_what_to_do_next(self, sampled: Sampled, open_page: OpenPage) -> None:
        nothing: dict[str, Any] = {"letters": [], "groups": [], "counts": {"open": 0, "replayed": 0, "dropped": 0}}
        sampled.answers["letters"] |= nothing | {"topics": [TOPIC, "other.dlq"]}
        sampled.snapshot["letters"]["topics"] = {"other.dlq": 7}
        async with open_page(f"{sampled.url}ui#/letters?q=nothing") as page:
            await page.get_by_role("button", name="Clear the search").click()
            await page.get_by_role("button", name="Show the 7 in other.dlq").click()
            await expect(page.get_by_role("combobox", name="Dead-letter topic")).to_be_visible()
            assert sampled.asked[-1]["topic"] == "other.dlq"
            sampled.answers["letters"] |= {"topics": [], "topic": None}
            await page.get_by_role("button", name="Search").click()
            await expect(page.get_by_text("No consumer of this app writes dead letters")).to_be_visible()
            assert await violations(page) == []


class TestALargeTopic:
    async def test_names_the_command_that_searches_all_of_it(self, sampled: Sampled, open_page: OpenPage) -> None:
        sampled.answers["letters"]["older"] = 1234
        async with open_page(f"{sampled.url}ui#/letters?event=FlightDeparted") as page:
            note = page.locator(".note")
            await expect(note).to_contain_text("1,234 older records are not in this list.")
            await expect(note.locator("code")).to_have_text(
                f"evkafka dlq list {TOPIC} --app flights:app --event-type FlightDeparted"
            )
            sampled.answers["letters"] |= {"older": 0, "within": "0@0-1"}
            await note.get_by_role("button", name="Search the older ones").click()
            await note.get_by_role("button", name="Back to the newest").click()
            await expect(note).to_be_hidden()
        assert [one.get("before") for one in sampled.asked] == [None, "0@0-3", None]


class TestAccessibility:
    @pytest.mark.parametrize(("dark", "width"), [(False, 1440), (True, 1440), (False, 800), (True, 800), (True, 360)])
    @pytest.mark.parametrize("where", ["letters?letter=0@1", "letters?view=errors", "errors?error=a1"])
    async def test_axe_finds_nothing_and_it_fits(
        self, sampled: Sampled, open_page: OpenPage, dark: bool, width: int, where: str
    ) -> None:
        async with open_page(f"{sampled.url}ui#/{where}", dark=dark, width=width, height=900) as page:
            await expect(page.get_by_role("heading", level=1)).to_be_visible()
            await expect(page.locator(".opened, .group-rows tbody tr").first).to_be_attached()
            assert (where, await violations(page)) == (where, [])
            assert (where, await widest(page)) == (where, 0)


class TestErrors:
    async def test_are_rows_with_the_last_hour_and_lead_to_their_dead_letters(
        self, sampled: Sampled, open_page: OpenPage
    ) -> None:
        async with open_page(f"{sampled.url}ui#/errors") as page:
            row = page.get_by_role("row").filter(has_text="ConnectionError")
            await expect(row.get_by_role("img", name="31 errors in the last hour")).to_be_visible()
            await expect(row.locator("rect")).to_have_count(6)
            await row.get_by_role("link", name="12 dead letters").click()
            await expect(page.get_by_role("button", name="Remove the filter Error: ConnectionError")).to_be_visible()
        asked = sampled.asked[-1]
        assert {name: asked[name] for name in ("consumer", "source", "error", "event_type")} == {
            "consumer": "billing",
            "source": "payments",
            "error": "ConnectionError",
            "event_type": "PaymentTaken",
        }

    async def test_are_updated_in_place_while_one_is_read(self, sampled: Sampled, open_page: OpenPage) -> None:
        async with open_page(f"{sampled.url}ui#/errors") as page:
            await page.get_by_role("row").filter(has_text="ConnectionError").click()
            drawer = page.get_by_role("complementary", name="Error")
            trace = drawer.locator("pre")
            await trace.evaluate("(pre) => { window.pre = pre; getSelection().selectAllChildren(pre); }")
            sampled.tell(lambda snapshot: snapshot["errors"][0].update(count=32))
            await expect(drawer.locator("dd").first).to_have_text("32")
            assert await page.evaluate("window.pre.isConnected && getSelection().toString().includes('on_payment')")
            await page.keyboard.press("Escape")
            await expect(drawer).to_be_hidden()

    async def test_of_a_consumer_are_shown_alone(self, sampled: Sampled, open_page: OpenPage) -> None:
        other = json.loads(json.dumps(sampled.snapshot["errors"][0])) | {"id": "b2", "consumer": "board", "type": "Odd"}
        sampled.snapshot["errors"].append(other)
        async with open_page(f"{sampled.url}ui#/errors?consumer=board") as page:
            await expect(page.get_by_role("button", name="Odd")).to_be_visible()
            await expect(page.get_by_role("button", name="ConnectionError")).to_have_count(0)
            await page.get_by_role("button", name="Remove the filter consumer board").click()
            await expect(page.get_by_role("button", name="ConnectionError")).to_be_visible()
