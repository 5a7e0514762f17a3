"""Endpoints that never await: the loop's other tasks (heartbeats!) get their turn all the same."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

from evkafka import Handler, Request
from evkafka.dispatch import build_dispatch
from evkafka.ports import ConsumerIdentity, Dispatch, Slot, TopicPartition
from evkafka.runtime.clock import SystemClock
from evkafka.runtime.executor import Executor
from evkafka.runtime.given import LastRound
from evkafka.runtime.lane import Lanes
from evkafka.runtime.partition import Partition
from evkafka.runtime.report import Report
from evkafka.runtime.settle import OK
from evkafka.runtime.turn import Turn
from evkafka.telemetry import Telemetry

CPU_S = 0.004


@dataclass
class OneRecord:
    offset: int
    topic: str = "t"
    partition: int = 0
    timestamp: int = 0
    key: bytes | None = None
    value: bytes | None = b"x"
    headers: tuple[tuple[str, bytes | None], ...] = ()


def executors(count: int, lanes: Lanes, dispatch: Dispatch) -> list[Executor]:
    clock = SystemClock()
    turn = Turn(clock)
    return [
        Executor(
            Slot(ConsumerIdentity("it", "g", "c"), {}),
            lanes=lanes,
            dispatch=dispatch,
            decide=lambda *_: OK,
            dead_letters=None,  # type: ignore[arg-type]
            report=Report("it", Telemetry()),
            clock=clock,
            last_round=LastRound(time.monotonic()),
            turn=turn,
            progress=lambda: None,
            limit_s=20.0,
        )
        for _ in range(count)
    ]


class TestTheLoop:
    async def test_goes_round_between_short_lanes_of_many_executors_that_burn_cpu(self) -> None:
        lanes = Lanes(SystemClock())
        partition = Partition(TopicPartition("t", 0), lanes, ordering="key")
        handler, handled = Handler(), list[int]()

        @handler.default()
        async def burn(value: bytes, request: Request) -> None:
            until_s = time.thread_time() + CPU_S
            while time.thread_time() < until_s:
                pass
            handled.append(request.offset)

        at_work = executors(50, lanes, build_dispatch(handler, None))
        for one in at_work:
            one.start(lambda *_: None)
        await asyncio.sleep(0)
        partition.take([OneRecord(offset) for offset in range(100)], 100)
        most = done = 0
        while len(handled) < 100:
            await asyncio.sleep(0)
            most, done = max(most, len(handled) - done), len(handled)
        for one in at_work:
            one.kill()
        assert most <= 6  # ten milliseconds' worth, and not fifty endpoints
        assert handled == sorted(handled)
