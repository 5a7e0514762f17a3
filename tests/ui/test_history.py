"""The history behind the charts."""

from __future__ import annotations

import pytest

from evkafka.ui.history import APP, DETAILS, HISTORIES_MAX, PARTITIONS_MAX, History
from tests.ui.statuses import partition, status

START_S = 1_000_000.0


@pytest.fixture
def history() -> History:
    return History(START_S)


class TestTheApp:
    @pytest.mark.parametrize("span", APP)
    def test_has_one_value_for_each_step_of_a_span(self, history: History, span: str) -> None:
        history.count_attempts(START_S + 5, "shop", "orders", handled=7, failed=2, durations_s=[0.01])
        series = history.series_of_app(span, START_S + 20)
        step_s = series["step_s"]
        assert len(series["at_s"]) * step_s in (300, 900, 3600, 6 * 3600)
        assert {len(series[name]) for name in ("handled_per_s", "failed_per_s", "lag", "p50_s", "p95_s")} == {  # type: ignore[literal-required]
            len(series["at_s"])
        }
        assert set(series["p95_s"]) == {None, 0.01}

    def test_counts_nothing_before_its_start_and_0_after_it(self, history: History) -> None:
        handled = history.series_of_app("5m", START_S + 100)["handled_per_s"]
        assert handled == [None] * 200 + [0.0] * 100

    def test_rates_are_those_of_the_last_five_whole_seconds(self, history: History) -> None:
        for second in range(10):
            history.count_attempts(START_S + second, "shop", "orders", handled=10 * second, failed=1, durations_s=[])
        assert history.current_app_rates(START_S + 9.5) == ((40 + 50 + 60 + 70 + 80) / 5, 1.0)

    def test_the_lag_is_drawn_through_the_times_when_nobody_looks(self, history: History) -> None:
        for at_s in range(0, 60, 15):
            history.sample_status(START_S + at_s, status(partition(0, 1, 5), partition(1, 2, 3)))
        assert history.series_of_app("5m", START_S + 50)["lag"] == [None] * 250 + [5.0] * 50


class TestConsumersAndTopics:
    def test_are_counted_apart(self, history: History) -> None:
        history.count_attempts(START_S + 1, "shop", "orders", handled=50, failed=0, durations_s=[])
        history.count_attempts(START_S + 1, "shop", "returns", handled=25, failed=0, durations_s=[])
        history.count_attempts(START_S + 1, "board", "orders", handled=5, failed=0, durations_s=[])

        def handled(consumer: str, topic: str | None = None) -> float:
            return history.series_of_consumer("5m", START_S + 5, consumer, topic)["handled_per_s"][-1] or 0

        assert (handled("shop"), handled("shop", "orders"), handled("shop", "returns")) == (15, 10, 5)
        assert (handled("board"), handled("board", "returns")) == (1, 0)

    def test_are_limited(self, history: History) -> None:
        for number in range(2 * HISTORIES_MAX):
            history.count_attempts(START_S, "shop", f"topic-{number}", handled=10, failed=0, durations_s=[])
        series = history.series_of_consumer("5m", START_S + 5, "shop", f"topic-{2 * HISTORIES_MAX - 1}")
        assert series["handled_per_s"][-1] == 0
        assert history.series_of_consumer("5m", START_S + 5, "shop", "topic-0")["handled_per_s"][-1] == 2


class TestPartitions:
    def test_have_their_lag_and_how_fast_they_are_read(self, history: History) -> None:
        for second in range(0, 31, 15):
            history.sample_status(START_S + second, status(partition(0, 10 * second, 1000)))
        series = history.series_of_partition("5m", START_S + 30, "shop", "orders", 0)
        assert series["read_per_s"][-6:] == [10.0] * 6
        assert set(series["read_per_s"][:-6]) == {None}
        assert series["lag"][-6:] == [1000, 1000, 1000, 850, 850, 850]

    def test_a_seek_backwards_is_not_a_rate(self, history: History) -> None:
        history.sample_status(START_S, status(partition(0, 500)))
        history.sample_status(START_S + 1, status(partition(0, 20)))
        history.sample_status(START_S + 2, status(partition(0, 30)))
        rates = history.series_of_partition("5m", START_S + 5, "shop", "orders", 0)["read_per_s"]
        assert [rate for rate in rates if rate is not None] == [2.0]

    def test_are_forgotten_when_they_are_not_assigned_any_more(self, history: History) -> None:
        history.sample_status(START_S, status(partition(0, 0, 9)))
        history.sample_status(START_S + 1, status())
        assert set(history.series_of_partition("5m", START_S + 5, "shop", "orders", 0)["lag"]) == {None}

    def test_are_limited(self, history: History) -> None:
        history.sample_status(START_S, status(*(partition(number, 0, 9) for number in range(PARTITIONS_MAX + 1))))
        lags = [
            set(history.series_of_partition("5m", START_S + 5, "shop", "orders", number)["lag"])
            for number in (PARTITIONS_MAX - 1, PARTITIONS_MAX)
        ]
        assert lags == [{None, 9}, {None}]

    def test_have_spans_with_the_same_names_as_the_app(self) -> None:
        assert list(APP) == list(DETAILS)
