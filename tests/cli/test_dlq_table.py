"""The table of `evkafka dlq list` in terminals of several widths."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from evkafka.cli.impl.dlq_table import print_letters
from evkafka.dlq import DeadLetterRecord
from tests.support.endpoint_calls import record

DECODE_ERROR = (
    "the value of orders[1]@0 (event type 'OrderPlaced') is not the Order that shop.on_order expects:"
    " cents: Field required"
)


def dead_letter(error_type: str, message: str, *, topic: str = "orders") -> DeadLetterRecord:
    return DeadLetterRecord(
        record=record("OrderPlaced", partition=0, offset=12),
        id="1",
        topic=topic,
        partition=0,
        offset=7,
        timestamp_ms=None,
        group="billing",
        event_type="OrderPlaced",
        attempts=3,
        error_type=error_type,
        error_message=message,
        traceback="",
        failed_at=datetime(2026, 11, 29, 4, 31, tzinfo=UTC),
        replays=0,
    )


def printed(capsys: pytest.CaptureFixture[str], letter: DeadLetterRecord, width: int, *, status: bool = False) -> str:
    print_letters([(letter, "discarded")], with_status=status, width=width)
    heads, line = capsys.readouterr().out.splitlines()
    assert max(len(heads), len(line)) <= width
    return line


class TestATerminalOf80Columns:
    def test_has_the_address_the_time_and_the_error(self, capsys: pytest.CaptureFixture[str]) -> None:
        line = printed(capsys, dead_letter("builtins.ValueError", "no printer"), 80)
        assert line.split() == ["0", "12", "2026-11-29", "04:31:00", "ValueError:", "no", "printer", "orders[0]@7"]

    def test_shortens_only_the_error_in_its_middle(self, capsys: pytest.CaptureFixture[str]) -> None:
        line = printed(capsys, dead_letter("evkafka.DecodeError", DECODE_ERROR), 80)
        assert "  DecodeEr" in line
        assert "\N{HORIZONTAL ELLIPSIS}" in line
        assert "Field required  orders[0]@7" in line


def test_a_wide_table_has_all_columns_and_the_end_of_a_long_error(capsys: pytest.CaptureFixture[str]) -> None:
    line = printed(capsys, dead_letter("evkafka.DecodeError", DECODE_ERROR), 300, status=True)
    assert "OrderPlaced  3 " in line
    assert "DecodeError: the value of" in line
    assert "on_order expects: cents: Field required  orders[0]@7  discarded" in line


def test_a_row_that_is_too_long_for_the_terminal_is_printed_whole(capsys: pytest.CaptureFixture[str]) -> None:
    topic = "a-topic-with-a-long-name" * 3
    print_letters([(dead_letter("ValueError", "no printer", topic=topic), "open")], with_status=False, width=80)
    assert f"ValueError: no printer  {topic}[0]@7" in capsys.readouterr().out
