"""Quantiles of durations."""

from __future__ import annotations

from collections.abc import Sequence


def quantile(sorted_s: Sequence[float], share: float) -> float | None:
    """The quantile of sorted durations, rounded to microseconds; None if there are none."""
    return round(sorted_s[min(int(len(sorted_s) * share), len(sorted_s) - 1)], 6) if sorted_s else None
