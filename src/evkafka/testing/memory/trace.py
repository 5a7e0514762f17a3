"""The trace: events in order, with their virtual time. Two runs with the same seed have the same trace."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from evkafka.testing.memory.clock import VirtualClock

MOST = 10_000


class Trace:
    """The latest events. A line is formatted only when it is read."""

    def __init__(self, clock: VirtualClock) -> None:
        self._clock = clock
        self._events: deque[tuple[float, str, tuple[object, ...]]] = deque(maxlen=MOST)

    def note(self, text: str, *values: object) -> None:
        """Add an event; the text has a `%s` for each value, and the values must not change later."""
        self._events.append((self._clock.now(), text, values))

    def lines(self) -> Sequence[str]:
        return [f"{now_s:10.3f} {text % values}" for now_s, text, values in self._events]
