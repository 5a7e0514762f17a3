"""What an executor is given: who keeps the books, who decides, where records go that it does not finish itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from evkafka.outcomes import Failed, Outcome, Unmatched
from evkafka.records import Record, Unreadable
from evkafka.runtime.ports import Route, Slot
from evkafka.runtime.settle import SendToDeadLetter, SendToRetryTopic, Verdict


@dataclass(frozen=True, slots=True)
class Abandoned:
    """The attempt was cut because its partition went away or the app stops: neither a success nor a failure."""


ABANDONED = Abandoned()


class Reporter(Protocol):
    """Who keeps the books of what the executors do; see `runtime/reporting.py`."""

    listening: bool

    def plain_durations(self, topic: str) -> Mapping[Route | None, list[float]] | None:
        """How long the plain successes of this topic took, by endpoint, to be added to; None while nobody listens."""

    def finished(self, slot: Slot, record: Record, status: str, duration_s: float) -> None: ...
    def flush(self) -> None: ...
    def unmatched(self, record: Record, outcome: Unmatched) -> None: ...
    def failed(self, slot: Slot, record: Record, error: BaseException | None, verdict: Verdict) -> None: ...
    def blocked(self, slot: Slot, record: Record, duration_s: float) -> None: ...
    def dropped(self, slot: Slot, record: Record) -> None: ...


WriteFailed = Callable[[str, BaseException], object]
"""Told of each attempt to write a record that has failed: the topic, and why. It is tried again then."""


class DeadLetterSink(Protocol):
    """Where records go that are given up, or are to come again later."""

    async def send_to_retry_topic(
        self, record: Record, slot: Slot, verdict: SendToRetryTopic, failed: WriteFailed
    ) -> None:
        """Write it to its retry topic and wait for the confirmation, trying again until it is written."""

    async def send_to_dead_letter(
        self, record: Record, slot: Slot, verdict: SendToDeadLetter, failed: WriteFailed
    ) -> None:
        """Write the dead letter and wait for its confirmation, trying again until it is written."""

    async def send_unreadable(self, unreadable: Unreadable) -> None:
        """The same for what the client cannot read: a letter that names its address, and has no value."""


DecideFor = Callable[[str, "Route | None", "Outcome | Unmatched | Failed | None", int], Verdict]
"""From the topic that a record was read from, its endpoint, what became of the attempt and its number."""


@dataclass(slots=True)
class WatchdogRounds:
    """When the watchdog last made its round: an attempt without one in its whole length has held the loop."""

    at_s: float = 0.0
