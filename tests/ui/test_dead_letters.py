"""Dead letters on the dashboard: their number, actions on single ones, and the audit log."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from typing import Any, cast

import pytest

from evkafka import DeadLetter
from evkafka.broker import KafkaBroker
from evkafka.config import producer_settings
from evkafka.dlq import (
    DeadLetterFilter,
    DeadLetterPosition,
    DeadLetterTopic,
    Target,
    drop_dead_letters,
    replay_dead_letters,
)
from evkafka.exceptions import ConfigError
from evkafka.telemetry import Telemetry
from evkafka.ui.app_topics import AppTopic
from evkafka.ui.background import BackgroundRunner
from evkafka.ui.dead_letter_list import Listed, ListQuery
from evkafka.ui.dead_letter_topics import LISTED_EVERY_S, DeadLetterTopics
from evkafka.ui.dead_letters import DeadLetterScreen
from evkafka.ui.open_dead_letters import CHANGED_INTERVAL_S, INTERVAL_S, OpenDeadLetterCount
from evkafka.ui.operated_app import OperatedApp
from tests.support.kafka_topics import MakeTopic
from tests.ui.pages import Page, Shop, headers, opened, page, shop

__all__ = ["page", "shop"]


def dead_letters_of(page: Page) -> DeadLetterTopic:
    connection = producer_settings({"bootstrap_servers": page.servers}).connection
    return DeadLetterTopic(connection, f"{page.topic}.shop-{page.topic}.dlq")


def counted(number: int, page: Page) -> dict[str, Any]:
    return {"open": number, "counted": True, "topics": {f"{page.topic}.shop-{page.topic}.dlq": number}}


class TestTheNumberOfOpenDeadLetters:
    async def test_includes_those_from_before_the_start(
        self, kafka_broker: KafkaBroker, topic: MakeTopic, shop: Shop
    ) -> None:
        source = await topic()
        async with opened(kafka_broker, source, shop) as first:
            await first.send("Poison", {"id": 1}, {"id": 2}, {"id": 3}, key="a")
            await first.shows(lambda one: one["letters"] == counted(3, first))
        async with opened(kafka_broker, source, Shop()) as second:
            shown = await second.shows(lambda one: one["letters"]["open"] == 3)
            assert shown["now"]["dead_lettered"] == 0
            [problem] = [one for one in shown["problems"] if one["screen"] == "letters"]
            assert problem["what"] == "3 dead letters"

    async def test_follows_changes_by_other_processes(self, page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("evkafka.ui.open_dead_letters.INTERVAL_S", 0.2)
        await page.send("Poison", {"id": 1}, {"id": 2}, key="a")
        await page.shows(lambda one: one["letters"]["open"] == 2)
        await drop_dead_letters(dead_letters_of(page), DeadLetterFilter(), limit=1)
        await page.shows(lambda one: one["letters"]["open"] == 1)

    async def test_is_the_same_above_the_limit_of_exact_counting(
        self, page: Page, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await page.send("Poison", *({"id": number} for number in range(5)), key="a")
        await page.shows(lambda one: one["letters"]["open"] == 5)
        dead_letters = dead_letters_of(page)
        await drop_dead_letters(dead_letters, DeadLetterFilter(), limit=2)
        version, exact = await dead_letters.count_open()
        monkeypatch.setattr("evkafka.dlq.dead_letter_topic.EXACT_COUNT_MAX", 0)
        assert (exact, (await dead_letters.count_open())[1]) == (3, 3)
        assert await dead_letters.count_open((version, 77)) == (version, 77)

    async def test_is_zero_for_a_missing_topic(self, kafka_broker: KafkaBroker) -> None:
        connection = producer_settings({"bootstrap_servers": kafka_broker.bootstrap_servers}).connection
        _, number = await DeadLetterTopic(connection, "never-made.g.dlq").count_open()
        assert number == 0


class TestTheTopics:
    async def test_of_a_pattern_and_without_a_policy_are_found_and_counted(
        self, kafka_broker: KafkaBroker, topic: MakeTopic
    ) -> None:
        shop = Shop()
        source = await topic()

        @shop.handler.event("Given up")
        async def on_given_up(order: dict[str, Any]) -> DeadLetter:
            return DeadLetter("by the endpoint")

        subscription = {"topic_pattern": f"{source}$", "on_error": {}, "metadata_max_age_ms": 500}
        async with opened(kafka_broker, source, shop, **subscription) as page:
            await page.send("Given up", {"id": 1}, {"id": 2}, key="a")
            await page.shows(lambda one: one["letters"] == counted(2, page) and one["now"]["handled"] == 2)
            answer = await page.ask("letters")
            assert (answer["topics"], len(answer["letters"])) == ([f"{source}.shop-{source}.dlq"], 2)
            order = {"topic": answer["topic"], "places": [answer["letters"][0]["place"]]}
            assert (await page.order("letters/drop", **order))["done"] == 1
            await page.shows(lambda one: one["letters"]["open"] == 1)


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


class NoApp:
    """An app without consumers and producers, which counts the counts."""

    telemetry = Telemetry()

    def __init__(self) -> None:
        self.consumers: dict[str, Any] = {}
        self.producers: dict[str, Any] = {}
        self.asked = 0

    async def run(self, work: Callable[[], Awaitable[Any]], *, timeout_s: float) -> Any:
        """As `BackgroundRunner.run`."""
        self.asked += 1
        return await work()


class Answers:
    """A `BackgroundRunner` that runs nothing: lists of dead-letter topics, each followed by an empty page of one."""

    def __init__(self, *topics: str) -> None:
        self.topics = topics
        self.lists = 0

    async def run(self, work: Callable[[], Awaitable[Any]], *, timeout_s: float) -> Any:
        if work.__qualname__.startswith("DeadLetterTopics."):
            self.lists += 1
            return {name: AppTopic(producer_settings({}).connection, "Event-Type", "shop") for name in self.topics}
        return Listed()


def screen_of(answers: Answers, clock: Clock) -> DeadLetterScreen:
    app, background = cast(OperatedApp, NoApp()), cast(BackgroundRunner, answers)
    return DeadLetterScreen(app, background, DeadLetterTopics(app, background, clock), dict)


class TestTheListOfTopics:
    async def test_serves_for_a_while_and_is_read_again_for_a_topic_that_it_lacks(self) -> None:
        clock, answers = Clock(), Answers("a.dlq")
        screen = screen_of(answers, clock)
        for _ in range(3):
            assert (await screen.list(None, ListQuery()))["topics"] == ["a.dlq"]
        assert answers.lists == 1

        answers.topics = ("a.dlq", "b.dlq")
        assert (await screen.list("b.dlq", ListQuery()))["topic"] == "b.dlq"
        assert answers.lists == 2
        with pytest.raises(ConfigError):
            await screen.list("c.dlq", ListQuery())
        assert answers.lists == 3

        clock.now_s += LISTED_EVERY_S
        await screen.list("b.dlq", ListQuery())
        assert answers.lists == 4

    async def test_is_read_each_time_while_there_is_none(self) -> None:
        answers = Answers()
        screen = screen_of(answers, Clock())
        for _ in range(2):
            assert (await screen.list(None, ListQuery()))["topics"] == []
        assert answers.lists == 2


async def turn() -> None:
    for _ in range(3):
        await asyncio.sleep(0)


class TestACount:
    async def test_starts_when_somebody_looks_and_not_too_often(self) -> None:
        app, clock, written = NoApp(), Clock(), [0]
        count = OpenDeadLetterCount(app, DeadLetterTopics(app, app), lambda: written[0], now=clock)  # type: ignore[arg-type]
        assert (count.count_if_due(), app.asked) == ({"open": 0, "counted": False, "topics": {}}, 0)
        await turn()
        assert (count.count_if_due(), app.asked) == ({"open": 0, "counted": True, "topics": {}}, 1)
        for moment, change, asked in (
            (INTERVAL_S - 1, 0, 1),
            (2, 0, 2),
            (CHANGED_INTERVAL_S, 1, 3),
            (CHANGED_INTERVAL_S, 0, 3),
        ):
            clock.now_s += moment
            written[0] += change
            count.count_if_due()
            await turn()
            assert app.asked == asked
        count.count_again_soon()
        count.count_if_due()
        await turn()
        assert app.asked == 4

    async def test_includes_dead_letters_that_this_process_has_written_since(self) -> None:
        app, clock, written = NoApp(), Clock(), [2]
        count = OpenDeadLetterCount(app, DeadLetterTopics(app, app), lambda: written[0], now=clock)  # type: ignore[arg-type]
        assert count.count_if_due() == {"open": 2, "counted": False, "topics": {}}
        await turn()
        assert count.count_if_due() == {"open": 0, "counted": True, "topics": {}}
        written[0] += 3
        assert count.count_if_due() == {"open": 3, "counted": True, "topics": {}}


class TestAnOrder:
    async def test_for_a_filter_affects_what_matches_and_nothing_newer_than_its_list(
        self, page: Page, shop: Shop
    ) -> None:
        await page.send("Poison", {"id": 1}, {"id": 2}, key="a")
        await page.send("Unknown", {"id": 3}, key="a")
        await page.shows(lambda one: one["now"]["dead_lettered"] == 2)
        listed = await page.ask("letters", error="ZeroDivisionError")
        await page.send("Poison", {"id": 4}, key="a")
        await page.shows(lambda one: one["now"]["dead_lettered"] == 3)
        shop.broken = False
        wanted = {"q": "", "error": "ZeroDivisionError", "within": listed["within"]}
        done = await page.order("letters/replay", topic=listed["topic"], filter=wanted, to="handler")
        assert (done["chosen"], done["done"], done["failed_count"]) == (2, 2, 0)
        assert sorted(shop.done) == [1, 2]
        [left] = (await page.ask("letters"))["letters"]
        assert json.loads(left["value"]["text"]) == {"id": 4}

    @pytest.mark.parametrize("wanted", [{}, {"q": "x"}, "all", {"within": "0-9"}, {"within": "0@0-9", "q": 7}])
    async def test_for_a_filter_without_its_list_is_refused(self, page: Page, wanted: object) -> None:
        body = {"topic": "any", "filter": wanted}
        answer = await page.client.post("ui/api/letters/drop", json=body, headers=headers())
        assert answer.status_code == 400
        assert await page.ask("letters")

    async def test_for_places_affects_only_those_dead_letters(self, page: Page) -> None:
        await page.send("Poison", {"id": 1}, {"id": 2}, key="a")
        await page.shows(lambda one: one["now"]["dead_lettered"] == 2)
        page.app.consumer("shop").seek(page.topic, *await self._first(page))
        await page.shows(lambda one: one["now"]["dead_lettered"] == 4)
        answer = await page.ask("letters")
        same = [one for one in answer["letters"] if one["id"] == answer["letters"][0]["id"]]
        assert len(same) == 2
        done = await page.order("letters/drop", topic=answer["topic"], places=[same[0]["place"]])
        assert done == {"chosen": 1, "done": 1, "failed": [], "failed_count": 0}
        left = (await page.ask("letters"))["letters"]
        assert same[1]["place"] in {one["place"] for one in left}
        assert len(left) == 3

    @staticmethod
    async def _first(page: Page) -> tuple[int, int]:
        origin = (await page.ask("letters"))["letters"][0]["origin"]
        return origin["partition"], 0

    async def test_without_places_is_refused(self, page: Page) -> None:
        for places in (["17"], ["0@x"], [], "0@1", [7]):
            body = {"topic": "any", "places": places}
            answer = await page.client.post("ui/api/letters/drop", json=body, headers=headers())
            assert answer.status_code == 400
            assert "PARTITION@OFFSET" in answer.json()["error"] or "places" in answer.json()["error"]

    async def test_of_a_dry_run_reports_what_could_not_be_tried(self, page: Page) -> None:
        await page.send("Poison", {"id": 1}, [1], key="a")
        await page.shows(lambda one: one["now"]["dead_lettered"] == 2)
        answer = await page.ask("letters")
        ids = [one["id"] for one in answer["letters"]]
        dry = await page.order("letters/replay", topic=answer["topic"], ids=ids, to="handler", dry_run=True)
        assert (dry["chosen"], dry["done"]) == (2, 0)
        [failed] = dry["failed"]
        assert failed["why"].startswith("not the dict")
        assert {one["status"] for one in (await page.ask("letters"))["letters"]} == {"open"}


def audited(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "evkafka.audit"]


class TestTheAuditLine:
    async def test_of_a_replay_that_was_taken_over_has_what_was_done(
        self, page: Page, shop: Shop, caplog: pytest.LogCaptureFixture
    ) -> None:
        await page.send("Poison", {"id": 1}, {"id": 2}, key="a")
        await page.shows(lambda one: one["now"]["dead_lettered"] == 2)
        answer = await page.ask("letters")
        begun: list[object] = []
        reached, go_on = asyncio.Event(), asyncio.Event()

        async def held(dead_letter: object) -> str | None:
            begun.append(dead_letter)
            if len(begun) == 2:  # the first one is marked
                reached.set()
                await go_on.wait()
            return None

        with caplog.at_level(logging.INFO, "evkafka.audit"), pytest.MonkeyPatch.context() as patch:
            patch.setattr("evkafka.ui.dead_letters.create_local_handler", lambda *_: held)
            order = {"topic": answer["topic"], "ids": [one["id"] for one in answer["letters"]], "to": "handler"}
            asking = asyncio.ensure_future(page.client.post("ui/api/letters/replay", json=order, headers=headers()))
            await asyncio.wait_for(reached.wait(), 60)
            assert (
                await replay_dead_letters(
                    dead_letters_of(page), Target(), DeadLetterFilter(positions=[DeadLetterPosition(9, 9)])
                )
            ).chosen == 0
            go_on.set()
            answer = await asking
        assert answer.status_code == 409
        [line] = audited(caplog)
        assert "letters/replay from 127.0.0.1" in line
        assert ": 1 of 2 done; " in line
        assert "another replay or discard" in line

    async def test_exists_if_the_replay_fails(self, page: Page, caplog: pytest.LogCaptureFixture) -> None:
        async def broken(*_: object, **__: object) -> None:
            raise KeyError("a fault of ours")

        with caplog.at_level(logging.INFO, "evkafka.audit"), pytest.MonkeyPatch.context() as patch:
            patch.setattr("evkafka.ui.dead_letters.DeadLetterScreen.replay", broken)
            order = {"topic": "any", "ids": ["x"], "to": "topic"}
            answer = await page.client.post("ui/api/letters/replay", json=order, headers=headers())
        assert answer.status_code == 500
        [line] = audited(caplog)
        assert line.endswith("0 of 0 done; failed: KeyError('a fault of ours')")
