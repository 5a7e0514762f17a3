"""Warnings about what fails for a while."""

from __future__ import annotations

import logging

import pytest

from evkafka.kafka.client import log_throttle
from evkafka.kafka.client.log_throttle import GRACE_S, Outage

logger = logging.getLogger("tests.outage")


class Clock:
    now_s = 100.0

    def monotonic(self) -> float:
        return self.now_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(log_throttle, "time", clock)
    return clock


class TestOutages:
    def test_that_end_soon_are_no_warning(self, clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
        outage = Outage(logger)
        for _ in range(3):
            outage.warn_if_failing_for_long("no coordinator")
            clock.now_s += GRACE_S - 1
            outage.forget_failures()
        assert caplog.records == []

    def test_that_last_are_a_warning(self, clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
        outage = Outage(logger)
        outage.warn_if_failing_for_long("no coordinator")
        clock.now_s += GRACE_S
        outage.warn_if_failing_for_long("no coordinator")
        outage.warn_if_failing_for_long("no coordinator")
        assert caplog.messages == ["no coordinator"]
