"""Decides whether a quantity grows: compares the medians of the first and the last third of the samples after warm-up.

Medians, because records in flight make single samples vary. Thirds, because a permanent step must be found as a slope
is. `ALLOWED` is the difference that counts as noise. A leak of 100 bytes a record makes a difference of 3.6 MB in ten
minutes at 200 records a second, and is found; a leak of 10 bytes a record needs the hour.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

WARM_UP_S = 330.0
"""Pools and connections are ready in seconds, but the dashboard fills a history of five minutes. In a run shorter
than twice this time the first half is the warm-up, and the history still grows during the second."""

MIN_SAMPLES = 12
"""The minimum number of samples after the warm-up."""

ALLOWED: Mapping[str, tuple[float, float]] = {
    "rss_mb": (3.0, 0.04),
    "blocks": (15_000, 0.04),
    "tasks": (3, 0.0),
    "threads": (3, 0.0),
    "descriptors": (3, 0.0),
}
"""Quantity -> growth that counts as noise: an absolute amount, or a part of the first median, whichever is more."""


@dataclass(frozen=True, slots=True)
class Verdict:
    quantity: str
    first: float
    last: float
    maximum: float
    allowed: float

    @property
    def flat(self) -> bool:
        return self.last - self.first <= self.allowed


def judge(samples: Sequence[Mapping[str, float]], *, every_s: float) -> list[Verdict]:
    """Return one verdict for each quantity.

    Args:
        every_s: the time between two samples.

    Raises:
        ValueError: there are too few samples.
    """
    warm = samples[int(min(WARM_UP_S / every_s, len(samples) / 2)) :]
    if len(warm) < MIN_SAMPLES:
        raise ValueError(
            f"{len(warm)} samples after the warm-up say nothing; let it run for longer ({MIN_SAMPLES} at least)"
        )
    third = len(warm) // 3
    verdicts = []
    for quantity, (amount, part) in ALLOWED.items():
        values = [sample[quantity] for sample in warm]
        first = median(values[:third])
        verdicts.append(Verdict(quantity, first, median(values[-third:]), max(values), max(amount, first * part)))
    return verdicts


def table(verdicts: Sequence[Verdict]) -> str:
    lines = [f"{'':<12} {'at first':>12} {'at last':>12} {'growth':>10} {'allowed':>10} {'most':>12}"]
    for verdict in verdicts:
        growth = verdict.last - verdict.first
        lines.append(
            f"{verdict.quantity:<12} {verdict.first:>12,.1f} {verdict.last:>12,.1f} {growth:>+10,.1f}"
            f" {verdict.allowed:>10,.1f} {verdict.maximum:>12,.1f}  {'flat' if verdict.flat else 'GROWS'}"
        )
    return "\n".join(lines)
