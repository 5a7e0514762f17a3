"""Log lines: their fields as JSON, and what they never contain."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from evkafka import EVKafkaApp, Handler
from evkafka.observe.log_format import JsonFormatter
from evkafka.testing import InMemoryKafka


def line(message: str = "said %s", *args: object, exc_info: Any = None, **extra: object) -> dict[str, Any]:
    record = logging.getLogger("shop").makeRecord(
        "shop", logging.WARNING, __file__, 1, message, args or ("so",), exc_info, extra=extra
    )
    text = JsonFormatter().format(record)
    assert "\n" not in text
    logged: dict[str, Any] = json.loads(text)
    return logged


class TestJson:
    def test_a_line_is_one_flat_object(self) -> None:
        logged = line()
        assert logged["message"] == "said so"
        assert (logged["level"], logged["logger"]) == ("WARNING", "shop")
        assert logged["timestamp"].endswith("+00:00")
        assert list(logged) == ["timestamp", "level", "logger", "message"]

    def test_it_has_our_fields_and_those_of_other_packages(self) -> None:
        logged = line(offset=7, consumer="billing", tenant="a", nothing=None)
        assert list(logged)[4:] == ["consumer", "offset", "tenant"]

    def test_an_error_is_logged_with_its_class_and_traceback(self) -> None:
        try:
            raise ValueError("no")
        except ValueError as error:
            logged = line(exc_info=(ValueError, error, error.__traceback__))
        assert logged["error.type"] == "builtins.ValueError"
        assert "raise ValueError" in logged["error.stack"]

    def test_values_that_json_has_not_are_text(self) -> None:
        assert line(where=Path("a"))["where"] == "a"

    def test_a_line_logged_in_a_span_has_its_ids(self) -> None:
        from opentelemetry import trace
        from opentelemetry.sdk.trace import TracerProvider

        with TracerProvider().get_tracer("test").start_as_current_span("x") as span:
            logged = line()
        context = span.get_span_context()
        assert logged["trace_id"] == trace.format_trace_id(context.trace_id)
        assert logged["span_id"] == trace.format_span_id(context.span_id)


class TestLinesOfTheRuntime:
    async def test_a_failed_attempt_has_all_fields_and_a_hash_for_the_key(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        handler = Handler()

        @handler.event("OrderPlaced")
        async def on_order(event: dict[str, Any]) -> None:
            raise ValueError("no such customer")

        app = EVKafkaApp()
        config = {"topics": ["orders"], "group_id": "g", "on_error": {"max_attempts": 2, "then": "skip"}}
        app.add_consumer(config, handler, name="billing")  # type: ignore[arg-type]
        caplog.set_level(logging.DEBUG)
        async with InMemoryKafka() as kafka, kafka.running(app):
            for _ in range(2):
                await kafka.send("orders", {"card": "planted-value"}, event_type="OrderPlaced", key="planted-key")
            await kafka.settle()
        failed = [vars(record) for record in caplog.records if "failed at orders" in record.getMessage()]
        assert {
            key: failed[0][key] for key in ("consumer", "topic", "partition", "offset", "event_type", "attempt")
        } == {
            "consumer": "billing",
            "topic": "orders",
            "partition": 0,
            "offset": 0,
            "event_type": "OrderPlaced",
            "attempt": 1,
        }
        assert failed[0]["handler"].endswith("on_order")
        assert len({one["key_hash"] for one in failed}) == 1
        assert "planted" not in caplog.text
        assert not any("planted" in str(value) for one in failed for value in one.values())

    async def test_the_start_logs_the_effective_configuration_without_secrets(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        app = EVKafkaApp()
        app.add_consumer(
            {
                "topics": ["orders"],
                "group_id": "g",
                "security_protocol": "SASL_PLAINTEXT",
                "sasl_mechanism": "PLAIN",
                "sasl_plain_username": "somebody",
                "sasl_plain_password": "planted-password",
            },
            Handler(),
        )
        caplog.set_level(logging.DEBUG)
        async with InMemoryKafka() as kafka, kafka.running(app):
            pass
        assert "sasl_plain_password=***" in caplog.text
        assert "auto_commit_interval_ms=5000" in caplog.text
        assert "planted" not in caplog.text


@pytest.mark.parametrize("options", [["--log-format", "json"], []])
def test_run_logs_plain_text_or_json(tmp_path: Path, options: list[str]) -> None:
    (tmp_path / "shop.py").write_text(
        "import logging\nclass App:\n"
        "    def run(self):\n        logging.getLogger('evkafka').info('here', extra={'topic': 'orders'})\n"
        "    async def serve(self):\n        self.run()\n"
        "app = App()\n"
    )
    environment = {key: value for key, value in os.environ.items() if not key.startswith("EVKAFKA_")}
    ended = subprocess.run(
        [sys.executable, "-m", "evkafka.cli", "run", "shop:app", *options],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert ended.returncode == 0, ended.stderr
    if options:
        logged = json.loads(ended.stderr)
        assert (logged["message"], logged["topic"]) == ("here", "orders")
    else:
        assert "INFO     evkafka  here" in ended.stderr
