"""Notices an event loop that is held: from a thread, so that it can say who holds it while it still does.

While the loop is held nothing runs: no heartbeat, no poll, no probe. An attempt that has ended says so by itself
(`EndpointBlocked`); this one sees also those that do not end, and those that await first and block then.

Where the whole process stood still (SIGSTOP, a debugger, a machine without time for it), the thread did so too: then
nobody in here held the loop, and nobody is named.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import FrameType

from evkafka.runtime.consumer import Consumer
from evkafka.telemetry import EndpointBlocked, Telemetry

logger = logging.getLogger("evkafka.loop")

BEAT_S = 0.25
BLOCKED_AFTER_S = 1.0
LOOKED_BACK_S = 15.0
"""Over which time the greatest lag is told: as long as a scraper commonly leaves between two looks."""


@dataclass(frozen=True, slots=True)
class RunningAttempt:
    """The attempt that a task runs."""

    consumer: str
    topic: str
    partition: int
    offset: int
    endpoint: str

    def __str__(self) -> str:
        return f"{self.endpoint or 'the stack'} at {self.topic}[{self.partition}]@{self.offset}"


def running_attempts(consumer: Consumer) -> list[RunningAttempt]:
    """The attempts that a consumer runs."""
    return [
        RunningAttempt(
            consumer.name, record.topic, record.partition, record.offset, route.name if route is not None else ""
        )
        for executor in consumer.at_work
        if (record := executor.slot.record) is not None
        for route in [executor.slot.route]
    ]


def running_attempt(task: asyncio.Task[object], consumers: Sequence[Consumer]) -> RunningAttempt | None:
    """The attempt that this task runs, in one of the consumers."""
    for consumer in consumers:
        for executor in consumer.at_work:
            record, route = executor.slot.record, executor.slot.route
            if executor.task is task and record is not None:
                name = route.name if route is not None else ""
                return RunningAttempt(consumer.name, record.topic, record.partition, record.offset, name)
    return None


class LoopMonitor:
    """Watches the loop that it is started in.

    Args:
        at_work: the attempt that a task runs; None where it runs none. Called from the thread, while the loop is held.
        telemetry: is told of a blocked endpoint once it has let go, where nobody else has told of it.
    """

    def __init__(
        self, *, at_work: Callable[[asyncio.Task[object]], RunningAttempt | None], telemetry: Telemetry | None = None
    ) -> None:
        self._at_work = at_work
        self._telemetry = telemetry
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._thread: threading.Thread | None = None
        self._ended = threading.Event()
        self._beat_at_s = 0.0
        self._lags: deque[tuple[float, float]] = deque()  # (when, how much)
        self._holding: RunningAttempt | None = None
        self._told: set[tuple[str, int, int]] = set()
        self._deaf: Callable[[], None] = lambda: None

    # ------------------------------------------------------------------ life

    def start(self) -> None:
        """Begin, in the running loop."""
        self._loop = asyncio.get_running_loop()
        self._ended.clear()
        self._beat_at_s = time.monotonic()
        self._timer = self._loop.call_later(BEAT_S, self._beat)
        if self._telemetry is not None:
            self._deaf = self._telemetry.listen(EndpointBlocked, self._on_blocked)
        self._thread = threading.Thread(
            target=self._watch, args=(threading.get_ident(),), name="evkafka-loop-monitor", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """In the loop's thread; idempotent."""
        self._ended.set()
        self._deaf()
        if self._timer is not None:
            self._timer.cancel()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    @property
    def lag_s(self) -> float:
        """The longest time that the loop was late by, in the last quarter of a minute."""
        self._forget(time.monotonic())
        return max((lag_s for _, lag_s in self._lags), default=0.0)

    # ------------------------------------------------------------------ in the loop

    def _beat(self) -> None:
        assert self._loop is not None
        now_s = time.monotonic()
        lag_s = max(now_s - self._beat_at_s - BEAT_S, 0.0)
        self._lags.append((now_s, lag_s))
        self._forget(now_s)
        held_by, self._holding = self._holding, None
        self._beat_at_s = now_s
        if held_by is not None:
            self._let_go(held_by, lag_s)
        self._timer = self._loop.call_later(BEAT_S, self._beat)

    def _forget(self, now_s: float) -> None:
        while self._lags and now_s - self._lags[0][0] > LOOKED_BACK_S:
            self._lags.popleft()

    def _let_go(self, held_by: RunningAttempt, lag_s: float) -> None:
        address = held_by.topic, held_by.partition, held_by.offset
        if self._telemetry is not None and address not in self._told:
            self._telemetry.emit(EndpointBlocked(held_by.consumer, *address, held_by.endpoint, duration_s=lag_s))
        self._told.clear()

    def _on_blocked(self, event: EndpointBlocked) -> None:
        self._told.add((event.topic, event.partition, event.offset))

    # ------------------------------------------------------------------ in the thread

    def _watch(self, loop_thread: int) -> None:
        told_of = 0.0
        asleep_at_s, worked_s = time.monotonic(), time.process_time()
        while not self._ended.wait(BEAT_S):
            overslept_s = time.monotonic() - asleep_at_s - BEAT_S
            worked_s = time.process_time() - worked_s
            beat_at_s = self._beat_at_s
            held_s = time.monotonic() - beat_at_s - BEAT_S
            if overslept_s > BLOCKED_AFTER_S and worked_s < overslept_s / 2:
                _tell_of_standstill(overslept_s)
            elif held_s > BLOCKED_AFTER_S and told_of != beat_at_s:
                told_of = beat_at_s
                self._tell(held_s, loop_thread)
            asleep_at_s, worked_s = time.monotonic(), time.process_time()

    def _tell(self, held_s: float, loop_thread: int) -> None:
        assert self._loop is not None
        task = asyncio.current_task(self._loop)
        found = self._at_work(task) if task is not None else None
        if self._beat_at_s + BEAT_S + BLOCKED_AFTER_S > time.monotonic():
            return  # it has let go in the meantime: who runs now did not hold it
        self._holding = found
        stands = _innermost(sys._current_frames().get(loop_thread))
        if found is None:
            logger.error("the event loop has been held for %.1f s: no heartbeat can run; %s", held_s, stands)
            return
        logger.error(
            "%s has held the event loop for %.1f s, at %s[%d]@%d: no heartbeat can run; %s",
            found.endpoint or "the stack",
            held_s,
            found.topic,
            found.partition,
            found.offset,
            stands,
            extra={
                "consumer": found.consumer,
                "topic": found.topic,
                "partition": found.partition,
                "offset": found.offset,
                "handler": found.endpoint,
            },
        )


def _tell_of_standstill(stood_s: float) -> None:
    """This thread could not run either. Code that keeps all threads from running uses CPU time; this one used none."""
    logger.warning(
        "this process stood still for %.1f s, without heartbeats: it was stopped (SIGSTOP, a debugger), or the machine"
        " gave it no CPU time; no endpoint of its own held it",
        stood_s,
    )


def _innermost(frame: FrameType | None) -> str:
    if frame is None:
        return "where it stands is not known"
    code = frame.f_code
    return f"it stands in {code.co_name} ({code.co_filename}:{frame.f_lineno})"
