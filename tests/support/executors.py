"""Executors without a consumer, and records for them."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from evkafka import Retry
from evkafka.outcomes import Failed, Outcome, Unmatched
from evkafka.runtime.clock import SystemClock
from evkafka.runtime.executor import Executor
from evkafka.runtime.interfaces import ConsumerServices, DecideFor, WatchdogRounds
from evkafka.runtime.ports import ConsumerIdentity, Dispatch, Route, Slot
from evkafka.runtime.reporting import TelemetryReporter
from evkafka.runtime.scheduler import LaneScheduler
from evkafka.runtime.settle import OK, Verdict, Wait
from evkafka.runtime.supervision.tasks import SupervisedTasks
from evkafka.runtime.time_slice import TimeSlice
from evkafka.telemetry import Telemetry


@dataclass
class OneRecord:
    offset: int
    topic: str = "t"
    partition: int = 0
    timestamp: int = 0
    key: bytes | None = None
    value: bytes | None = b"x"
    headers: tuple[tuple[str, bytes | None], ...] = ()


def fail(error: BaseException) -> None:
    raise error


def retry_at_once(
    topic: str, route: Route | None, outcome: Outcome | Unmatched | Failed | None, attempt: int
) -> Verdict:
    return Wait(0.0) if isinstance(outcome, Retry) else OK


def executors(
    count: int,
    lanes: LaneScheduler,
    dispatch: Dispatch,
    on_failure: Callable[[BaseException], object] = fail,
    *,
    decide: DecideFor = retry_at_once,
    telemetry: Telemetry | None = None,
    threads: ThreadPoolExecutor | None = None,
) -> list[Executor]:
    clock = SystemClock()
    time_slice = TimeSlice(clock, lambda: None)
    services = ConsumerServices(
        lanes,
        TelemetryReporter("it", telemetry or Telemetry()),
        clock,
        SupervisedTasks("it", fail),
        resume_reading_and_flush_reports_soon=lambda: None,
        close_partition_after_failed_record=lambda partition, _: lanes.close_partition_and_drop_unbegun(partition),
        fail=on_failure,
    )
    return [
        Executor(
            Slot(ConsumerIdentity("it", "g", "c"), {}, threads),
            services,
            dispatch=dispatch,
            decide=decide,
            writes=None,  # type: ignore[arg-type]
            watchdog_rounds=WatchdogRounds(time.monotonic()),
            time_slice=time_slice,
            limit_s=20.0,
        )
        for _ in range(count)
    ]
