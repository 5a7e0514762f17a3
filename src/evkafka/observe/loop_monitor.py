"""Detects a blocked event loop, from a thread, so that it can log what blocks the loop while it is still blocked.

While the loop is blocked nothing runs: no heartbeat, no poll, no probe. An executor reports an attempt that blocked the
loop when it has ended (`EndpointBlocked`); the monitor also detects attempts that do not end, and those that await
something first and block the loop then.

If the whole process was stopped (SIGSTOP, a debugger, a machine without CPU time for it), this thread was stopped too:
then no endpoint blocked the loop, and none is named.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from types import FrameType

from evkafka.runtime.consumer import Consumer
from evkafka.telemetry import EndpointBlocked, Telemetry

logger = logging.getLogger("evkafka.loop")

BEAT_S = 0.25
BLOCKED_AFTER_S = 1.0
LAG_WINDOW_S = 15.0
"""The period over which the maximum lag is reported: the usual interval of a scraper."""


@dataclass(frozen=True, slots=True)
class RunningAttempt:
    """An attempt that a consumer runs."""

    consumer: str
    topic: str
    partition: int
    offset: int
    endpoint: str

    def __str__(self) -> str:
        return f"{self.endpoint or 'the middleware'} at {self.topic}[{self.partition}]@{self.offset}"


def running_attempts(consumer: Consumer) -> list[RunningAttempt]:
    """The attempts that a consumer runs."""
    return [attempt for _, attempt in _tasks_and_attempts(consumer)]


def attempt_of_task(task: asyncio.Task[object], consumers: Sequence[Consumer]) -> RunningAttempt | None:
    """The attempt that this task runs; None if it runs none."""
    return next((attempt for one in consumers for runner, attempt in _tasks_and_attempts(one) if runner is task), None)


def _tasks_and_attempts(consumer: Consumer) -> Iterator[tuple[asyncio.Task[object] | None, RunningAttempt]]:
    for executor in consumer.busy_executors:
        record, route = executor.slot.record, executor.slot.route
        if record is not None:
            endpoint = route.name if route is not None else ""
            yield (
                executor.task,
                RunningAttempt(consumer.name, record.topic, record.partition, record.offset, endpoint),
            )


class LoopMonitor:
    """Monitors the loop that it is started in.

    Args:
        find_attempt: returns the attempt that a task runs; None if it runs none. Called from the thread, while the loop
            is blocked.
        telemetry: gets an `EndpointBlocked` for an endpoint that has blocked the loop, once it no longer does, unless
            the executor has reported it.
    """

    def __init__(
        self,
        *,
        find_attempt: Callable[[asyncio.Task[object]], RunningAttempt | None],
        telemetry: Telemetry | None = None,
    ) -> None:
        self._find_attempt = find_attempt
        self._telemetry = telemetry
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._thread: threading.Thread | None = None
        self._ended = threading.Event()
        self._beat_at_s = 0.0
        self._lags: deque[tuple[float, float]] = deque()  # (time of the beat, its lag)
        self._blocked_by: RunningAttempt | None = None
        self._reported: set[tuple[str, int, int]] = set()
        self._stop_listening: Callable[[], None] = lambda: None

    # ------------------------------------------------------------------ life

    def start(self) -> None:
        """Start monitoring the running loop."""
        self._loop = asyncio.get_running_loop()
        self._ended.clear()
        self._beat_at_s = time.monotonic()
        self._timer = self._loop.call_later(BEAT_S, self._measure_lag)
        if self._telemetry is not None:
            self._stop_listening = self._telemetry.listen(EndpointBlocked, self._remember_reported_record)
        self._thread = threading.Thread(
            target=self._watch_loop, args=(threading.get_ident(),), name="evkafka-loop-monitor", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Called in the loop's thread; idempotent."""
        self._ended.set()
        self._stop_listening()
        if self._timer is not None:
            self._timer.cancel()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    @property
    def largest_recent_lag_s(self) -> float:
        """The longest delay of the loop in the last `LAG_WINDOW_S`."""
        self._drop_old_lags(time.monotonic())
        return max((lag_s for _, lag_s in self._lags), default=0.0)

    # ------------------------------------------------------------------ in the loop

    def _measure_lag(self) -> None:
        assert self._loop is not None
        now_s = time.monotonic()
        lag_s = max(now_s - self._beat_at_s - BEAT_S, 0.0)
        self._lags.append((now_s, lag_s))
        self._drop_old_lags(now_s)
        blocked_by, self._blocked_by = self._blocked_by, None
        self._beat_at_s = now_s
        if blocked_by is not None:
            self._emit_endpoint_blocked(blocked_by, lag_s)
        self._timer = self._loop.call_later(BEAT_S, self._measure_lag)

    def _drop_old_lags(self, now_s: float) -> None:
        while self._lags and now_s - self._lags[0][0] > LAG_WINDOW_S:
            self._lags.popleft()

    def _emit_endpoint_blocked(self, attempt: RunningAttempt, lag_s: float) -> None:
        address = attempt.topic, attempt.partition, attempt.offset
        if self._telemetry is not None and address not in self._reported:
            self._telemetry.emit(EndpointBlocked(attempt.consumer, *address, attempt.endpoint, duration_s=lag_s))
        self._reported.clear()

    def _remember_reported_record(self, event: EndpointBlocked) -> None:
        self._reported.add((event.topic, event.partition, event.offset))

    # ------------------------------------------------------------------ in the thread

    def _watch_loop(self, loop_thread: int) -> None:
        logged_beat_s = 0.0
        asleep_at_s, worked_s = time.monotonic(), time.process_time()
        while not self._ended.wait(BEAT_S):
            overslept_s = time.monotonic() - asleep_at_s - BEAT_S
            worked_s = time.process_time() - worked_s
            beat_at_s = self._beat_at_s
            blocked_s = time.monotonic() - beat_at_s - BEAT_S
            if overslept_s > BLOCKED_AFTER_S and worked_s < overslept_s / 2:
                _log_process_standstill(overslept_s)
            elif blocked_s > BLOCKED_AFTER_S and logged_beat_s != beat_at_s:
                logged_beat_s = beat_at_s
                self._log_loop_blocked(blocked_s, loop_thread)
            asleep_at_s, worked_s = time.monotonic(), time.process_time()

    def _log_loop_blocked(self, blocked_s: float, loop_thread: int) -> None:
        assert self._loop is not None
        task = asyncio.current_task(self._loop)
        found = self._find_attempt(task) if task is not None else None
        if self._beat_at_s + BEAT_S + BLOCKED_AFTER_S > time.monotonic():
            return  # the loop has run in the meantime: the task that runs now did not block it
        self._blocked_by = found
        location = _describe_innermost_frame(sys._current_frames().get(loop_thread))
        if found is None:
            logger.error(
                "the event loop has been blocked for %.1f s: no heartbeat can be sent; %s", blocked_s, location
            )
            return
        logger.error(
            "%s has blocked the event loop for %.1f s at %s[%d]@%d: no heartbeat can be sent; %s",
            found.endpoint or "the middleware",
            blocked_s,
            found.topic,
            found.partition,
            found.offset,
            location,
            extra={
                "consumer": found.consumer,
                "topic": found.topic,
                "partition": found.partition,
                "offset": found.offset,
                "handler": found.endpoint,
            },
        )


def _log_process_standstill(stood_s: float) -> None:
    """This thread could not run either. Code that keeps all threads from running uses CPU time, and none was used."""
    logger.warning(
        "this process did not run for %.1f s and sent no heartbeats: it was paused (SIGSTOP, a debugger) or got no"
        " CPU time; none of its endpoints blocked it",
        stood_s,
    )


def _describe_innermost_frame(frame: FrameType | None) -> str:
    if frame is None:
        return "its current line is unknown"
    code = frame.f_code
    return f"it is running {code.co_name} ({code.co_filename}:{frame.f_lineno})"
