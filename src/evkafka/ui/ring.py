"""Values over time in a buffer of a fixed size. No I/O."""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from math import ceil, isnan, nan


@dataclass(frozen=True, slots=True)
class Resolution:
    """A time span as steps of equal length."""

    step_s: int
    steps: int


class Ring:
    """The newest values of one figure, one for each step; NaN while unknown. Steps are counted from the epoch."""

    __slots__ = ("_newest", "_values", "step_s")

    def __init__(self, resolution: Resolution) -> None:
        self.step_s = resolution.step_s
        self._values = array("d", [nan]) * resolution.steps
        self._newest = 0

    def put(self, at_s: float, value: float | None) -> None:
        if value is not None and (slot := self._index_of_step(int(at_s // self.step_s))) is not None:
            self._values[slot] = value

    def add(self, at_s: float, value: float) -> None:
        if (slot := self._index_of_step(int(at_s // self.step_s))) is not None:
            known = self._values[slot]
            self._values[slot] = value if isnan(known) else known + value

    def add_over_time(self, begin_s: float, end_s: float, value: float) -> None:
        """Add the value to all steps between two times, to each in proportion to its share of the time."""
        value_per_s = value / (end_s - begin_s)
        while begin_s < end_s:
            until_s = min((begin_s // self.step_s + 1) * self.step_s, end_s)
            self.add(begin_s, value_per_s * (until_s - begin_s))
            begin_s = until_s

    def values(self, steps: range) -> list[float]:
        """The values of these steps."""
        size, newest, values = len(self._values), self._newest, self._values
        return [values[step % size] if newest - size < step <= newest else nan for step in steps]

    def _index_of_step(self, step: int) -> int | None:
        """The index of the step, after older ones were forgotten; None for one that is too old (the clock was set
        back)."""
        size = len(self._values)
        for forgotten in range(max(self._newest, step - size) + 1, step + 1):
            self._values[forgotten % size] = nan
        self._newest = max(self._newest, step)
        return step % size if step > self._newest - size else None


@dataclass(frozen=True, slots=True)
class Window:
    """The steps of a chart, up to the last one that is over. The first step of all is shown before it is over."""

    resolution: Resolution
    now_s: float
    started_s: float

    @property
    def steps(self) -> range:
        step_s = self.resolution.step_s
        end = max(int(self.now_s // step_s), int(self.started_s // step_s) + 1)
        return range(end - self.resolution.steps, end)

    @property
    def step_start_times_s(self) -> list[int]:
        return [step * self.resolution.step_s for step in self.steps]

    def rates(self, ring: Ring) -> list[float | None]:
        """Sums as values per second. A step that nothing was added to is unknown."""
        return [
            None if isnan(total) else round(total / self._elapsed_step_time_s(step), 3)
            for step, total in zip(self.steps, ring.values(self.steps), strict=True)
        ]

    def event_rates(self, ring: Ring) -> list[float | None]:
        """The same of events: a step without an event is 0, or unknown before the start, when nothing was counted."""
        return [
            0.0 if rate is None and (step + 1) * self.resolution.step_s > self.started_s else rate
            for step, rate in zip(self.steps, self.rates(ring), strict=True)
        ]

    def samples(self, ring: Ring, *, valid_s: float = 1.0) -> list[float | None]:
        """Values as they were put. Each is valid until the next one, for at most so long, and in its whole step."""
        most = ceil(valid_s / self.resolution.step_s)
        known, age = nan, 0
        found: list[float | None] = []
        for value in ring.values(self.steps):
            known, age = (known, age + 1) if isnan(value) else (value, 0)
            found.append(None if isnan(known) or age >= most else known)
        return found

    def _elapsed_step_time_s(self, step: int) -> float:
        """How long the step was, or has been so far."""
        step_s = self.resolution.step_s
        begin_s, end_s = max(step * step_s, self.started_s), min((step + 1) * step_s, self.now_s)
        return max(end_s - begin_s, 1.0)
