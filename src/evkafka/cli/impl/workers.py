"""`evkafka run --workers N`: several processes of one app, in one group, kept alive."""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import shutil
import signal
import tempfile
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from evkafka.cli.impl.line_forwarder import LineForwarder
from evkafka.cli.impl.run import RunOptions
from evkafka.cli.impl.worker_process import Child
from evkafka.cli.logging import log_from

logger = logging.getLogger("evkafka.cli")

FIRST_WAIT_S, LONGEST_WAIT_S = 1.0, 30.0
WELL_S = 60.0
"""A process that has run for so long is well: its next failure is waited for as if it were the first."""

MOST_RESTARTS, WITHIN_S = 5, 600.0
"""More restarts than that, and whatever supervises this supervisor is told."""

VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
PREFIX, LOCK = "evkafka-metrics-", ".supervised"

USAGE, NOT_STARTED = 2, 3


def run_workers(options: RunOptions) -> int:
    """Run them until a signal; the gravest of their exit codes, 0 where all ended with 0."""
    log_from(options.log_level, as_json=options.json_log)
    with _lines_together() as forwarder, metrics_together():
        return asyncio.run(Workers(options, forwarder).run())


@contextmanager
def _lines_together() -> Iterator[LineForwarder]:
    """All that is printed goes through one forwarder: by the processes, and by ourselves."""
    forwarder = LineForwarder()
    handlers = [one for one in logging.getLogger().handlers if type(one) is logging.StreamHandler]
    with forwarder.stream(2) as stream:
        before = [handler.setStream(stream) for handler in handlers]
        try:
            yield forwarder
        finally:
            for handler, earlier in zip(handlers, before, strict=True):
                handler.setStream(earlier)
    forwarder.close()


@contextmanager
def metrics_together() -> Iterator[None]:
    """A directory where the processes leave their figures, so that the first one's /metrics tells of all."""
    if os.environ.get(VARIABLE):
        yield
        return
    try:
        held, directory = _directory_of_ours()
    except OSError as error:
        logger.warning(
            "no directory can be made in %s (%s): /metrics and the probes of the first worker tell of that one alone;"
            " %s may name another place",
            tempfile.gettempdir() if tempfile.tempdir else "the temporary directory",
            error.strerror,
            VARIABLE,
        )
        yield
        return
    os.environ[VARIABLE] = str(directory)
    try:
        yield
    finally:
        del os.environ[VARIABLE]
        shutil.rmtree(directory, ignore_errors=True)
        os.close(held)


def _directory_of_ours() -> tuple[int, Path]:
    """A new directory, and the lock that says that we live. Those of supervisors that were killed are removed: process
    ids would not do for that, since the place may be shared by containers."""
    place = Path(tempfile.gettempdir())
    for old in place.glob(f"{PREFIX}*"):
        _remove_if_left_behind(old)
    made = Path(tempfile.mkdtemp(prefix="evkafka-new-"))
    held = os.open(made / LOCK, os.O_RDWR | os.O_CREAT)
    fcntl.flock(held, fcntl.LOCK_EX)
    directory = made.with_name(made.name.replace("evkafka-new-", PREFIX))  # only now it may be found
    made.rename(directory)
    return held, directory


def _remove_if_left_behind(directory: Path) -> None:
    try:
        held = os.open(directory / LOCK, os.O_RDWR)
    except OSError:
        return  # somebody else's
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(directory, ignore_errors=True)
    except BlockingIOError:
        return  # its supervisor lives
    finally:
        os.close(held)


class Workers:
    """Starts the processes, passes signals on, starts a failed one again.

    What is asked of one process is known by its exit code: 0 is its own decision to end, 2 cannot be mended by
    trying again, 3 neither where it never ran; anything else is a failure, and it is started again after a pause.
    """

    def __init__(self, options: RunOptions, forwarder: LineForwarder) -> None:
        self._options = options
        self._forwarder = forwarder
        self._processes: dict[int, Child] = {}
        self._restarts: deque[float] = deque()
        self._stopping = asyncio.Event()
        self._signals = 0
        self._given_up: int | None = None

    async def run(self) -> int:
        loop = asyncio.get_running_loop()
        for signum in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(signum, self._on_signal, signum)
        numbers = range(1, self._options.workers + 1)
        codes = await asyncio.gather(*(self._keep(number) for number in numbers))
        return max(codes) if self._given_up is None else self._given_up

    def _on_signal(self, signum: signal.Signals) -> None:
        """The first one stops them, the next ones are passed on: a process that gets two ends where it stands."""
        self._signals += 1
        if self._signals == 1:
            logger.info("signal %s: stopping %d processes", signum.name, len(self._processes))
        self._stop()

    def _stop(self) -> None:
        self._stopping.set()
        for process in self._processes.values():
            process.terminate()

    async def _keep(self, number: int) -> int:
        """Run one of them until it is told to end, ends by itself, or is given up; its last exit code."""
        wait_s, launches = FIRST_WAIT_S, 0
        while True:
            began_s = time.monotonic()
            code = await self._run_once(number)
            launches += 1
            if self._stopping.is_set():
                return code
            if code == 0:
                logger.info("worker %d has ended by itself", number)
                return code
            if code == USAGE or (code == NOT_STARTED and launches == 1):
                return self._give_up(f"worker {number} could not start", code)
            if self._too_often():
                return self._give_up(
                    f"worker {number} has ended with {code}, and {MOST_RESTARTS} restarts in"
                    f" {WITHIN_S / 60:g} minutes did not help",
                    code,
                )
            if time.monotonic() - began_s > WELL_S:
                wait_s = FIRST_WAIT_S
            logger.error("worker %d has ended with %d; starting it again in %g s", number, code, wait_s)
            if await self._stops_within(wait_s):
                return code
            wait_s = min(wait_s * 2, LONGEST_WAIT_S)

    async def _run_once(self, number: int) -> int:
        if self._stopping.is_set():
            return 0
        options = replace(self._options, worker=number)
        process = await Child.start(options, name=f"worker {number}", forwarder=self._forwarder)
        self._processes[number] = process
        logger.info("worker %d runs as process %d", number, process.pid)
        try:
            if self._stopping.is_set():  # told to stop while this one was being started
                process.terminate()
            return await process.wait()
        finally:
            del self._processes[number]

    def _give_up(self, why: str, code: int) -> int:
        if self._given_up is None:
            self._given_up = code
            logger.critical("%s: stopping them all", why)
        self._stop()
        return code

    def _too_often(self) -> bool:
        now_s = time.monotonic()
        while self._restarts and now_s - self._restarts[0] > WITHIN_S:
            self._restarts.popleft()
        if len(self._restarts) >= MOST_RESTARTS:
            return True
        self._restarts.append(now_s)
        return False

    async def _stops_within(self, seconds: float) -> bool:
        try:
            await asyncio.wait_for(self._stopping.wait(), seconds)
        except TimeoutError:
            return False
        return True
