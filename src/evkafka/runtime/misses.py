"""A consumer whose records all miss: a wrong header name or a wrong topic, which would otherwise be silence."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection

from evkafka.telemetry import NothingMatches, Telemetry

FIRST = 1000
SHOWN = 20


class UnmatchedWarning:
    """Says so, once, when the first thousand records have all missed.

    Args:
        known: the event types that there are endpoints for.
        finished: how many records the consumer has finished so far, matched or not.
    """

    def __init__(
        self, consumer: str, telemetry: Telemetry, *, known: Collection[str], finished: Callable[[], int]
    ) -> None:
        self._consumer = consumer
        self._telemetry = telemetry
        self._known = tuple(sorted(known))
        self._finished = finished
        self._left = FIRST
        self._seen: Counter[str | None] = Counter()

    def note(self, event_type: str | None) -> None:
        """One more record that no endpoint takes, of this type; it is not finished yet."""
        if not self._left:
            return
        self._left -= 1
        if len(self._seen) < SHOWN or event_type in self._seen:
            self._seen[event_type] += 1
        if not self._left:
            if self._finished() < FIRST:
                self._telemetry.emit(NothingMatches(self._consumer, FIRST, dict(self._seen), self._known))
            self._seen.clear()
