"""The dashboard on a real Kafka: the answers to each screen."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import httpx
import pytest
from aiokafka.admin import AIOKafkaAdminClient

from evkafka.broker import KafkaBroker
from tests.support.kafka_topics import MakeTopic
from tests.support.waiting import eventually
from tests.ui.pages import Page, Shop, headers, opened, page, shop

__all__ = ["page", "shop"]


class TestLive:
    async def test_shows_counts_rates_and_the_lag_of_each_partition(self, page: Page) -> None:
        await page.send("OrderPlaced", *({"id": n} for n in range(20)), key="a")

        def through(snapshot: Any) -> bool:
            partitions = snapshot["consumers"][0]["partitions"]
            return snapshot["now"]["handled"] == 20 and any(one["committed"] == 20 for one in partitions)

        shown = await page.shows(through)

        [consumer] = shown["consumers"]
        assert (consumer["name"], consumer["state"], consumer["kind"]) == ("shop", "Up to date", "good")
        assert {one["lag"] for one in consumer["partitions"]} == {0}
        [event] = [one for one in shown["events"] if one["event_type"] == "OrderPlaced"]
        assert event["handled"] == 20
        assert 0 < event["p50_s"] <= event["p99_s"]
        assert len(shown["history"]["at_s"]) == len(shown["history"]["handled_per_s"]) == 300
        # A busy machine delays the loop too, and the page reports it: that is no error here.
        assert [one for one in shown["problems"] if "event loop was blocked" not in one["what"]] == []

    async def test_shows_the_oldest_record_in_flight_with_its_age(self, page: Page) -> None:
        await page.send("Slow", {"id": 1}, {"id": 2}, key="a")

        shown = await page.shows(lambda snapshot: snapshot["now"]["in_flight"] and snapshot["now"]["lag"] == 2)

        [attempt] = shown["consumers"][0]["attempts"]
        assert (attempt["event_type"], attempt["offset"], attempt["attempt"]) == ("Slow", 0, 1)
        assert attempt["age_s"] >= 0
        [waiting] = [one for one in shown["consumers"][0]["partitions"] if one["oldest"] is not None]
        assert (waiting["oldest"], waiting["lag"]) == (0, 2)
        assert waiting["oldest_age_s"] > 0

    async def test_groups_equal_errors_with_traceback_and_address(self, page: Page) -> None:
        await page.send("Poison", {"id": 1}, {"id": 2}, key="a")

        shown = await page.shows(lambda snapshot: snapshot["now"]["dead_lettered"] == 2)

        [error] = shown["errors"]
        assert (error["type"], error["count"], error["message"]) == ("ZeroDivisionError", 2, "division by zero")
        assert "in on_poison" in error["traceback"]
        assert {one["offset"] for one in error["records"]} == {0, 1}
        [event] = [one for one in shown["events"] if one["event_type"] == "Poison"]
        assert event["last_error"] == "ZeroDivisionError: division by zero"
        assert "letters" in [problem["screen"] for problem in shown["problems"]]

    async def test_counts_unmatched_records(self, page: Page) -> None:
        await page.send("Strange", {"id": 1})

        shown = await page.shows(lambda snapshot: snapshot["unmatched"])

        assert shown["unmatched"] == [
            {"consumer": "shop", "event_type": "Strange", "reason": "no_endpoint", "records": 1}
        ]

    async def test_a_partition_that_retries_has_its_failed_attempts_and_their_error(
        self, kafka_broker: KafkaBroker, topic: MakeTopic, shop: Shop
    ) -> None:
        async with opened(kafka_broker, await topic(), shop, on_error={"backoff_ms": 20_000}) as page:
            await page.send("Poison", {"id": 1})
            shown = await page.shows(lambda snapshot: snapshot["consumers"][0]["partitions"][0]["failed_attempts"])
            [partition], [error] = shown["consumers"][0]["partitions"], shown["errors"]
            assert (partition["failed_attempts"], partition["oldest"]) == (1, 0)
            assert partition["error"] == error["id"]

    async def test_has_the_history_of_the_app_a_topic_and_a_partition(self, page: Page) -> None:
        await page.send("OrderPlaced", {"id": 1}, {"id": 2}, key="k")
        shown = await page.shows(lambda one: one["now"]["handled"] == 2 and one["now"]["lag"] == 0)
        [number] = [one["partition"] for one in shown["consumers"][0]["partitions"] if one["position"]]

        async def handled(**query: Any) -> bool:
            answer = await page.ask("history", **query)
            return any(answer["handled_per_s"]) and not any(answer["failed_per_s"])

        for span in ("5m", "15m"):
            await eventually(partial(handled, span=span))
        assert [len((await page.ask("history", span=span))["lag"]) for span in ("1h", "6h")] == [240, 240]
        await eventually(lambda: handled(span="5m", consumer="shop"))
        await eventually(lambda: handled(span="5m", consumer="shop", topic=page.topic))
        assert not await handled(span="5m", consumer="shop", topic="others")
        of_partition = await page.ask("history", span="6h", consumer="shop", topic=page.topic, partition=number)
        assert len(of_partition["lag"]) == 60
        refused = await page.client.get("ui/api/history", params={"span": "1d"})
        assert (refused.status_code, refused.json()) == (400, {"error": "span must be one of 5m, 15m, 1h, 6h"})

    async def test_is_shared_by_all_viewers_and_ends_with_the_app(
        self, kafka_broker: KafkaBroker, topic: MakeTopic, shop: Shop
    ) -> None:
        created: list[int] = []
        async with opened(kafka_broker, await topic(), shop) as page:
            stream = page.app._web_component._operations._stream  # type: ignore[union-attr]
            make = stream._make_snapshot
            stream._make_snapshot = lambda: created.append(1) or make()  # type: ignore[func-returns-value]
            asked = [page.client.build_request("GET", "ui/api/events") for _ in range(5)]
            lines = [(await page.client.send(one, stream=True)).aiter_lines() for one in asked]
            for one in lines:
                await anext(one)
            before = len(created)
            await asyncio.gather(*(_after(one, 3) for one in lines))
            assert len(created) - before < 3 * len(lines)
            ends = asyncio.gather(*(_to_the_end(one) for one in lines))
        await asyncio.wait_for(ends, 60)


async def _after(lines: AsyncIterator[str], number: int) -> None:
    while number:
        number -= (await anext(lines)).startswith("data: ")


async def _to_the_end(lines: AsyncIterator[str]) -> None:
    try:
        async for _ in lines:
            pass
    except httpx.RemoteProtocolError:
        pass  # the connection was closed during the stream: that is its end


class TestOrders:
    async def test_pause_resume_and_seek_work(self, page: Page, shop: Shop) -> None:
        await page.send("OrderPlaced", {"id": 1}, {"id": 2}, key="a")
        shown = await page.shows(lambda one: one["now"]["handled"] == 2)
        [used] = [one["partition"] for one in shown["consumers"][0]["partitions"] if one["position"] == 2]
        where = {"consumer": "shop", "topic": page.topic, "partition": used}

        await page.order("pause", **where)
        paused = await page.shows(lambda one: one["consumers"][0]["state"] == "Paused")
        assert any("is paused" in one["what"] for one in paused["problems"])
        await page.order("resume", **where)
        await page.shows(lambda one: one["consumers"][0]["state"] == "Up to date")
        await page.order("seek", **where, offset=1)
        await eventually(lambda: shop.done == [1, 2, 2])

    async def test_dead_letters_are_listed_dry_run_replayed_and_dropped(self, page: Page, shop: Shop) -> None:
        await page.send("Poison", {"id": 1, "card_number": "4111"}, {"id": 2}, {"id": 3}, key="a")
        await page.shows(lambda one: one["now"]["dead_lettered"] == 3)
        answer = await page.ask("letters")
        assert answer["topic"] == f"{page.topic}.shop-{page.topic}.dlq"
        dead_letters = {one["origin"]["offset"]: one for one in answer["letters"]}
        assert dead_letters[0]["error_type"] == "builtins.ZeroDivisionError"
        assert '"card_number": "***"' in dead_letters[0]["value"]["text"]
        assert dead_letters[0]["value"]["masked"]
        ids = [dead_letters[offset]["id"] for offset in (0, 1)]

        dry = await page.order("letters/replay", topic=answer["topic"], ids=ids, to="handler", dry_run=True)
        assert dry == {"chosen": 2, "done": 0, "failed": [], "failed_count": 0}
        still = await page.order("letters/replay", topic=answer["topic"], ids=ids, to="handler", dry_run=False)
        assert [one["why"] for one in still["failed"]] == ["ZeroDivisionError: division by zero"] * 2
        shop.broken = False
        done = await page.order("letters/replay", topic=answer["topic"], ids=ids, to="handler", dry_run=False)
        assert (done["done"], shop.done) == (2, [1, 2])
        dropped = await page.order("letters/drop", topic=answer["topic"], ids=[dead_letters[2]["id"]], reason="a test")
        assert dropped["done"] == 1

        assert (await page.ask("letters"))["letters"] == []
        closed = (await page.ask("letters", closed=1, q="division"))["letters"]
        assert sorted(one["status"] for one in closed) == ["dropped", "replayed", "replayed"]

    @pytest.mark.parametrize(
        ("body", "sentence"),
        [
            ({"consumer": "nobody", "topic": "t", "partition": 0}, "no consumer named 'nobody'"),
            ({"consumer": "shop", "topic": "other", "partition": 0}, "does not read topic 'other'"),
            ({"consumer": "shop", "topic": "t"}, "partition must be a whole number"),
            ([], "not a JSON object"),
        ],
    )
    async def test_errors_are_answered_with_a_sentence(self, page: Page, body: object, sentence: str) -> None:
        answer = await page.client.post("ui/api/pause", content=json.dumps(body), headers=headers())
        assert answer.status_code == 400
        assert sentence in answer.json()["error"]


class TestReadingRecords:
    async def test_records_are_found_by_offset_by_time_and_from_the_end(self, page: Page) -> None:
        await page.send("OrderPlaced", *({"id": n, "password": "hidden?"} for n in range(10)), key="a")
        topics = (await page.ask("topics"))["topics"]
        assert {"topic": page.topic, "partitions": [0, 1]} in topics
        shown = await page.shows(lambda one: one["now"]["handled"] == 10)
        [used] = [one["partition"] for one in shown["consumers"][0]["partitions"] if one["position"] == 10]
        where = {"topic": page.topic, "partition": used}

        by_offset = await page.ask("records", **where, offset=7)
        assert [one["offset"] for one in by_offset["records"]] == [7, 8, 9]
        assert by_offset["partitions"] == [{"partition": used, "first": 0, "end": 10, "begin": 7, "stop": 10}]
        assert (by_offset["older"], by_offset["newer"]) == (f"before:{used}-7", None)
        newest = await page.ask("records", **where, limit=2)
        assert [one["offset"] for one in newest["records"]] == [8, 9]
        by_time = await page.ask("records", **where, at_ms=newest["records"][0]["timestamp_ms"], limit=100)
        assert by_time["records"][-1]["offset"] == 9
        assert (await page.ask("records", **where, at_ms=4_000_000_000_000))["records"] == []
        before = await page.ask("records", **where, cursor=by_offset["older"], limit=3)
        assert [one["offset"] for one in before["records"]] == [4, 5, 6]
        one = newest["records"][0]
        assert (one["event_type"], one["key"]["text"]) == ("OrderPlaced", "a")
        assert "hidden?" not in json.dumps(newest)

    async def test_a_topic_of_somebody_else_is_not_shown(self, page: Page, topic: MakeTopic) -> None:
        other = await topic()
        answer = await page.client.get("ui/api/records", params={"topic": other, "partition": 0})
        assert answer.status_code == 400
        assert "does not read or write topic" in answer.json()["error"]

    async def test_a_search_finds_keys_and_text_in_all_partitions(self, page: Page) -> None:
        for number in range(20):
            await page.send("OrderPlaced", {"id": number, "note": f"Gift no. {number % 4}"}, key=f"k{number}")
        where = {"topic": page.topic, "partition": "all"}
        everything = await page.ask("records", **where)
        assert sorted(one["key"]["text"] for one in everything["records"]) == sorted(f"k{n}" for n in range(20))
        assert {one["partition"] for one in everything["records"]} == {0, 1}
        times_ms = [one["timestamp_ms"] for one in everything["records"]]
        assert times_ms == sorted(times_ms)
        [by_key] = (await page.ask("records", **where, key="k1"))["records"]
        assert by_key["key"]["text"] == "k1"
        by_text = await page.ask("records", **where, q="GIFT NO. 3")
        assert {json.loads(one["value"]["text"])["id"] for one in by_text["records"]} == {3, 7, 11, 15, 19}
        assert (by_text["older"], by_text["reached_ms"]) == (None, None)
        assert sum(one["stop"] - one["begin"] for one in by_text["partitions"]) == 20

    @pytest.mark.parametrize(
        ("parameters", "sentence"),
        [
            ({"cursor": "sideways:0-1"}, "cursor must be one that an answer has returned"),
            ({"cursor": "before:0"}, "cursor must be one that an answer has returned"),
            ({"cursor": f"before:0-{10**30}"}, "cursor must be one that an answer has returned"),
            ({"q": "x" * 201}, "q has 201 characters; the most is 200"),
            ({"partition": "some"}, "partition must be a whole number"),
            ({"partition": 7}, "does not exist"),
        ],
    )
    async def test_a_request_that_is_not_valid_is_refused(
        self, page: Page, parameters: dict[str, Any], sentence: str
    ) -> None:
        answer = await page.client.get("ui/api/records", params={"topic": page.topic, **parameters})
        assert answer.status_code == 400
        assert sentence in answer.json()["error"]

    async def test_the_configuration_says_what_was_set(self, page: Page) -> None:
        [part] = (await page.ask("config"))["parts"]
        keys = {one["name"]: one for one in part["keys"]}
        assert part["name"] == "Consumer shop"
        assert keys["group_id"]["source"] == "set"
        assert keys["max_poll_records"] == {
            "name": "max_poll_records",
            "value": "500",
            "source": "default",
            "masked": False,
        }

    async def test_the_self_check_reports_what_is_ok(self, page: Page) -> None:
        checks = {one["name"]: one for one in (await page.ask("check"))["checks"]}
        assert checks["shop: connection"]["result"] == "ok"
        assert checks[f"shop: topic {page.topic}"]["sentence"] == "2 partitions"
        assert checks["shop: configuration"]["result"] == "ok"

    async def test_the_self_check_says_when_a_missing_dead_letter_topic_is_created(self, page: Page) -> None:
        dead = f"{page.topic}.shop-{page.topic}.dlq"
        admin = AIOKafkaAdminClient(bootstrap_servers=page.servers)
        await admin.start()
        try:
            await admin.delete_topics([dead])
        finally:
            await admin.close()

        async def missing() -> Any:
            checks = {one["name"]: one for one in (await page.ask("check"))["checks"]}
            row = checks[f"shop: topic {dead}"]
            return row if row["result"] == "note" else None

        sentence = (await eventually(missing))["sentence"]
        assert sentence.startswith("It does not exist. The app creates it when it starts, and for the next record")
