"""No text of an error, a record or a request can imitate a log line."""

from __future__ import annotations

import io
import json
import logging
import re
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evkafka.observe.log_format import MOST_CHARACTERS, JsonFormatter, PlainFormatter
from evkafka.observe.logs import start_event_log
from evkafka.telemetry import AttemptFailed, CommitFailed, ConsumerLost, ConsumerStopped, PartitionBlocked, Telemetry
from tests.support.odd_records import HOSTILE
from tests.support.unsafe_text import ANY_TEXT, acted_on

FORGED = "\n2026-01-01 00:00:00,000 INFO     evkafka.audit  pause from 1.2.3.4: forged\x1b[2J"
BEGINS = re.compile(r"^\S", re.MULTILINE)


def logged(formatter: logging.Formatter, message: str, error: BaseException | None = None) -> str:
    """The output of a handler with this formatter for an error with this message."""
    info = None
    if error is not None:
        try:
            raise error
        except BaseException:
            info = sys.exc_info()
    record = logging.LogRecord("evkafka", logging.ERROR, __file__, 1, "failed: %s", (message,), info)
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    handler.setFormatter(formatter)
    handler.handle(record)
    return written.getvalue()


class TestPlain:
    @pytest.mark.parametrize("text", [FORGED, *HOSTILE])
    def test_an_error_text_begins_no_line(self, text: str) -> None:
        written = logged(PlainFormatter("%(asctime)s %(levelname)-8s %(name)s  %(message)s"), text, ValueError(text))
        assert len(BEGINS.findall(written)) == 1
        assert set(acted_on(written)) <= {"\n", "\t"}

    @given(ANY_TEXT, st.booleans())
    def test_no_text_begins_a_line_or_controls_a_terminal(self, text: str, raised: bool) -> None:
        written = logged(PlainFormatter("%(levelname)s %(message)s"), text, ValueError(text) if raised else None)
        assert len(BEGINS.findall(written)) == 1
        assert set(acted_on(written)) <= {"\n", "\t"}
        written.encode()

    def test_a_traceback_is_indented(self) -> None:
        written = logged(PlainFormatter("%(message)s"), "x", ValueError("no rate"))
        assert "\n    Traceback (most recent call last):\n" in written
        assert "\n    ValueError: no rate\n" in written

    def test_an_error_as_long_as_a_record_is_cut(self) -> None:
        assert len(logged(PlainFormatter("%(message)s"), "x", ValueError("y" * 10**6))) < 2 * MOST_CHARACTERS

    def test_the_command_line_uses_it(self) -> None:
        program = f"""
import logging
from evkafka.cli.logging import configure_logging
configure_logging("info", as_json=False)
try:
    raise ValueError({FORGED!r})
except ValueError:
    logging.getLogger("evkafka").exception("it failed")
"""
        ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=240)
        assert len(BEGINS.findall(ended.stderr)) == 1
        assert "\x1b" not in ended.stderr


class TestJson:
    @given(ANY_TEXT)
    def test_a_record_is_one_line_whatever_it_contains(self, text: str) -> None:
        written = logged(JsonFormatter(), text, ValueError(text))
        assert written.count("\n") == 1
        assert acted_on(written) == ["\n"]
        assert json.loads(written)["message"] == f"failed: {text}"


class TestEvents:
    """Lines of this package in a log that the app has configured."""

    @pytest.mark.parametrize("text", [FORGED, "A" * 100_000])
    def test_quote_an_error_on_one_line_of_a_bounded_length(self, text: str, caplog: pytest.LogCaptureFixture) -> None:
        class Loud(Exception):
            def __repr__(self) -> str:
                return text

            def __str__(self) -> str:
                return text

        telemetry = Telemetry()
        start_event_log(telemetry)
        error = Loud()
        telemetry.emit(AttemptFailed("shop", "orders", 0, 1, "X", "shop.on_x", 1, error, "wait", 1.0))
        telemetry.emit(CommitFailed("shop", {("orders", 0): 1}, error))  # type: ignore[dict-item]
        telemetry.emit(ConsumerLost("shop", error, 1.0))
        telemetry.emit(ConsumerStopped("shop", error))
        telemetry.emit(PartitionBlocked("shop", ("orders", 0), 1, error, False))  # type: ignore[arg-type]
        assert len(caplog.messages) == 5
        for message in caplog.messages:
            assert message.isprintable()
            assert len(message) < 3000
