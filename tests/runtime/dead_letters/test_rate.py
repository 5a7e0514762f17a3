"""The rate of dead letters: when a limit is reached, and that a restart does not change it."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from evkafka.config.settings import DeadLetterLimitSettings
from evkafka.runtime.dead_letters.rate import LONGEST_TEXT, DeadLetterRate

Steps = list[int]  # 0: a dead letter; else so many that passed

steps = st.lists(st.one_of(st.just(0), st.just(0), st.integers(1, 40)), max_size=80)
limits = st.builds(
    DeadLetterLimitSettings,
    consecutive=st.integers(1, 20),
    ratio=st.floats(0.05, 1.0),
    window=st.integers(1, 50),
)


def told(steps: Steps, window: int) -> DeadLetterRate:
    tally = DeadLetterRate(window)
    follow(tally, steps)
    return tally


def follow(tally: DeadLetterRate, steps: Steps) -> None:
    for step in steps:
        if step:
            tally.count_records_not_dead_lettered(step)
        else:
            tally.count_dead_letter()


def naively(steps: Steps, limit: DeadLetterLimitSettings) -> bool:
    ends = [dead for step in steps for dead in ([True] if step == 0 else [False] * step)]
    row = 0
    while row < len(ends) and ends[-1 - row]:
        row += 1
    last = ends[-limit.window :]
    return row >= limit.consecutive or (len(last) == limit.window and sum(last) >= limit.ratio * limit.window)


class TestTheLimit:
    @given(steps=steps, limit=limits)
    def test_is_reached_exactly_when_a_list_of_all_outcomes_reaches_it(
        self, steps: Steps, limit: DeadLetterLimitSettings
    ) -> None:
        assert (told(steps, limit.window).refusal_reason(limit) is not None) == naively(steps, limit)

    def test_of_a_ratio_counts_only_once_the_window_is_full(self) -> None:
        limit = DeadLetterLimitSettings(consecutive=100, ratio=0.5, window=10)
        assert told([0, 1, 0, 1, 0, 1, 0, 1, 0], 10).refusal_reason(limit) is None
        assert told([0, 1, 0, 1, 0, 1, 0, 1, 0, 1], 10).refusal_reason(limit) == (
            "5 of the last 10 became dead letters, and `ratio` is 0.5 (`window` 10)"
        )

    def test_counts_those_that_are_being_written(self) -> None:
        limit = DeadLetterLimitSettings(consecutive=3)
        assert told([0], 1000).refusal_reason(limit, under_way=1) is None
        assert told([0], 1000).refusal_reason(limit, under_way=2) is not None


class TestAcrossARestart:
    @given(before=steps, behind=steps, limit=limits)
    def test_the_rate_is_the_same_as_without_a_restart(
        self, before: Steps, behind: Steps, limit: DeadLetterLimitSettings
    ) -> None:
        without = told(before, limit.window)
        after = DeadLetterRate.from_metadata_text(without.to_metadata_text(), limit.window)
        follow(without, behind)
        follow(after, behind)
        if after.to_metadata_text():
            assert after.to_metadata_text().split()[2] == without.to_metadata_text().split()[2]
        reached, expected = after.refusal_reason(limit), without.refusal_reason(limit)
        # Where there were no dead letters, nothing is kept: the window fills anew, and so it counts a little later.
        assert reached == expected or without._ended >= limit.window > after._ended

    def test_a_stop_is_kept(self) -> None:
        tally = DeadLetterRate(10)
        tally.mark_limit_reached()
        assert DeadLetterRate.from_metadata_text(tally.to_metadata_text(), 10).stopped
        assert not DeadLetterRate.from_metadata_text("", 10).stopped

    @given(seed=st.integers(), many=st.integers(0, 20_000))
    @settings(max_examples=20, deadline=None)
    def test_its_text_fits_into_commit_metadata(self, seed: int, many: int) -> None:
        chance = random.Random(seed)
        dead = [chance.randrange(60) for _ in range(many)]
        tally = told([step for gap in dead for step in ([gap, 0] if gap else [0])], 1_000_000)
        text = tally.to_metadata_text()
        assert len(text) <= LONGEST_TEXT + 100
        again = DeadLetterRate.from_metadata_text(text, 1_000_000)
        assert len(again._dead) == len(tally._dead)

    @given(text=st.text())
    def test_metadata_of_another_tool_is_ignored(self, text: str) -> None:
        assert DeadLetterRate.from_metadata_text(text, 10).to_metadata_text() == ""

    @given(text=st.text(alphabet="0123456789~ AZaz=+/"))
    def test_corrupt_metadata_is_ignored(self, text: str) -> None:
        DeadLetterRate.from_metadata_text(f"evkafka-dlq/1 {text}", 10).refusal_reason(DeadLetterLimitSettings())
