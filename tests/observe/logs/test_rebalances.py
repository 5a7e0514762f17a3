"""The lines about rebalances: what was added, what stays, what was given back, and what was lost."""

from __future__ import annotations

import pytest

from evkafka.observe.logs import start_event_log
from evkafka.records import TopicPartition
from evkafka.telemetry import Event, PartitionsAssigned, PartitionsRevoked, Telemetry

ONE, TWO = TopicPartition("orders", 0), TopicPartition("orders", 1)

LOST = (
    "consumer billing: partitions lost: orders[0]: the group has given them to other members. What was not committed is"
    " handled again by their next owners"
)
LINES = [
    (PartitionsAssigned("billing", (ONE, TWO), 2), "consumer billing was assigned orders[0 1]"),
    (
        PartitionsAssigned("billing", (ONE, TWO), 2, "consumer", 5),
        "consumer billing was assigned orders[0 1] (consumer protocol, epoch 5)",
    ),
    (
        PartitionsAssigned("billing", (TWO,), 2),
        "consumer billing was assigned orders[1], and keeps its other partition",
    ),
    (PartitionsAssigned("billing", (TWO,), 4), "consumer billing was assigned orders[1], and keeps 3 other partitions"),
    (PartitionsAssigned("billing", (), 1), "consumer billing keeps its other partition"),
    (PartitionsRevoked("billing", (ONE,), 0), "consumer billing: partitions revoked: orders[0]"),
    (PartitionsRevoked("billing", (ONE,), 0, lost=True), LOST),
]


@pytest.mark.parametrize(("event", "line"), LINES)
def test_says_which_partitions(event: Event, line: str, caplog: pytest.LogCaptureFixture) -> None:
    telemetry = Telemetry()
    start_event_log(telemetry)
    with caplog.at_level("INFO"):
        telemetry.emit(event)
    assert caplog.messages == [line]


def test_without_partitions_says_why(caplog: pytest.LogCaptureFixture) -> None:
    telemetry = Telemetry()
    start_event_log(telemetry)
    with caplog.at_level("INFO"):
        telemetry.emit(PartitionsAssigned("billing", (), 0))
    assert "was assigned no partitions: the other members of its group have them" in caplog.text


def test_of_lost_partitions_count_the_attempts_that_were_cancelled(caplog: pytest.LogCaptureFixture) -> None:
    telemetry = Telemetry()
    start_event_log(telemetry)
    telemetry.emit(PartitionsRevoked("billing", (ONE,), 3, lost=True))
    assert caplog.messages[0].endswith("; 3 attempts were cancelled")
