"""Counts the events that a row handles, and measures the time from the first to the last."""

from __future__ import annotations

import json
import time
from collections.abc import Callable


class Meter:
    """A row's handler only calls `tick()`. At the last event the meter prints its figures and calls `done`.

    CPU seconds are those of all threads of the process; start-up and imports happen before the first event.
    """

    def __init__(self, events: int, done: Callable[[], object]) -> None:
        self._events = events
        self._done = done
        self._seen = 0
        self._started: tuple[float, float] | None = None

    def tick(self, count: int = 1) -> None:
        if self._started is None:
            self._started = time.process_time(), time.perf_counter()
        self._seen += count
        if self._seen >= self._events and self._seen - count < self._events:
            self._report(*self._started)
            self._done()

    def _report(self, cpu_s: float, wall_s: float) -> None:
        measured = {
            "events": self._seen,
            "cpu_s": time.process_time() - cpu_s,
            "wall_s": time.perf_counter() - wall_s,
        }
        print(json.dumps(measured), flush=True)
