"""`evkafka run --workers N`: supervises several processes of one app, which are members of one group."""

from __future__ import annotations

import asyncio
import logging
import signal
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from evkafka.cli.exit_codes import NOT_STARTED, USAGE
from evkafka.cli.impl.child_process import ChildProcess
from evkafka.cli.impl.line_forwarder import LineForwarder
from evkafka.cli.impl.metrics_directory import share_metrics_directory
from evkafka.cli.impl.run_options import RunOptions
from evkafka.cli.logging import configure_logging

logger = logging.getLogger("evkafka.cli")

FIRST_WAIT_S, LONGEST_WAIT_S = 1.0, 30.0
HEALTHY_AFTER_S = 60.0
"""After a process has run for so long, the wait before its next restart is the first one again."""

MOST_RESTARTS, WITHIN_S = 5, 600.0
"""With more restarts than that the supervisor ends too, so that whatever runs it learns of the failures."""


def run_workers(options: RunOptions) -> int:
    """Run the processes until a signal. Returns the highest of their exit codes."""
    configure_logging(options.log_level, as_json=options.json_log)
    with _start_forwarder_of_all_output() as forwarder, share_metrics_directory():
        return asyncio.run(Workers(options, forwarder).run())


@contextmanager
def _start_forwarder_of_all_output() -> Iterator[LineForwarder]:
    """Send what the processes print, and what we log ourselves, through one forwarder."""
    forwarder = LineForwarder()
    handlers = [one for one in logging.getLogger().handlers if type(one) is logging.StreamHandler]
    with forwarder.create_stream_for_own_output(2) as stream:
        before = [handler.setStream(stream) for handler in handlers]
        try:
            yield forwarder
        finally:
            for handler, earlier in zip(handlers, before, strict=True):
                handler.setStream(earlier)
    forwarder.wait_for_last_lines()


class Workers:
    """Starts the processes, passes signals on, and restarts a process that fails.

    The exit code decides: 0 ends the process for good; 2, and 3 at the first start, stop all processes, because a
    restart would not help; any other code is a failure, and the process is restarted after a pause.
    """

    def __init__(self, options: RunOptions, forwarder: LineForwarder) -> None:
        self._options = options
        self._forwarder = forwarder
        self._processes: dict[int, ChildProcess] = {}
        self._restarts: deque[float] = deque()
        self._stopping = asyncio.Event()
        self._signals = 0
        self._failed_code: int | None = None

    async def run(self) -> int:
        loop = asyncio.get_running_loop()
        for signum in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(signum, self._on_signal, signum)
        numbers = range(1, self._options.workers + 1)
        codes = await asyncio.gather(*(self._run_worker(number) for number in numbers))
        return max(codes) if self._failed_code is None else self._failed_code

    def _on_signal(self, signum: signal.Signals) -> None:
        """Pass the signal on. The first one stops the processes; a process that gets a second one ends at once."""
        self._signals += 1
        if self._signals == 1:
            logger.info("signal %s: stopping %d processes", signum.name, len(self._processes))
        self._stop_all()

    def _stop_all(self) -> None:
        self._stopping.set()
        for process in self._processes.values():
            process.terminate()

    async def _run_worker(self, number: int) -> int:
        """Run one worker until it is stopped, ends by itself, or fails for good. Returns its last exit code."""
        wait_s, launches = FIRST_WAIT_S, 0
        while True:
            began_s = time.monotonic()
            code = await self._run_process_once(number)
            launches += 1
            if self._stopping.is_set():
                return code
            if code == 0:
                logger.info("worker %d exited", number)
                return code
            if code == USAGE or (code == NOT_STARTED and launches == 1):
                return self._stop_all_after_failure(f"worker {number} could not start", code)
            if not self._count_restart_if_allowed():
                return self._stop_all_after_failure(
                    f"worker {number} exited with code {code}, and {MOST_RESTARTS} restarts in"
                    f" {WITHIN_S / 60:g} minutes did not help",
                    code,
                )
            if time.monotonic() - began_s > HEALTHY_AFTER_S:
                wait_s = FIRST_WAIT_S
            logger.error("worker %d exited with code %d; restarting it in %g s", number, code, wait_s)
            if await self._is_stop_requested_within(wait_s):
                return code
            wait_s = min(wait_s * 2, LONGEST_WAIT_S)

    async def _run_process_once(self, number: int) -> int:
        if self._stopping.is_set():
            return 0
        options = replace(self._options, worker=number)
        process = await ChildProcess.start(options, name=f"worker {number}", forwarder=self._forwarder)
        self._processes[number] = process
        logger.info("worker %d runs as process %d", number, process.pid)
        try:
            if self._stopping.is_set():  # a signal came while this process was being started
                process.terminate()
            return await process.wait()
        finally:
            del self._processes[number]

    def _stop_all_after_failure(self, why: str, code: int) -> int:
        if self._failed_code is None:
            self._failed_code = code
            logger.critical("%s: stopping all workers", why)
        self._stop_all()
        return code

    def _count_restart_if_allowed(self) -> bool:
        """False, and nothing is counted, if there were too many."""
        now_s = time.monotonic()
        while self._restarts and now_s - self._restarts[0] > WITHIN_S:
            self._restarts.popleft()
        if len(self._restarts) >= MOST_RESTARTS:
            return False
        self._restarts.append(now_s)
        return True

    async def _is_stop_requested_within(self, seconds: float) -> bool:
        try:
            await asyncio.wait_for(self._stopping.wait(), seconds)
        except TimeoutError:
            return False
        return True
