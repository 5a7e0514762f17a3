"""Faults of the broker's own group coordinator, as its log shows them. What follows from one is no fault of the app."""

from __future__ import annotations

from pathlib import Path

COORDINATOR_FAULTS = (
    "is out of sync with the underlying log",
    "Failed to load metadata from __consumer_offsets",
)
"""Kafka logs these when the coordinator's state does not match `__consumer_offsets` (seen with Kafka 4.1.0 and 4.2.0,
after a broker was killed on a busy machine). It may forget the sessions of dead members then, whose partitions nobody
gets, or refuse every request with NOT_COORDINATOR until the broker is restarted."""


def count_coordinator_faults(log: Path) -> int:
    """How many such lines the broker's log has."""
    with log.open(encoding="utf-8", errors="replace") as lines:
        return sum(any(fault in line for fault in COORDINATOR_FAULTS) for line in lines)


def coordinator_faults_text(count: int) -> str:
    """A sentence for people who read the result of a run."""
    times = "once" if count == 1 else f"{count} times"
    return f"The log of the run's own broker has a fault of its group coordinator {times}: run it again"
