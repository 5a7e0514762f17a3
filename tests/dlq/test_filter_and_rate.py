"""The filter of dead letters, and the rate limit of a replay. No Kafka."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

import pytest

from evkafka.config.settings import ErrorPolicySettings
from evkafka.dlq.dead_letter import DeadLetterFilter, DeadLetterPosition, DeadLetterRecord, read_dead_letter
from evkafka.dlq.replay import _RateLimiter
from evkafka.runtime.dead_letters.headers import dead_letter_headers
from tests.support.dead_letters import ID, Source, failure

NOON = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


def dead_letter(**fields: Any) -> DeadLetterRecord:
    """A dead letter of OrderPlaced that failed with a ValueError at noon, at offset 5 of partition 1."""
    headers = dead_letter_headers(Source(), failure(**fields), ErrorPolicySettings(), id_=ID)
    return read_dead_letter(Source("orders.billing.dlq", 1, 5, headers=headers))


class TestAFilter:
    @pytest.mark.parametrize(
        "wanted",
        [
            DeadLetterFilter(),
            DeadLetterFilter(event_types=["Other", "OrderPlaced"]),
            DeadLetterFilter(error="ValueError"),
            DeadLetterFilter(error="builtins.Value*"),
            DeadLetterFilter(error="such order"),
            DeadLetterFilter(since=NOON),
            DeadLetterFilter(until=NOON.replace(minute=1)),
            DeadLetterFilter(partition=1),
            DeadLetterFilter(partition=1, offset=5),
            DeadLetterFilter(ids=["billing/orders/2/41"]),
            DeadLetterFilter(positions=[DeadLetterPosition(1, 5)]),
            DeadLetterFilter(containing="SUCH ORDER"),
            DeadLetterFilter(containing="orders/2/41"),
            DeadLetterFilter(within={1: range(5, 6)}),
            DeadLetterFilter(["OrderPlaced"], "Value*", NOON, NOON.replace(hour=13), 1, 5, ["billing/orders/2/41"]),
        ],
    )
    def test_matches_what_it_names(self, wanted: DeadLetterFilter) -> None:
        assert wanted.matches(dead_letter())

    @pytest.mark.parametrize(
        "wanted",
        [
            DeadLetterFilter(event_types=["Order"]),
            DeadLetterFilter(error="Value"),
            DeadLetterFilter(error="KeyError"),
            DeadLetterFilter(since=NOON.replace(second=1)),
            DeadLetterFilter(until=NOON),
            DeadLetterFilter(partition=2),
            DeadLetterFilter(partition=1, offset=41),
            DeadLetterFilter(ids=["billing/orders/1/5"]),
            DeadLetterFilter(positions=[DeadLetterPosition(1, 41), DeadLetterPosition(2, 5)]),
            DeadLetterFilter(event_types=["OrderPlaced"], error="Value*", partition=0),
            DeadLetterFilter(containing="such orders"),
            DeadLetterFilter(within={1: range(6, 9)}),
            DeadLetterFilter(within={2: range(9)}),
        ],
    )
    def test_does_not_match_others(self, wanted: DeadLetterFilter) -> None:
        assert not wanted.matches(dead_letter())

    def test_by_event_type_does_not_match_a_dead_letter_without_one(self) -> None:
        assert not DeadLetterFilter(event_types=["OrderPlaced"]).matches(dead_letter(event_type=None))


class TestAPlace:
    def test_names_one_dead_letter_or_a_range(self) -> None:
        assert DeadLetterPosition.parse_range("1@5") == [(1, 5)]
        assert DeadLetterPosition.parse_range("1@5-7") == [(1, 5), (1, 6), (1, 7)]

    @pytest.mark.parametrize("text", ["5", "1@", "1@7-5", "1@5-", "1@5-x", "1@0-100000"])
    def test_of_another_form_is_refused(self, text: str) -> None:
        with pytest.raises(ValueError, match=r"PARTITION@|100000"):
            DeadLetterPosition.parse_range(text)


class TestARate:
    async def test_limits_single_dead_letters_and_batches(self) -> None:
        limiter, began_s = _RateLimiter(50.0), time.monotonic()
        for letters in (1, 1, 4, 4, 1):
            await limiter.wait_for_turn(letters)
        assert time.monotonic() - began_s >= 10 / 50 * 0.99

    async def test_of_none_does_not_wait(self, monkeypatch: pytest.MonkeyPatch) -> None:
        waits: list[float] = []

        async def sleep(delay_s: float) -> None:
            waits.append(delay_s)

        monkeypatch.setattr("evkafka.dlq.replay.asyncio.sleep", sleep)
        limiter = _RateLimiter(None)
        for _ in range(3):
            await limiter.wait_for_turn(100)
        assert waits == [0.0, 0.0, 0.0]
