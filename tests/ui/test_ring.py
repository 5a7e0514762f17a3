"""Ring buffers of values over time, and the windows of charts over them."""

from __future__ import annotations

from math import isnan

from evkafka.ui.ring import Resolution, Ring, Window

MINUTE = Resolution(step_s=10, steps=6)


def known(ring: Ring, steps: range) -> dict[int, float]:
    return {step: value for step, value in zip(steps, ring.values(steps), strict=True) if not isnan(value)}


class TestRing:
    def test_adds_up_what_belongs_to_one_step(self) -> None:
        ring = Ring(MINUTE)
        for at_s in (1000, 1009.9, 1010):
            ring.add(at_s, 2)
        assert known(ring, range(95, 110)) == {100: 4, 101: 2}

    def test_forgets_the_oldest_steps_and_those_that_were_skipped(self) -> None:
        ring = Ring(MINUTE)
        for step in range(100, 106):
            ring.put(step * 10, step)
        ring.put(1090, 1)
        assert known(ring, range(90, 120)) == {104: 104, 105: 105, 109: 1}
        ring.put(10**9, 7)
        assert known(ring, range(90, 120)) == {}

    def test_ignores_a_time_before_its_oldest_step(self) -> None:
        ring = Ring(MINUTE)
        ring.put(2000, 1)
        ring.put(1000, 5)
        ring.put(1990, 2)
        assert known(ring, range(90, 210)) == {199: 2, 200: 1}

    def test_spreads_a_value_over_the_steps_between_two_times(self) -> None:
        ring = Ring(MINUTE)
        ring.add_over_time(1005, 1025, 40)
        assert known(ring, range(90, 110)) == {100: 10, 101: 20, 102: 10}


class TestWindow:
    def test_ends_with_the_last_whole_step_or_with_the_first_of_all(self) -> None:
        assert Window(MINUTE, 1069, 0).step_start_times_s == [1000, 1010, 1020, 1030, 1040, 1050]
        assert Window(MINUTE, 1070, 0).step_start_times_s == [1010, 1020, 1030, 1040, 1050, 1060]
        assert Window(MINUTE, 1069, started_s=1062).step_start_times_s == [1010, 1020, 1030, 1040, 1050, 1060]
        assert Window(Resolution(1, 2), 1000.5, 0).step_start_times_s == [998, 999]

    def test_events_are_0_only_after_the_start(self) -> None:
        ring = Ring(MINUTE)
        ring.add(1047, 12)
        window = Window(MINUTE, 1070, started_s=1037)
        assert window.step_start_times_s == [1010, 1020, 1030, 1040, 1050, 1060]
        assert window.event_rates(ring) == [None, None, 0, 1.2, 0, 0]

    def test_a_rate_counts_only_the_part_of_a_step_that_was_measured(self) -> None:
        ring = Ring(MINUTE)
        ring.add(1038, 6)
        assert Window(MINUTE, 1070, started_s=1037).rates(ring)[:3] == [None, None, 2]
        assert Window(MINUTE, 1039, started_s=1035).rates(ring)[-1] == 1.5

    def test_a_sample_is_valid_until_the_next_one_or_for_its_time(self) -> None:
        ring = Ring(MINUTE)
        ring.put(1005, 3)
        ring.put(1040, 4)
        assert Window(MINUTE, 1060, 0).samples(ring, valid_s=20) == [3, 3, None, None, 4, 4]
        assert Window(MINUTE, 1060, 0).samples(ring) == [3, None, None, None, 4, None]
