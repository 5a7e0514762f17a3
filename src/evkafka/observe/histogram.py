"""A histogram that takes many values at a time, which costs less than adding them one by one."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Upper bounds of the buckets, for what endpoints and brokers take."""

BYTES = (64.0, 256.0, 1024.0, 4096.0, 16384.0, 65536.0, 262144.0, 1048576.0, 4194304.0)
"""The same for records, which are seldom larger than a megabyte."""

REBALANCES = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0)
"""The same for rebalances, in which the slowest member counts."""


class Histogram:
    """Counts of values up to each bound."""

    __slots__ = ("_bounds", "_counts", "count", "sum")

    def __init__(self, bounds: Sequence[float] = SECONDS) -> None:
        self._bounds = bounds
        self._counts = [0] * len(bounds)  # of values up to the bound, all smaller ones among them
        self.count = 0
        self.sum = 0.0

    def add(self, values: Sequence[float]) -> None:
        """Count these values in; there is one at least."""
        bounds, counts, added = self._bounds, self._counts, len(values)
        self.count += added
        self.sum += sum(values)
        first = bisect_left(bounds, min(values))
        if bisect_left(bounds, max(values)) == first:  # all in one bucket, as most are: then they need not be sorted
            for index in range(first, len(bounds)):
                counts[index] += added
            return
        values = sorted(values)
        for index, bound in enumerate(bounds):
            counts[index] += bisect_right(values, bound)

    def copied(self) -> Histogram:
        other = Histogram(self._bounds)
        other._counts, other.count, other.sum = self._counts.copy(), self.count, self.sum
        return other

    def buckets(self) -> list[tuple[str, float]]:
        """(upper bound, how many values up to it), as Prometheus takes them."""
        named = [(_bound(bound), float(count)) for bound, count in zip(self._bounds, self._counts, strict=True)]
        return [*named, ("+Inf", float(self.count))]


def _bound(bound: float) -> str:
    return repr(float(bound))
