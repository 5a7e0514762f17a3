"""Enforces the deadline of a stop from a thread: code that blocks the event loop also blocks timers in it.

A signal reaches the thread in two ways. Python's own handler calls `start_stop_deadline`, once the main thread runs
Python code again. And the interpreter writes the signal's number into a pipe at once, also while the main thread is in
a C function that ignores signals (a database driver that waits for a lock).
"""

from __future__ import annotations

import asyncio
import logging
import math
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

from evkafka.runtime.supervision.stacks import (
    describe_task,
    describe_thread,
    is_thread_waiting,
    threads_blocking_exit,
)
from evkafka_command.forks import undo_in_children

logger = logging.getLogger("evkafka")

SignalHandler = Callable[[int, FrameType | None], None]

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)

LAST_LOG_S = 2.0
"""How long the last log lines may take: the reader of our output may have stopped reading."""

MAX_NAMED = 5
"""How many blockers the log line of a late stop names."""


class StopGuard:
    """Guards one app, from its start until the process has ended; in another program's process, until the app has.

    Args:
        limit_s: gives the time that a stop may take, in seconds. Called when the stop begins.
        running_attempts: describes the running attempts, for the log line. Called in the thread.
        ends_process: end the process by force after the deadline. False: only log what blocks the stop.
    """

    def __init__(
        self, limit_s: Callable[[], float], *, running_attempts: Callable[[], list[str]], ends_process: bool
    ) -> None:
        self.ends_process = ends_process
        self._limit_s = limit_s
        self._running_attempts = running_attempts
        self._began_s = self._deadline_s = math.inf
        self._code = self._signum = self._signal_count = 0
        self._ended = False
        self._handler: SignalHandler | None = None
        self._previous_handlers: dict[signal.Signals, Any] = {}
        self._remove_fork_hook: Callable[[], object] = lambda: None
        self._forward_to = -1
        self._loop: asyncio.AbstractEventLoop | None = None
        self._loop_thread: int | None = None
        self._read, self._write = os.pipe()
        os.set_blocking(self._write, False)  # a signal handler must not wait for a reader
        self._thread = threading.Thread(
            target=self._handle_signals_until_deadline, name="evkafka-stop-guard", daemon=True
        )

    # ------------------------------------------------------------------ life

    def start(self) -> None:
        self._thread.start()

    def stop_watcher_thread(self) -> None:
        """The app has ended in time. Idempotent."""
        if not self._ended:
            self.restore_signal_handlers()
            self._ended = True
            self._wake_watcher()
            self._thread.join()
            os.close(self._read)
            os.close(self._write)

    def note_loop(self) -> None:
        """Note the app's loop and its thread. Called in the loop."""
        self._loop, self._loop_thread = asyncio.get_running_loop(), threading.get_ident()

    def start_stop_deadline(self, signum: int = 0) -> None:
        """The stop begins now, and with it the time until its deadline. From any thread, also from a signal handler;
        idempotent: the first call counts."""
        self._signum = self._signum or signum
        if self._began_s == math.inf:
            self._began_s = time.monotonic()
            self._deadline_s = self._began_s + self._limit_s()
            self._wake_watcher()

    def shorten_deadline(self, within_s: float) -> None:
        """Wait only this long for what has not ended yet: it may never end by itself."""
        self._deadline_s = min(self._deadline_s, time.monotonic() + within_s)
        self._wake_watcher()

    def set_exit_code(self, code: int) -> None:
        """Set the exit code that is also used if the process is ended by force."""
        self._code = code

    # ------------------------------------------------------------------ signals

    def install_signal_handlers(self, handler: SignalHandler) -> bool:
        """Handle SIGINT and SIGTERM until `restore_signal_handlers`, or `stop_watcher_thread`. In the main thread.

        Returns:
            False if handlers are installed already: the code that installed them restores them.
        """
        if self._previous_handlers:
            return False
        self._handler = handler
        self._previous_handlers = {signum: signal.signal(signum, handler) for signum in STOP_SIGNALS}
        self._remove_fork_hook = undo_in_children(self._restore_handlers)
        return True

    def restore_signal_handlers(self) -> None:
        """Idempotent. In the main thread, if handlers are installed."""
        self._remove_fork_hook()
        self._restore_handlers()

    def _restore_handlers(self) -> None:
        for signum, handler in self._previous_handlers.items():
            signal.signal(signum, handler)
        self._previous_handlers = {}

    def set_wakeup_descriptor(self) -> int:
        """Let the interpreter write signals into the guard's pipe. In the main thread.

        Returns:
            The previous descriptor; the guard forwards the signals to it.
        """
        self._forward_to = signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        return self._forward_to

    def _wake_watcher(self) -> None:
        try:
            os.write(self._write, b"\0")
        except BlockingIOError:
            return  # the pipe is full, and its content wakes the thread

    def _handle_signal_byte(self, byte: int) -> None:
        if byte == 0:
            return
        if self._forward_to >= 0:
            os.write(self._forward_to, bytes([byte]))
        # Other code may have replaced our signal handler since.
        if byte in STOP_SIGNALS and signal.getsignal(byte) == self._handler:
            self.start_stop_deadline(byte)
            self._signal_count += 1
            if self._signal_count > 1 and self.ends_process:
                self._code, self._signum = 0, byte
                self.shorten_deadline(LAST_LOG_S / 2)  # until then our handler has ended the process, if it could run

    # ------------------------------------------------------------------ the thread

    def _handle_signals_until_deadline(self) -> None:
        for byte in self._iterate_pipe_bytes_until_deadline():
            self._handle_signal_byte(byte)
        if not self._ended:
            self._on_deadline()

    def _iterate_pipe_bytes_until_deadline(self) -> Iterator[int]:
        """The bytes that are written into the pipe, until the end or the deadline."""
        while not self._ended:
            left_s = self._deadline_s - time.monotonic()
            if left_s <= 0:
                return
            ready, _, _ = select.select([self._read], [], [], None if left_s == math.inf else left_s)
            if ready:
                yield from os.read(self._read, 4096)

    def _on_deadline(self) -> None:
        if not self.ends_process:
            logger.critical("%s; EVKafka does not own this process and leaves it running", self._describe_delay())
            return
        code = self._code or 128 + (self._signum or signal.SIGTERM)
        force_exit(code, lambda: f"{self._describe_delay()}; forcing the process to exit with code {code}")

    def _describe_delay(self) -> str:
        took_s = time.monotonic() - self._began_s
        blockers = self._describe_blockers() or "nothing visible"
        return f"the stop has not finished after {took_s:.1f} s and its deadline has passed; blocked by {blockers}"

    def _describe_blockers(self) -> str:
        found = [f"the attempt of {what}" for what in self._running_attempts()]
        if self._loop_thread is not None and not is_thread_waiting(self._loop_thread):
            found.append(f"the thread of the event loop, {describe_thread(self._loop_thread)}")
        found += [
            f"thread {thread.name}, {describe_thread(thread.ident)}"
            for thread in threads_blocking_exit()
            if thread.ident != self._loop_thread
        ]
        if not found and self._loop is not None and not self._loop.is_closed():
            found += [f"task {task.get_name()}, {describe_task(task)}" for task in asyncio.all_tasks(self._loop)]
        more = len(found) - MAX_NAMED
        return "; ".join(found[:MAX_NAMED]) + (f"; and {more} more" if more > 0 else "")


def force_exit(code: int, last_log: Callable[[], str] | None = None) -> None:
    """End the process at once: logs are flushed, threads are not waited for, nothing else runs.

    The blocked code may hold a lock of the logging module, and a pipe may be full: the flush has two seconds.
    """
    try:
        logging_thread = threading.Thread(target=_log_and_flush, args=(last_log,), daemon=True)
        logging_thread.start()
        logging_thread.join(LAST_LOG_S)
    finally:
        os._exit(code)


def _log_and_flush(last_log: Callable[[], str] | None) -> None:
    if last_log is not None:
        logger.critical("%s", last_log())
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
