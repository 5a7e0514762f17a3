"""CPU time and memory of the process."""

from __future__ import annotations

from evkafka.ui.process_figures import ProcessFigures


def test_cpu_time_is_that_since_the_last_measurement_of_five_seconds_ago_or_more() -> None:
    at_s, cpu_s = [100.0], [3.0]
    figures = ProcessFigures("1.2.3", cpu_s=lambda: cpu_s[0], now=lambda: at_s[0])
    assert figures.measure()["cpu_percent"] is None
    at_s[0], cpu_s[0] = 110.0, 4.0
    assert figures.measure()["cpu_percent"] == 10
    at_s[0], cpu_s[0] = 112.0, 6.0
    assert figures.measure()["cpu_percent"] == 10
    at_s[0], cpu_s[0] = 120.0, 9.0
    assert (figures.measure()["cpu_percent"], figures.measure()["uptime_s"]) == (50, 20)


def test_has_the_memory_and_the_versions_of_the_process() -> None:
    figures = ProcessFigures("1.2.3").measure()
    assert (figures["memory_bytes"] or 0) > 1024 * 1024
    assert figures["app_version"] == "1.2.3"
    assert figures["python_version"].count(".") == 2
