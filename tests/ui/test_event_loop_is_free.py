"""No request blocks the app's event loop, whatever the records contain, and one bad record does not hide the others."""

from __future__ import annotations

import asyncio
import json
import logging
import urllib.request
from collections.abc import AsyncIterator, Collection
from typing import Any

import pytest

from evkafka import EVKafkaApp, EVKafkaProducer, Handler
from evkafka.broker import KafkaBroker
from evkafka.dlq import DeadLetterPosition, DeadLetterRecord
from evkafka.dlq.dead_letter import OffsetRanges, read_dead_letter
from evkafka.kafka.admin.log_pages import LogPage, PageLimits, PartitionRange
from evkafka.telemetry import AttemptFailed, RecordsProcessed, RecordsUnmatched
from evkafka.testing import InMemoryKafka
from evkafka.ui import dead_letter_list, dead_letter_topics, dead_letters
from evkafka.ui import record_browser as browser
from tests.support.kafka_topics import MakeTopic
from tests.support.loop_cpu import LongestTurn, machine_factor, measure_turns
from tests.support.odd_records import HOSTILE, VALUES, OddRecord, odd_records

MOST_S = 0.050


def app_with_letters() -> EVKafkaApp:
    app = EVKafkaApp(title="Shop", web=True, web_port=0)
    handler = Handler()

    @handler.event("Ok")
    async def on_ok(order: dict[str, Any]) -> None: ...

    policy: Any = {"max_attempts": 1, "then": "dead_letter"}
    app.add_consumer({"topics": ["orders"], "group_id": "shop", "on_error": policy}, handler, name="shop")
    return app


async def asked(app: EVKafkaApp, path: str) -> Any:
    """Send the request from a thread: the work of the client must not count as work of the app's loop."""

    def ask() -> Any:
        with urllib.request.urlopen(f"{app.web_url}{path}", timeout=240) as answer:
            return json.loads(answer.read())

    return await asyncio.to_thread(ask)


async def snapshot_with(app: EVKafkaApp, text: bytes) -> bytes:
    """The first snapshot that contains the text."""

    def ask() -> bytes:
        with urllib.request.urlopen(f"{app.web_url}ui/api/events", timeout=240) as answer:
            while text not in (line := answer.readline()):
                pass
            return bytes(line)

    return await asyncio.to_thread(ask)


def assert_not_held(held: LongestTurn) -> None:
    assert 0 < held.seconds <= MOST_S * machine_factor()


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> list[OddRecord]:
    """The records of the topic and the dead-letter topic; empty at first."""
    there: list[OddRecord] = []

    async def read_page(
        connection: object,
        topic: str,
        partition: object,
        start: object,
        limits: PageLimits,
        matches: Any,
        *,
        decode: object,
    ) -> LogPage:
        shown = [record for record in there if matches(record)][: limits.records]
        return LogPage(shown, {0: PartitionRange(0, len(there), 0, len(there))}, None)

    async def all_topic_shapes(*args: object, **options: object) -> dict[str, object]:
        return {}

    async def partition_numbers_by_topic(*args: object) -> dict[str, list[int]]:
        return {"orders.shop.dlq": [0]}

    class Topic:
        def __init__(self, connection: object, name: str, **options: object) -> None:
            self.connection, self.name = connection, name

        async def newest_ranges(self, most: int, before: None) -> tuple[OffsetRanges, int]:
            return {0: range(len(there))}, 0

        async def read(self, wanted: object, *, closed: bool) -> AsyncIterator[tuple[DeadLetterRecord, str]]:
            for record in there:
                yield read_dead_letter(record), "open"

        async def read_in_batches(
            self, selected: Collection[DeadLetterPosition], max_records: int
        ) -> AsyncIterator[list[DeadLetterRecord]]:
            yield [one for one in map(read_dead_letter, there) if one.position in selected]

    monkeypatch.setattr(browser, "read_page", read_page)
    monkeypatch.setattr(dead_letter_topics, "all_topic_shapes", all_topic_shapes)
    monkeypatch.setattr(dead_letter_list, "partition_numbers_by_topic", partition_numbers_by_topic)
    monkeypatch.setattr(dead_letters, "DeadLetterTopic", Topic)
    return there


class TestRecords:
    @pytest.mark.parametrize("seed", range(4))
    async def test_odd_records_and_dead_letters_block_the_loop_for_at_most_50_ms(
        self, found: list[OddRecord], seed: int
    ) -> None:
        app = app_with_letters()
        async with InMemoryKafka() as kafka, kafka.running(app):
            for path in ("ui/api/records?topic=orders", "ui/api/letters"):  # the first answers import modules
                await asked(app, path)
            found += odd_records(100, seed=seed)
            with measure_turns() as held:
                records = await asked(app, "ui/api/records?topic=orders&limit=100")
                answer = await asked(app, "ui/api/letters")
        assert_not_held(held)
        assert len(records["records"]) == len(answer["letters"]) == 100

    async def test_a_search_through_odd_records_blocks_the_loop_for_at_most_50_ms(self, found: list[OddRecord]) -> None:
        app = app_with_letters()
        async with InMemoryKafka() as kafka, kafka.running(app):
            await asked(app, "ui/api/records?topic=orders&q=import")  # the first answer imports modules
            found += odd_records(100, seed=5)
            with measure_turns() as held:
                records = await asked(app, "ui/api/records?topic=orders&q=*&key=never")
                await asked(app, "ui/api/records?topic=orders&q=1")
        assert_not_held(held)
        assert records["records"] == []

    @pytest.mark.parametrize("value", VALUES, ids=lambda value: repr(value[:20]) if value else repr(value))
    async def test_a_record_that_cannot_be_shown_does_not_hide_the_others(
        self, found: list[OddRecord], value: bytes | None
    ) -> None:
        headers = [("Event-Type", b"Ok")]
        odd = OddRecord("orders", 0, 0, 9 * 10**17, b"k", value, headers)
        found += [odd, OddRecord("orders", 0, 1, 1, b"k", b'{"id": 1}', headers)]
        app = app_with_letters()
        async with InMemoryKafka() as kafka, kafka.running(app):
            records = (await asked(app, "ui/api/records?topic=orders"))["records"]
            rows = (await asked(app, "ui/api/letters"))["letters"]
        assert [one["offset"] for one in records] == [0, 1]
        assert sorted(one["offset"] for one in rows) == [0, 1]
        assert json.loads(records[1]["value"]["text"]) == {"id": 1}

    async def test_an_error_in_formatting_a_record_is_shown_in_its_row(
        self, found: list[OddRecord], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        found += [OddRecord("orders", 0, offset, 1, None, b"%d" % offset, ()) for offset in range(3)]
        for module in (browser, dead_letter_list):
            shown = module.record_value_as_text
            monkeypatch.setattr(
                module,
                "record_value_as_text",
                lambda record, most, s=shown: 1 / 0 if record.value == b"1" else s(record, most=most),
            )
        app = app_with_letters()
        async with InMemoryKafka() as kafka, kafka.running(app):
            records = (await asked(app, "ui/api/records?topic=orders"))["records"]
            rows = (await asked(app, "ui/api/letters"))["letters"]
        assert [one["value"]["text"] for one in records] == ["0", "cannot be shown: ZeroDivisionError", "2"]
        assert {one["value"]["text"] for one in rows} == {one["value"]["text"] for one in records}

    async def test_the_size_of_the_answer_is_limited(self, found: list[OddRecord]) -> None:
        headers = [(f"h{number}", b"\xff" * 100_000) for number in range(1000)]
        found += [OddRecord("orders", 0, offset, 1, b"k" * 10**6, b"\x1b" * 60_000, headers) for offset in range(100)]
        app = app_with_letters()
        async with InMemoryKafka() as kafka, kafka.running(app):
            for path in ("ui/api/records?topic=orders&limit=100", "ui/api/letters"):
                assert len(json.dumps(await asked(app, path))) < 6 * 1024 * 1024


class TestSnapshots:
    async def test_a_snapshot_of_full_statistics_is_limited_and_does_not_block_the_loop(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.CRITICAL, "evkafka.events")  # pytest keeps it all; copying is no work of the app
        app = app_with_letters()
        async with InMemoryKafka() as kafka, kafka.running(app):
            await snapshot_with(app, b"data")
            emit = app.telemetry.emit
            with measure_turns() as blocked:
                for number in range(300):
                    text = f"{number}{HOSTILE[number % len(HOSTILE)]}" + "A" * 100_000
                    error = LookupError(text)
                    emit(RecordsUnmatched("shop", "orders", "no_endpoint", text))
                    emit(AttemptFailed("shop", "orders", 0, number, text, f"on_{number}", 1, error, "wait", 1.0))
                    emit(RecordsProcessed("shop", "orders", {(text, "ok"): [0.01]}))
                    await asyncio.sleep(0)
                data = await snapshot_with(app, b"on_299")
        assert_not_held(blocked)
        assert len(data) < 1024 * 1024
        shown = json.loads(data.removeprefix(b"data: "))
        assert max(len(row["event_type"]) for row in shown["unmatched"]) <= 200
        assert max(len(group["message"]) for group in shown["errors"]) <= 1000
        assert "\x1b" not in json.dumps(shown, ensure_ascii=False)

    async def test_an_event_type_of_900_kb_is_cut_when_it_is_counted(self) -> None:
        events: list[RecordsUnmatched] = []
        app = app_with_letters()
        app.telemetry.listen(RecordsUnmatched, events.append)
        async with InMemoryKafka() as kafka, kafka.running(app):
            await kafka.send("orders", b"{}", event_type="A" * 900_000)
            await kafka.settle()
        assert [len(one.event_type or "") for one in events] == [200]


class TestOnARealKafka:
    async def test_large_records_block_the_loop_for_at_most_50_ms(
        self, kafka_broker: KafkaBroker, topic: MakeTopic
    ) -> None:
        name = await topic()
        servers = kafka_broker.bootstrap_servers
        app = EVKafkaApp(web=True, web_port=0)
        config: Any = {"topics": [name], "group_id": name, "bootstrap_servers": servers}
        app.add_consumer(config, Handler(), name="shop")
        async with EVKafkaProducer({"bootstrap_servers": servers, "topic": name}) as producer:
            for value in (b"[" + b"1," * 130_000 + b"1]", b"[" * 200 + b"1," * 130_000 + b"1" + b"]" * 200) * 10:
                await producer.send_event(value, "Nope")
        async with app.running():
            await asked(app, f"ui/api/records?topic={name}&limit=1")
            with measure_turns() as blocked:
                records = await asked(app, f"ui/api/records?topic={name}&limit=20")
        assert_not_held(blocked)
        assert len(records["records"]) == 20
