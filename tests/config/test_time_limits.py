"""Time limits in error texts."""

from __future__ import annotations

import pytest

from evkafka.config.time_limits import seconds_text, send_limit_text, time_limit_text


@pytest.mark.parametrize(
    ("limit_s", "text"), [(0.5, "500 ms"), (3.0, "3000 ms"), (0.29, "290 ms"), (1800.0, "1800000 ms")]
)
def test_a_setting_is_written_as_the_user_gave_it(limit_s: float, text: str) -> None:
    assert time_limit_text(limit_s, "start_timeout_ms") == f"{text} (start_timeout_ms)"


@pytest.mark.parametrize(
    ("time_s", "text"), [(2.99996, "3 s"), (0.04567, "0.0457 s"), (1800.4, "1800 s"), (0.5, "0.5 s"), (0.0, "0 s")]
)
def test_a_computed_time_is_rounded(time_s: float, text: str) -> None:
    assert seconds_text(time_s) == text


def test_a_send_has_the_delivery_timeout_or_what_its_endpoint_had_left() -> None:
    assert send_limit_text(120.0, 120.0) == "120000 ms (delivery_timeout_ms)"
    assert send_limit_text(1.23456, 120.0) == "1.23 s (the time that the endpoint had left)"
