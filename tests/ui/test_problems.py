"""The list of problems: the worst first, and none that comes and goes each second."""

from __future__ import annotations

import pytest

from evkafka.observe.health import HealthChecks
from evkafka.runtime.status import AppStatus
from evkafka.telemetry import AttemptFailed, Telemetry
from evkafka.ui.consumer_rows import ConsumerRows
from evkafka.ui.models import OpenDeadLetters, Problem
from evkafka.ui.problems import ProblemList
from evkafka.ui.statistics import Statistics
from tests.ui.statuses import NOW_MS, partition, retrying, status


class Viewer:
    """Sees the problems of a status."""

    def __init__(self) -> None:
        self.telemetry = Telemetry()
        self.statistics = Statistics(self.telemetry)
        self._health = HealthChecks(self.telemetry)
        self._list = ProblemList()

    def sees(self, seen: AppStatus, dead_letters: int = 0) -> list[Problem]:
        ready, live = self._health.ready(seen), self._health.live(seen)
        rows = ConsumerRows(seen, self._health, self.statistics).create(ready, live)
        letters = OpenDeadLetters(open=dead_letters, counted=True, topics=[])
        return self._list.update(seen, ready, live, rows, letters)


@pytest.fixture
def viewer() -> Viewer:
    return Viewer()


def written_ago(seconds: float) -> AppStatus:
    return status(partition(0, 8, 20, oldest_timestamp_ms=NOW_MS - int(seconds * 1000)))


class TestOrder:
    def test_is_the_worst_first_and_of_equal_ones_the_oldest(self, viewer: Viewer) -> None:
        found = viewer.sees(
            status(
                retrying(0, for_s=0.4),
                retrying(1, for_s=12),
                retrying(2, for_s=301),
                partition(3, paused=True, oldest_age_s=900),
                retrying(4, for_s=3600),
            ),
            dead_letters=3,
        )
        assert [problem["what"].split()[0] for problem in found] == [
            "orders[4]",
            "orders[2]",
            "orders[3]",
            "orders[1]",
            "3",
        ]

    def test_a_consumer_without_a_connection_comes_before_its_partitions(self, viewer: Viewer) -> None:
        found = viewer.sees(status(retrying(0, for_s=3600), membership="lost"))
        assert [problem["what"].split()[0] for problem in found] == ["the", "orders[0]"]


class TestWhatComesAndGoes:
    def test_a_short_retry_is_no_problem(self, viewer: Viewer) -> None:
        assert viewer.sees(status(retrying(for_s=9))) == []
        assert viewer.sees(status(retrying(for_s=11))) != []

    def test_a_short_rebalance_is_no_problem(self, viewer: Viewer) -> None:
        assert viewer.sees(status(membership="joining", joining_s=3)) == []
        assert viewer.sees(status(membership="joining", joining_s=20)) != []

    def test_a_late_partition_is_listed_until_it_is_clearly_less_late(self, viewer: Viewer) -> None:
        counts = [len(viewer.sees(written_ago(seconds))) for seconds in (59, 61, 59, 46, 44, 59, 61)]
        assert counts == [0, 1, 1, 1, 0, 0, 1]

    def test_a_problem_keeps_its_key_while_its_figures_change(self, viewer: Viewer) -> None:
        [first], [later] = viewer.sees(status(retrying(for_s=11))), viewer.sees(status(retrying(for_s=99, failed=4)))
        assert first["what"] != later["what"]
        assert first["key"] == later["key"]


class TestLinks:
    def test_lead_from_a_partition_to_the_error_of_its_record(self, viewer: Viewer) -> None:
        stuck = status(retrying(1, for_s=11))
        [problem] = viewer.sees(stuck)
        assert (problem["link"], problem["screen"]) == (
            "View partition",
            "consumers?consumer=shop&topic=orders&partition=1",
        )
        error = AttemptFailed("shop", "orders", 1, 7, "X", "shop.on_x", 1, LookupError("no"), "wait", 1.0)
        viewer.telemetry.emit(error)
        [problem] = viewer.sees(stuck)
        [group] = viewer.statistics.error_groups()
        assert (problem["link"], problem["screen"]) == ("View error", f"errors?error={group['id']}")

    def test_quote_names(self, viewer: Viewer) -> None:
        [problem] = viewer.sees(status(partition(paused=True, topic="a"), name="a&b c"))
        assert problem["screen"] == "consumers?consumer=a%26b+c&topic=a&partition=0"
