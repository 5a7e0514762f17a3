"""What is flat: the medians of the first and the last third of what was measured after the warm-up, compared.

Medians, for what is in flight makes single samples jump; thirds, for a step that stays must show as a slope does. What
may lie between the two is stated per quantity. A leak of 100 bytes a record is 3.6 MB between them in ten minutes
at 200 records a second, and is found; one of 10 bytes needs the hour.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

WARM_UP_S = 330.0
"""Pools fill and connections are made in seconds, but the operations page remembers five minutes. Of a run that is
shorter than twice as long, half is the warm-up, and its memory is still filling."""

FEWEST = 12
"""Samples after the warm-up, below which nothing can be said."""

ALLOWED: Mapping[str, tuple[float, float]] = {
    "rss_mb": (3.0, 0.04),
    "blocks": (15_000, 0.04),
    "tasks": (3, 0.0),
    "threads": (3, 0.0),
    "descriptors": (3, 0.0),
}
"""Quantity -> growth that is taken for noise: so much, or so large a part of where it began, whichever is more."""


@dataclass(frozen=True, slots=True)
class Verdict:
    quantity: str
    first: float
    last: float
    most: float
    allowed: float

    @property
    def flat(self) -> bool:
        return self.last - self.first <= self.allowed


def judge(samples: Sequence[Mapping[str, float]], *, every_s: float) -> list[Verdict]:
    """One verdict for each quantity.

    Args:
        every_s: the time between two samples.

    Raises:
        ValueError: there are too few samples to say anything.
    """
    warm = samples[int(min(WARM_UP_S / every_s, len(samples) / 2)) :]
    if len(warm) < FEWEST:
        raise ValueError(
            f"{len(warm)} samples after the warm-up say nothing; let it run for longer ({FEWEST} at least)"
        )
    third = len(warm) // 3
    verdicts = []
    for quantity, (some, part) in ALLOWED.items():
        values = [sample[quantity] for sample in warm]
        first = median(values[:third])
        verdicts.append(Verdict(quantity, first, median(values[-third:]), max(values), max(some, first * part)))
    return verdicts


def table(verdicts: Sequence[Verdict]) -> str:
    lines = [f"{'':<12} {'at first':>12} {'at last':>12} {'growth':>10} {'allowed':>10} {'most':>12}"]
    for one in verdicts:
        grown = one.last - one.first
        lines.append(
            f"{one.quantity:<12} {one.first:>12,.1f} {one.last:>12,.1f} {grown:>+10,.1f} {one.allowed:>10,.1f}"
            f" {one.most:>12,.1f}  {'flat' if one.flat else 'GROWS'}"
        )
    return "\n".join(lines)
