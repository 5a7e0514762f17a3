"""Injected faults: outages, latencies, refused and lost requests."""

from __future__ import annotations

from random import Random
from typing import Literal, get_args

CommitFault = Literal["refused", "unavailable", "unknown, written", "unknown, lost"]
SendFault = Literal["refused", "timed out, written", "timed out, lost"]

Milliseconds = float | tuple[float, float]
"""A time in milliseconds, or (least, most): each answer then takes a random time between them."""


class Faults:
    """The injected faults and latencies; sources and sinks read them.

    Attributes:
        away_since_s: when the outage began, by the virtual clock; None while there is none.
        last_outage_s: how long the last one was that is over.
        fetch_s, commit_s, produce_s: (least, most) latency in seconds.
    """

    def __init__(self, random: Random) -> None:
        self.away_since_s: float | None = None
        self.last_outage_s = 0.0
        self.fetch_s = self.commit_s = self.produce_s = (0.0, 0.0)
        self._random = random
        self._commits: list[CommitFault] = []
        self._polls: list[Exception] = []
        self._sends: list[tuple[SendFault, str | None]] = []

    # ------------------------------------------------------------------ faults

    def fail_commits(self, *faults: CommitFault) -> None:
        _check_fault_names(faults, CommitFault)
        self._commits.extend(faults)

    def fail_polls(self, *errors: Exception) -> None:
        self._polls.extend(errors)

    def fail_sends(self, *faults: SendFault, topic: str | None) -> None:
        _check_fault_names(faults, SendFault)
        self._sends.extend((fault, topic) for fault in faults)

    def take_commit_fault(self) -> CommitFault | None:
        return self._commits.pop(0) if self._commits else None

    def take_poll_fault(self) -> Exception | None:
        return self._polls.pop(0) if self._polls else None

    def take_send_fault(self, topic: str) -> SendFault | None:
        for index, (fault, only) in enumerate(self._sends):
            if only is None or only == topic:
                del self._sends[index]
                return fault
        return None

    # ------------------------------------------------------------------ latency

    def draw_latency_s(self, between_s: tuple[float, float]) -> float:
        least_s, most_s = between_s
        return least_s if least_s == most_s else self._random.uniform(least_s, most_s)


def latency_range_s(name: str, latency_ms: Milliseconds) -> tuple[float, float]:
    """A latency as (least, most), in seconds.

    Raises:
        ValueError: it is negative, or least is more than most.
    """
    least_ms, most_ms = latency_ms if isinstance(latency_ms, tuple) else (latency_ms, latency_ms)
    if not 0 <= least_ms <= most_ms:
        raise ValueError(f"{name}={latency_ms!r}: milliseconds, or (least, most), not negative")
    return least_ms / 1000, most_ms / 1000


def _check_fault_names(faults: tuple[str, ...], kind: object) -> None:
    known = get_args(kind)
    for fault in faults:
        if fault not in known:
            raise ValueError(f"unknown fault {fault!r}; the faults are {', '.join(map(repr, known))}")
