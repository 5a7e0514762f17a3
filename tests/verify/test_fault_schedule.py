"""The fault schedule depends on the seed only, and has the faults that were asked for."""

from __future__ import annotations

from collections import Counter
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from evkafka.verify.fault_schedule import KINDS, Fault, plan_faults


def schedule_of(seed: int, **more: Any) -> tuple[Fault, ...]:
    wanted = {"lasts_s": 300.0, "kill_every_s": 10.0, "fault_every_s": 15.0, "kinds": KINDS, "session_s": 6.0, **more}
    return plan_faults(seed, **wanted)


class TestSchedule:
    @given(st.integers(0, 2**31))
    def test_is_the_same_for_the_same_seed(self, seed: int) -> None:
        assert schedule_of(seed) == schedule_of(seed)

    def test_differs_for_another_seed(self) -> None:
        assert len({schedule_of(seed) for seed in range(50)}) == 50

    @given(st.integers(0, 2**31), st.floats(5, 600), st.floats(0.5, 60))
    def test_has_faults_only_after_the_beginning_and_before_the_end_of_the_load(
        self, seed: int, lasts_s: float, every_s: float
    ) -> None:
        schedule = schedule_of(seed, lasts_s=lasts_s, kill_every_s=every_s)
        assert all(2.0 <= fault.at_s <= lasts_s + 0.001 for fault in schedule)
        assert [fault.at_s for fault in schedule] == sorted(fault.at_s for fault in schedule)

    @given(st.integers(0, 2**31))
    def test_has_a_kill_in_each_interval_and_each_other_kind_in_turn(self, seed: int) -> None:
        kinds = Counter(fault.kind for fault in schedule_of(seed))
        assert 29 <= kinds["kill"] <= 30
        assert all(3 <= kinds[kind] <= 4 for kind in KINDS if kind != "kill")

    def test_an_interval_of_0_means_no_faults(self) -> None:
        assert {fault.kind for fault in schedule_of(1, fault_every_s=0)} == {"kill"}
        assert "kill" not in {fault.kind for fault in schedule_of(1, kill_every_s=0)}
        assert schedule_of(1, kill_every_s=0, kinds=()) == ()

    def test_freezes_are_clearly_shorter_or_clearly_longer_than_the_session(self) -> None:
        lengths = [
            fault.lasts_s for seed in range(20) for fault in schedule_of(seed, kinds=("freeze",), kill_every_s=0)
        ]
        assert all(length <= 3.6 or length >= 6.6 for length in lengths)
        assert any(length <= 3.6 for length in lengths)
        assert any(length >= 6.6 for length in lengths)
