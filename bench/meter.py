"""Counts the events that a row handles, and takes the time between the first and the last."""

from __future__ import annotations

import json
import time
from collections.abc import Callable


class Meter:
    """`tick()` is the whole body of a row's handler; at the last event `done` is called.

    CPU seconds are the process's, all threads together; start-up and imports lie before the first event.
    """

    def __init__(self, events: int, done: Callable[[], object]) -> None:
        self._events = events
        self._done = done
        self._seen = 0
        self._begun: tuple[float, float] | None = None

    def tick(self, count: int = 1) -> None:
        if self._begun is None:
            self._begun = time.process_time(), time.perf_counter()
        self._seen += count
        if self._seen >= self._events and self._seen - count < self._events:
            self._report(*self._begun)
            self._done()

    def _report(self, cpu_s: float, wall_s: float) -> None:
        measured = {
            "events": self._seen,
            "cpu_s": time.process_time() - cpu_s,
            "wall_s": time.perf_counter() - wall_s,
        }
        print(json.dumps(measured), flush=True)
