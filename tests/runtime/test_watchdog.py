"""The watchdog reports a stall for a poll that does not return and for an endless rebalance, and not too early."""

from __future__ import annotations

from typing import Any, cast

from evkafka.config.settings import ConsumerSettings
from evkafka.runtime.assignment import Assignment
from evkafka.runtime.interfaces import WatchdogRounds
from evkafka.runtime.scheduler import LaneScheduler
from evkafka.runtime.watchdog import Watchdog
from evkafka.telemetry import Telemetry
from evkafka.testing.memory.clock import VirtualClock

LONGEST_POLL_S = 2 * 60 + 10


class Source:
    def __init__(self, state: str) -> None:
        self._state = state

    def state(self) -> str:
        return self._state


def stalls(state: str, *, for_s: float, polls: bool) -> list[str]:
    """The errors that a watchdog reports for a source that stays in this state for so long."""
    clock, errors = VirtualClock(), list[Exception]()
    settings = ConsumerSettings(session_timeout_s=10.0, rebalance_timeout_s=60.0)
    watchdog = Watchdog(
        Assignment("orders", settings, LaneScheduler(clock), clock=clock, telemetry=Telemetry()),
        executors=(),
        shortest_limit_s=20.0,
        watchdog_rounds=WatchdogRounds(0.0),
        report=cast(Any, None),
        each_second=lambda _: None,
        on_failure=errors.append,
    )
    watchdog.watch(cast(Any, Source(state)))
    watchdog.start()
    while clock.now() < for_s:
        if polls:
            watchdog.polled()
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
