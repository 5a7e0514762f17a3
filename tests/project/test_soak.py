"""The judge of `make soak`: noise is flat, a leak is not."""

from __future__ import annotations

import random

import pytest
from tools.soak import judge
from tools.soak.app import measure_process

QUIET = {"rss_mb": 80.0, "blocks": 250_000.0, "tasks": 70.0, "threads": 6.0, "descriptors": 15.0}
STEPS = {"rss_mb": 0.1, "blocks": 500.0, "tasks": 0.2, "threads": 0.2, "descriptors": 0.2}


def ten_minutes(**leaking: float) -> list[dict[str, float]]:
    """Samples every five seconds: a warm-up, noise, and `leaking` more of a quantity at each."""
    chance = random.Random(1)
    return [
        {
            name: value * min(1.0, 0.7 + number / 40) * chance.uniform(0.99, 1.01) + number * leaking.get(name, 0.0)
            for name, value in QUIET.items()
        }
        for number in range(120)
    ]


def growing(samples: list[dict[str, float]]) -> list[str]:
    return [one.quantity for one in judge.judge(samples, every_s=5) if not one.flat]


class TestTheJudge:
    def test_noise_and_a_warm_up_are_flat(self) -> None:
        assert growing(ten_minutes()) == []

    @pytest.mark.parametrize("name", STEPS)
    def test_a_slow_leak_of_anything_is_found_and_named(self, name: str) -> None:
        samples = ten_minutes(**{name: STEPS[name]})
        assert growing(samples) == [name]
        assert "GROWS" in judge.table(judge.judge(samples, every_s=5))

    def test_a_step_that_stays_is_found(self) -> None:
        samples = ten_minutes()
        for late in samples[70:]:
            late["descriptors"] += 8
        assert growing(samples) == ["descriptors"]

    def test_too_few_samples_are_refused(self) -> None:
        with pytest.raises(ValueError, match="let it run for longer"):
            judge.judge(ten_minutes()[:12], every_s=5)


async def test_a_sample_has_every_quantity_of_the_judge() -> None:
    assert measure_process().keys() == judge.ALLOWED.keys()
