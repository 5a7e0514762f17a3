"""When a commit is due: on the interval while records wait, a tenth of it after the first finish while none waits."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import pytest

from evkafka.config.settings import ConsumerSettings
from evkafka.runtime.commit_timer import CommitTimer
from evkafka.testing.memory.clock import VirtualClock


@dataclass
class Work:
    """What the timer is told.

    Attributes:
        waits: whether a record waits for an executor.
        runs: whether an executor walks a lane.
    """

    interval_s: float = 5.0
    mode: Literal["post-commit", "pre-commit"] = "post-commit"
    waits: bool = False
    runs: bool = False
    clock: VirtualClock = field(default_factory=VirtualClock)

    def timer(self) -> CommitTimer:
        return CommitTimer(
            self.clock,
            ConsumerSettings(auto_commit_mode=self.mode, auto_commit_interval_s=self.interval_s),
            records_wait=lambda: self.waits,
            work_runs=lambda: self.runs,
        )

    def due_at(self, timer: CommitTimer) -> float | None:
        """When the commit becomes due; None if no timer is left."""
        while not timer.due.is_set():
            next_s = self.clock.next_due()
            if next_s is None:
                return None
            self.clock.jump(next_s)
        return self.clock.now()


async def test_a_tenth_of_the_interval_after_the_first_finish_if_no_record_waits() -> None:
    work = Work()
    timer = work.timer()
    timer.note_activity()
    work.clock.jump(0.4)
    timer.note_activity()  # the second waits no longer than the first
    assert work.due_at(timer) == 0.5


async def test_after_the_interval_if_records_wait() -> None:
    work = Work(waits=True)
    timer = work.timer()
    timer.note_activity()
    assert work.due_at(timer) == 5.0


async def test_soon_after_the_last_record_that_waited_has_begun() -> None:
    work = Work(waits=True)
    timer = work.timer()
    timer.note_activity()
    work.clock.call_later(2.2, lambda: setattr(work, "waits", False))
    assert work.due_at(timer) == 2.5


@pytest.mark.parametrize(("interval_s", "due_s"), [(0.05, 0.01), (0.005, 0.005)])
async def test_not_sooner_than_ten_milliseconds_but_never_later_than_the_interval(
    interval_s: float, due_s: float
) -> None:
    work = Work(interval_s)
    timer = work.timer()
    timer.note_activity()
    assert work.due_at(timer) == due_s


async def test_at_once_with_interval_0() -> None:
    work = Work(0.0)
    timer = work.timer()
    timer.note_activity()
    assert timer.due.is_set()


async def test_never_with_pre_commit() -> None:
    work = Work(mode="pre-commit")
    timer = work.timer()
    timer.note_activity()
    assert work.due_at(timer) is None


class TestAfterACommit:
    async def test_no_timer_is_left_if_nothing_runs(self) -> None:
        work = Work()
        timer = work.timer()
        timer.note_activity()
        work.due_at(timer)
        timer.restart()
        assert work.due_at(timer) is None

    async def test_the_interval_is_for_what_ends_in_the_middle_of_a_lane(self) -> None:
        work = Work(runs=True)
        timer = work.timer()
        timer.note_activity()
        work.due_at(timer)
        timer.restart()
        assert work.due_at(timer) == 0.5 + 5.0

    async def test_a_record_may_have_ended_at_once_and_waits_no_longer_than_the_interval(self) -> None:
        work = Work(runs=True)
        timer = work.timer()
        timer.note_activity()
        work.due_at(timer)
        timer.restart()
        work.clock.jump(0.5 + 4.9)
        timer.note_activity()
        assert work.due_at(timer) == 0.5 + 5.0

    async def test_what_ended_while_it_was_unanswered_is_due_a_tenth_of_the_interval_later(self) -> None:
        work = Work()
        timer = work.timer()
        timer.note_activity()
        work.due_at(timer)
        timer.restart()
        work.clock.jump(3.0)
        timer.note_activity()
        assert work.due_at(timer) == 3.5

    async def test_that_was_asked_for_no_timer_of_before_is_left(self) -> None:
        work = Work()
        timer = work.timer()
        timer.note_activity()
        timer.due.set()  # a seek
        timer.restart()
        assert work.due_at(timer) is None


async def test_a_stopped_consumer_has_no_timer() -> None:
    work = Work()
    timer = work.timer()
    timer.note_activity()
    timer.stop()
    assert work.due_at(timer) is None
