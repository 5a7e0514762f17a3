"""The page "Producing events": its tests pass, its script prints what the page shows, its figures are current."""

from __future__ import annotations

from pathlib import Path

import pytest

from evkafka.broker import KafkaBroker
from tests.docs.programs import Start
from tests.support.doc_pages import ROOT, blocks, file
from tests.support.kafka_topics import MakeTopic

PAGE = "docs/producing.md"

TEST_MORE = """
import corrections
from billing import app
from evkafka import TestClient


def test_a_plain_def_endpoint_sends_from_its_thread():
    with TestClient(app) as client:
        client.send_event({"order_id": "1", "customer": "c-7", "cents": 5}, "OrderCorrected", "orders")
    assert [sent.event_type for sent in client.sent] == ["BillIssued"]
"""

pytest_plugins = ["pytester"]


def test_its_tests_pass(pytester: pytest.Pytester) -> None:
    code = {block.title: block.code for block in blocks(PAGE) if block.language == "python"}
    assert None not in code, "a block without a file's name is not run"
    for name, text in {**code, "test_more.py": TEST_MORE}.items():
        (pytester.path / str(name)).write_text(text)
    pytester.makeini("[pytest]\nasyncio_default_fixture_loop_scope = function\nfilterwarnings = error\n")

    done = pytester.runpytest_subprocess("-p", "no:cacheprovider", timeout=240)

    done.assert_outcomes(passed=6)


@pytest.mark.kafka
async def test_its_script_prints_what_the_page_shows(
    kafka_broker: KafkaBroker, topic: MakeTopic, start: Start, tmp_path: Path
) -> None:
    name = await topic()
    program = file(PAGE, "send_orders.py").replace("localhost:9092", kafka_broker.bootstrap_servers)
    (tmp_path / "send_orders.py").write_text(program.replace('"topic": "orders"', f'"topic": "{name}"'))
    [command] = [block.code.strip() for block in blocks(PAGE) if block.language == "shell"]
    [shown] = [block.code for block in blocks(PAGE) if block.language == "text"]

    script = start(command, "script")

    assert script.process.wait(60) == 0, script.printed
    assert script.printed == shown


def test_its_figures_are_those_of_the_last_benchmark() -> None:
    page = (ROOT / PAGE).read_text().splitlines()
    measured = (ROOT / "bench" / "results" / "producing.md").read_text().splitlines()
    assert [line for line in measured if "KafkaProducer" in line and line not in page] == []
