"""What the watchdog calls a stall: a poll that does not return, a rebalance without an end; nothing before its time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from evkafka.config.settings import ConsumerSettings
from evkafka.runtime.interfaces import WatchdogRounds
from evkafka.runtime.supervision.watchdog import Watchdog
from evkafka.testing.memory.clock import VirtualClock

LONGEST_POLL_S = 2 * 60 + 10


class Source:
    def __init__(self, state: str) -> None:
        self._state = state

    def state(self) -> str:
        return self._state


def stalls(state: str, *, for_s: float, polls: bool) -> list[str]:
    """What a watchdog says of a source that stays in this state for so long."""
    clock, said = VirtualClock(), list[Exception]()
    watchdog = Watchdog(
        settings=ConsumerSettings(session_timeout_s=10.0, rebalance_timeout_s=60.0),
        executors=(),
        partitions={},
        shortest_limit_s=20.0,
        last_round=WatchdogRounds(0.0),
        report=cast(Any, None),
        clock=clock,
        each_second=lambda _: None,
        on_failure=cast(Callable[[BaseException], object], said.append),
    )
    watchdog.watch(cast(Any, Source(state)))
    watchdog.start()
    while clock.now() < for_s:
        if polls:
            watchdog.polled()
        clock.jump(clock.next_due() or for_s)
    watchdog.stop()
    return [str(one) for one in said]


async def test_a_poll_that_does_not_return_is_told_once_it_has_had_the_longest_time() -> None:
    assert stalls("steady", for_s=LONGEST_POLL_S - 1, polls=False) == []
    [sentence] = stalls("steady", for_s=10 * LONGEST_POLL_S, polls=False)
    assert sentence.startswith("the poll has not returned for ")


async def test_so_is_a_rebalance_without_an_end() -> None:
    assert stalls("joining", for_s=LONGEST_POLL_S - 1, polls=True) == []
    [sentence] = stalls("joining", for_s=10 * LONGEST_POLL_S, polls=True)
    assert sentence.startswith("the group has been rebalancing for ")


async def test_a_source_that_polls_and_is_steady_is_no_stall() -> None:
    assert stalls("steady", for_s=10 * LONGEST_POLL_S, polls=True) == []
