"""The page "Retry topics": its app on a real Kafka during an outage of the service that it calls, and its test."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer

from evkafka.broker import KafkaBroker
from tests.docs.programs import Start
from tests.support.doc_pages import file
from tests.support.kafka_topics import MakeTopic
from tests.support.waiting import eventually

PAGE = "docs/retry-topics.md"

pytest_plugins = ["pytester"]


class Rates(BaseHTTPRequestHandler):
    """Knows the Swiss franc; answers nothing during its outage."""

    away = True

    def do_GET(self) -> None:
        self.send_response(503 if Rates.away else 200)
        self.end_headers()
        self.wfile.write(b"1.03")

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture
def rates() -> Iterator[int]:
    """Start the service; yield its port."""
    Rates.away = True
    with HTTPServer(("127.0.0.1", 0), Rates) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


async def test_its_app_sends_failed_records_to_retry_topics_and_retries_them(
    start: Start, tmp_path: Path, topic: MakeTopic, kafka_broker: KafkaBroker, rates: int
) -> None:
    name = await topic(prefix="invoices")
    program = file(PAGE, "billing.py").replace("localhost:9092", kafka_broker.bootstrap_servers)
    program = program.replace("localhost:8099", f"127.0.0.1:{rates}").replace('["invoices"]', f'["{name}"]')
    (tmp_path / "billing.py").write_text(program.replace("5_000, 60_000", "1_500, 60_000"))
    service = start("python billing.py", "service")
    async with AIOKafkaProducer(bootstrap_servers=kafka_broker.bootstrap_servers) as producer:
        value = json.dumps({"id": 1, "currency": "CHF", "amount": 10}).encode()
        await producer.send_and_wait(name, value, headers=[("Event-Type", b"InvoiceWritten")])
    await eventually(lambda: "writing it to a retry topic, next attempt in 1.5 s" in service.printed)
    Rates.away = False
    await eventually(lambda: "invoice 1: 10.30 EUR, attempt 3" in service.printed)
    assert service.terminate() == 0, service.printed


def test_its_test_passes(pytester: pytest.Pytester) -> None:
    code = file(PAGE, "test_billing.py")
    (pytester.path / "test_billing.py").write_text(code)
    pytester.makeini(
        "[pytest]\nasyncio_mode = auto\nasyncio_default_fixture_loop_scope = function\nfilterwarnings = error\n"
    )
    done = pytester.runpytest_subprocess("-p", "no:cacheprovider", timeout=240)
    done.assert_outcomes(passed=len(re.findall("def test_", code)))
