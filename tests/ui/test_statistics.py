"""The page's statistics: rates, history and error groups, from the runtime's events."""

from __future__ import annotations

import pytest

from evkafka.telemetry import AttemptFailed, RecordsProcessed, Telemetry
from evkafka.ui.error_groups import GROUPS_MAX, MINUTES
from evkafka.ui.statistics import Statistics
from tests.support.tracebacks import error_through


class Clock:
    def __init__(self) -> None:
        self.s = 1_000_000.0

    def __call__(self) -> float:
        return self.s


@pytest.fixture
def telemetry() -> Telemetry:
    return Telemetry()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def statistics(telemetry: Telemetry, clock: Clock) -> Statistics:
    return Statistics(telemetry, now=clock)


def processed(status: str = "ok", number: int = 1, event_type: str = "X") -> RecordsProcessed:
    return RecordsProcessed("shop", "t", {(event_type, status): [0.01] * number})  # type: ignore[dict-item]


def failed(error: BaseException, offset: int = 0, endpoint: str = "shop.on_order") -> AttemptFailed:
    return AttemptFailed("shop", "t", 0, offset, "X", endpoint, 1, error, "wait", 1.0)


class TestStatistics:
    def test_rates_are_those_of_the_last_five_whole_seconds(
        self, statistics: Statistics, telemetry: Telemetry, clock: Clock
    ) -> None:
        for _ in range(5):
            telemetry.emit(processed(number=100))
            telemetry.emit(processed("retried", number=10))
            clock.s += 1
        assert statistics.current_app_rates() == (100.0, 10.0)
        clock.s += 60
        assert statistics.current_app_rates() == (0.0, 0.0)
        assert (statistics.handled, statistics.failed) == (500, 50)

    def test_errors_of_one_kind_are_grouped_with_their_last_addresses(
        self, statistics: Statistics, telemetry: Telemetry, clock: Clock
    ) -> None:
        for offset in range(10):
            telemetry.emit(failed(ValueError(f"no {offset}"), offset))
            clock.s += 2
        [group] = statistics.error_groups()
        assert (group["count"], group["message"]) == (10, "no 9")
        assert [one["offset"] for one in group["records"]] == [9, 8, 7, 6, 5]

    def test_errors_are_counted_by_minute_and_those_that_became_dead_letters_too(
        self, statistics: Statistics, telemetry: Telemetry, clock: Clock
    ) -> None:
        clock.s = 60_000.0
        for decision, pause_s in (("wait", 59), ("wait", 1), ("dead_letter", 180), ("wait", 0)):
            telemetry.emit(AttemptFailed("shop", "t", 0, 1, "X", "shop.on_order", 1, ValueError(), decision, 1.0))
            clock.s += pause_s
        [group] = statistics.error_groups()
        assert group["counts"] == [0] * (MINUTES - 5) + [2, 1, 0, 0, 1]
        assert group["dead_lettered"] == 1
        clock.s += 60 * MINUTES
        [group] = statistics.error_groups()
        assert (group["counts"], group["count"]) == ([0] * MINUTES, 4)

    def test_an_outcome_is_a_group_with_its_name_and_its_last_reason(
        self, statistics: Statistics, telemetry: Telemetry, clock: Clock
    ) -> None:
        for reason in ("no stock", "no customer"):
            clock.s += 2
            telemetry.emit(
                AttemptFailed(
                    "shop", "t", 0, 1, "X", "shop.on_order", 1, None, "dead_letter", 0.0, None, "DeadLetter", reason
                )
            )
        [group] = statistics.error_groups()
        assert (group["type"], group["message"], group["traceback"]) == ("DeadLetter", "no customer", "")

    def test_a_traceback_begins_in_the_code_of_the_app(self, statistics: Statistics, telemetry: Telemetry) -> None:
        def on_order() -> None:
            raise ValueError("no customer")

        telemetry.emit(failed(error_through("evkafka", on_order)))
        [group] = statistics.error_groups()
        assert "on_order" in group["traceback"]
        assert "evkafka.py" not in group["traceback"]

    def test_error_groups_are_limited(self, statistics: Statistics, telemetry: Telemetry) -> None:
        for number in range(3 * GROUPS_MAX):
            telemetry.emit(failed(ValueError("x" * 100_000), endpoint=f"shop.on_{number}"))
            telemetry.emit(processed(event_type=f"type-{number}"))
        assert len(statistics.error_groups()) == GROUPS_MAX
        assert all(len(group["message"]) <= 1000 for group in statistics.error_groups())

    def test_counts_nothing_after_its_end(self, statistics: Statistics, telemetry: Telemetry) -> None:
        statistics.stop_counting()
        telemetry.emit(processed())
        assert statistics.handled == 0
        assert not telemetry.wants(RecordsProcessed)
