"""A blocked event loop is noticed while it is blocked, with the code that blocks it. These tests take real time."""

from __future__ import annotations

import asyncio
import logging
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from evkafka.observe.loop_monitor import LoopMonitor, RunningAttempt
from evkafka.telemetry import EndpointBlocked, Telemetry
from tests.support.waiting import eventually

WHO = RunningAttempt("billing", "orders", 0, 7, "shop.on_order")


class FirstLogLine(logging.Handler):
    """Sets an event when the first line is logged, in any thread."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)  # lower levels are logged if the whole machine stood still
        self.first = threading.Event()
        self.text = ""

    def emit(self, record: logging.LogRecord) -> None:
        self.text = record.getMessage()
        self.first.set()


@pytest.fixture
def log() -> Iterator[FirstLogLine]:
    log = FirstLogLine()
    logger = logging.getLogger("evkafka.loop")
    logger.addHandler(log)
    yield log
    logger.removeHandler(log)


def block_until_logged(log: FirstLogLine) -> None:
    """Block the loop until it is noticed."""
    assert log.first.wait(60)


async def test_it_is_named_while_it_blocks_the_loop(log: FirstLogLine) -> None:
    monitor = LoopMonitor(find_attempt=lambda task: WHO)
    monitor.start()
    try:
        block_until_logged(log)
    finally:
        monitor.stop()
    assert re.match(r"shop\.on_order has blocked the event loop for \d+\.\d s at ", log.text)
    assert "at orders[0]@7" in log.text
    assert "it is running wait" in log.text


async def test_code_outside_of_attempts_is_named_by_its_line(log: FirstLogLine) -> None:
    monitor = LoopMonitor(find_attempt=lambda task: None)
    monitor.start()
    try:
        block_until_logged(log)
    finally:
        monitor.stop()
    assert re.match(r"the event loop has been blocked for \d+\.\d s: ", log.text)


@pytest.mark.parametrize(("logged_already", "times"), [(False, 1), (True, 0)])
async def test_an_event_is_emitted_if_there_was_none(log: FirstLogLine, logged_already: bool, times: int) -> None:
    telemetry, events = Telemetry(), []
    monitor = LoopMonitor(find_attempt=lambda task: WHO, telemetry=telemetry)
    monitor.start()
    telemetry.listen(EndpointBlocked, events.append)
    try:
        block_until_logged(log)
        if logged_already:
            telemetry.emit(EndpointBlocked("billing", "orders", 0, 7, "shop.on_order", duration_s=1.5))
            events.clear()
        await eventually(lambda: monitor._blocked_by is None)
        assert len(events) == times
        assert monitor.largest_recent_lag_s > 1.0
    finally:
        monitor.stop()


async def test_a_free_loop_has_little_lag(log: FirstLogLine) -> None:
    monitor = LoopMonitor(find_attempt=lambda task: WHO)
    monitor.start()
    try:
        await eventually(lambda: monitor._lags)
        assert monitor.largest_recent_lag_s < 1.0
        assert not log.text
    finally:
        monitor.stop()
    monitor.stop()


async def test_the_running_task_is_reported(log: FirstLogLine) -> None:
    asked: list[asyncio.Task[object]] = []
    monitor = LoopMonitor(find_attempt=lambda task: asked.append(task))
    monitor.start()
    try:
        block_until_logged(log)
    finally:
        monitor.stop()
    assert asked == [asyncio.current_task()]


FROZEN = """
import asyncio, logging, sys
from evkafka.observe.loop_monitor import LoopMonitor

async def main():
    logging.basicConfig(format="%(levelname)s %(message)s", stream=sys.stdout)
    monitor = LoopMonitor(find_attempt=lambda task: None)
    monitor.start()
    print("here", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    monitor.stop()

asyncio.run(main())
"""


def test_a_stopped_process_is_not_reported_as_a_blocked_loop() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", FROZEN], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "here\n"
            process.send_signal(signal.SIGSTOP)
            try:
                # There is no event to wait for: the time itself is the cause.
                time.sleep(2.5)
            finally:
                process.send_signal(signal.SIGCONT)
            said = process.stdout.readline()
            process.stdin.close()
            said += process.stdout.read()
        finally:
            process.kill()
    assert said.startswith("WARNING this process did not run for ")
    assert "it was paused (SIGSTOP, a debugger) or got no" in said
    assert "blocked the event loop" not in said
    assert "has been held" not in said
