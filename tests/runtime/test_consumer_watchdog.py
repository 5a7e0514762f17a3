"""The watchdog reports a stall for a poll that does not return and for an endless rebalance, and not too early."""

from __future__ import annotations

from typing import Any, cast

from evkafka.config.settings import ConsumerSettings
from evkafka.records import TopicPartition
from evkafka.runtime.assignment import Assignment
from evkafka.runtime.consumer_watchdog import STALLED_AFTER_S, ConsumerWatchdog
from evkafka.runtime.interfaces import WatchdogRounds
from evkafka.runtime.scheduler import LaneScheduler
from evkafka.runtime.session_check import SessionCheck
from evkafka.telemetry import Telemetry
from evkafka.testing.memory.clock import VirtualClock

LONGEST_POLL_S = 2 * 60 + 10


class Source:
    """A source in this state, which has five records to read and does not return them."""

    def __init__(self, state: str) -> None:
        self._state = state

    def state(self) -> str:
        return self._state

    def position(self, partition: TopicPartition) -> int:
        return 5

    def end_offset(self, partition: TopicPartition) -> int:
        return 10

    def is_receiving_slowly(self, partition: TopicPartition) -> bool:
        return False

    def is_session_alive(self) -> bool:
        return True


def new_assignment(clock: VirtualClock) -> Assignment:
    settings = ConsumerSettings(session_timeout_s=10.0, rebalance_timeout_s=60.0)
    return Assignment("orders", settings, LaneScheduler(clock), clock=clock, telemetry=Telemetry())


def new_watchdog(assignment: Assignment, state: str, errors: list[Exception]) -> ConsumerWatchdog:
    watchdog = ConsumerWatchdog(
        assignment,
        executors=(),
        shortest_limit_s=20.0,
        session=SessionCheck(assignment),
        watchdog_rounds=WatchdogRounds(0.0),
        report=cast(Any, None),
        each_second=lambda _: None,
        on_failure=errors.append,
    )
    watchdog.set_watched_source(cast(Any, Source(state)))
    watchdog.start()
    return watchdog


def poll(watchdog: ConsumerWatchdog, clock: VirtualClock, *, until_s: float) -> None:
    """Let polls return, without records, until this time."""
    while clock.now() < until_s:
        watchdog.note_poll()
        clock.jump(clock.next_due() or until_s)


def stalls(state: str, *, for_s: float, polls: bool) -> list[str]:
    """The errors that a watchdog reports for a source that stays in this state for so long."""
    clock, errors = VirtualClock(), list[Exception]()
    watchdog = new_watchdog(new_assignment(clock), state, errors)
    while clock.now() < for_s:
        if polls:
            watchdog.note_poll()
        clock.jump(clock.next_due() or for_s)
    watchdog.stop()
    return [str(error) for error in errors]


async def test_a_poll_that_does_not_return_is_reported_after_the_longest_time() -> None:
    assert stalls("steady", for_s=LONGEST_POLL_S - 1, polls=False) == []
    [sentence] = stalls("steady", for_s=10 * LONGEST_POLL_S, polls=False)
    assert sentence.startswith("the poll has not returned for ")


async def test_an_endless_rebalance_is_reported_after_the_longest_time() -> None:
    assert stalls("joining", for_s=LONGEST_POLL_S - 1, polls=True) == []
    [sentence] = stalls("joining", for_s=10 * LONGEST_POLL_S, polls=True)
    assert sentence.startswith("the group has been rebalancing for ")


async def test_a_source_that_polls_and_is_steady_is_no_stall() -> None:
    assert stalls("steady", for_s=10 * LONGEST_POLL_S, polls=True) == []


async def test_a_partition_that_does_not_move_is_a_stall() -> None:
    clock, errors = VirtualClock(), list[Exception]()
    assignment = new_assignment(clock)
    assignment.add_new_partition(TopicPartition("t", 0))
    watchdog = new_watchdog(assignment, "steady", errors)
    poll(watchdog, clock, until_s=STALLED_AFTER_S - 1)
    assert errors == []
    poll(watchdog, clock, until_s=STALLED_AFTER_S + 5)
    watchdog.stop()
    assert "t[0] has records to read, but its position has not moved for 60 s" in str(errors[0])


async def test_a_partition_that_was_away_and_is_back_has_the_whole_time_to_move() -> None:
    clock, errors = VirtualClock(), list[Exception]()
    assignment = new_assignment(clock)
    watchdog = new_watchdog(assignment, "steady", errors)
    for until_s in (STALLED_AFTER_S - 1, 2 * STALLED_AFTER_S - 3):
        partition = assignment.add_new_partition(TopicPartition("t", 0))
        poll(watchdog, clock, until_s=until_s)
        assignment.end_partition(partition)
    watchdog.stop()
    assert errors == []
