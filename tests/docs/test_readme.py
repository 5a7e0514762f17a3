"""README: its examples run, with another port, and its figures are current."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from evkafka import EVKafkaApp, EVKafkaProducer, Handler
from evkafka.broker import KafkaBroker
from tests.docs.programs import Start
from tests.support.doc_pages import ROOT, blocks
from tests.support.kafka_topics import MakeTopic
from tests.support.waiting import eventually

README = (ROOT / "README.md").read_text()
APP, *MORE = [block.code for block in blocks("README.md") if block.language == "python"]


class TestFirstExample:
    async def test_handles_an_event_and_ends_cleanly(
        self, kafka_broker: KafkaBroker, topic: MakeTopic, start: Start, tmp_path: Path
    ) -> None:
        name = await topic()
        servers = kafka_broker.bootstrap_servers
        program = APP.replace('"localhost:9092"', f'"{servers}"').replace('"orders"', f'"{name}"')
        program = program.replace('"billing"', f'"{name}"')  # a separate group
        (tmp_path / "app.py").write_text(program)
        app = start("python app.py", "app")
        async with EVKafkaProducer({"bootstrap_servers": servers, "topic": name}) as producer:

            async def placed() -> bool:
                await producer.send_event(
                    {"order_id": "1"}, "OrderPlaced"
                )  # the app starts at the end, because of `latest`
                return "placed 1\n" in app.printed

            await eventually(placed)
        assert app.terminate() == 0, app.printed


class TestOtherExamples:
    @pytest.mark.parametrize("code", MORE)
    def test_is_a_configuration_that_is_accepted(self, code: str) -> None:
        namespace: dict[str, object] = {}
        exec(compile(code, "README.md", "exec"), namespace)
        EVKafkaApp().add_consumer(namespace["config"], Handler())  # type: ignore[arg-type]


class TestFigures:
    def test_are_those_of_the_last_benchmark(self) -> None:
        figures = (ROOT / "bench" / "results" / "latest.md").read_text().splitlines()
        missing = [line for line in figures if line not in README.splitlines()]
        assert missing == []

    def test_of_the_comparison_page_are_about_the_same(self) -> None:
        page = (ROOT / "docs" / "comparison.md").read_text().partition("## Speed")[2]
        rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in page.splitlines() if line.startswith("| ")]
        stated = {title: (float(us), float(ratio)) for title, us, _, ratio in rows if us[0].isdigit()}
        assert len(stated) == 6
        results = json.loads((ROOT / "bench" / "results" / "latest.json").read_text())["results"]
        for one in results:
            if one["title"] in stated:
                assert stated.pop(one["title"]) == pytest.approx((one["cpu_us_per_event"], one["ratio"]), rel=0.4)
        assert stated == {}
