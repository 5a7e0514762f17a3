"""What can be seen of the records of a lane that executors have walked, to compare two ways to walk it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from evkafka.config.settings import ErrorPolicySettings
from evkafka.outcomes import Failed, Outcome, Unmatched
from evkafka.runtime.ports import Route
from evkafka.runtime.settle import Verdict, decide_at_least_once
from evkafka.telemetry import RecordsProcessed, RecordsUnmatched, Telemetry

POLICY = ErrorPolicySettings(backoff_s=0.0, max_backoff_s=0.0)


@dataclass
class Effects:
    """What can be seen of the records of a lane."""

    handled: list[tuple[int, int]] = field(default_factory=list)
    processed: Counter[tuple[str, str]] = field(default_factory=Counter)
    unmatched: Counter[tuple[str, str, str | None]] = field(default_factory=Counter)
    committable: int | None = None

    def listen(self, telemetry: Telemetry) -> None:
        telemetry.listen(RecordsUnmatched, self._on_unmatched)
        telemetry.listen(RecordsProcessed, self._on_processed)

    def _on_unmatched(self, event: RecordsUnmatched) -> None:
        self.unmatched[event.topic, event.reason, event.event_type] += event.count

    def _on_processed(self, event: RecordsProcessed) -> None:
        for kind, durations_s in event.durations_s.items():
            self.processed[kind] += len(durations_s)


def skip_unmatched(
    topic: str, route: Route | None, outcome: Outcome | Unmatched | Failed | None, attempt: int
) -> Verdict:
    """The verdict: what fails is tried again at once, what no endpoint takes is skipped."""
    return decide_at_least_once(outcome, attempt=attempt, policy=POLICY, unmatched="skip")
