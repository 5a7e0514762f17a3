"""Keeps the deadline of a stop from a thread: whatever holds the event loop also holds all that runs in it.

The thread is told of a signal in two ways. Python's own handler tells it, when the main thread gets round to it. And
the interpreter writes the signal's number into a pipe at once, also while the main thread is inside of a C function
that ignores signals (a database driver that waits for a lock).
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
    is_waiting,
    threads_blocking_exit,
)
from evkafka_command.forks import undo_in_children

logger = logging.getLogger("evkafka")

Handle = Callable[[int, FrameType | None], None]

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)

LAST_WORDS_S = 2.0
"""How long the last log lines may take: whoever reads our output may have stopped reading it."""

MOST_NAMED = 5


class StopGuard:
    """One app's, from its start until the process, or the app in somebody else's process, has ended.

    Args:
        limit_s: how long a stop may take, in seconds. Asked when the stop begins.
        under_way: what endpoints do now, for the log line. Called from the thread.
        ends_process: past the deadline end the process by force. False: only say what holds up the stop.
    """

    def __init__(self, limit_s: Callable[[], float], *, under_way: Callable[[], list[str]], ends_process: bool) -> None:
        self.ends_process = ends_process
        self._limit_s = limit_s
        self._under_way = under_way
        self._began_s = self._deadline_s = math.inf
        self._code = self._signum = self._signals = 0
        self._ended = False
        self._handler: Handle | None = None
        self._before: dict[signal.Signals, Any] = {}
        self._forget: Callable[[], object] = lambda: None
        self._forward_to = -1
        self._loop: asyncio.AbstractEventLoop | None = None
        self._loop_thread: int | None = None
        self._read, self._write = os.pipe()
        os.set_blocking(self._write, False)  # a signal handler must not wait for a reader
        self._thread = threading.Thread(target=self._watch, name="evkafka-stop-guard", daemon=True)

    # ------------------------------------------------------------------ life

    def start(self) -> None:
        self._thread.start()

    def end(self) -> None:
        """The app has ended in time. Idempotent."""
        if not self._ended:
            self.give_back_signals()
            self._ended = True
            self._wake()
            self._thread.join()
            os.close(self._read)
            os.close(self._write)

    def watch_loop(self) -> None:
        """This is the app's loop, and its thread."""
        self._loop, self._loop_thread = asyncio.get_running_loop(), threading.get_ident()

    def begin(self, signum: int = 0) -> None:
        """The stop begins now. From any thread, also from a signal handler; idempotent: the first call counts."""
        self._signum = self._signum or signum
        if self._began_s == math.inf:
            self._began_s = time.monotonic()
            self._deadline_s = self._began_s + self._limit_s()
            self._wake()

    def hasten(self, within_s: float) -> None:
        """What is left cannot end by itself: wait for it only so long."""
        self._deadline_s = min(self._deadline_s, time.monotonic() + within_s)
        self._wake()

    def exit_with(self, code: int) -> None:
        """The exit code is known by now; the process ends with it also by force."""
        self._code = code

    # ------------------------------------------------------------------ signals

    def take_signals(self, handler: Handle) -> bool:
        """Hand SIGINT and SIGTERM to this until `give_back_signals`, or the end. In the main thread.

        Returns:
            False if they have been taken already: whoever did that gives them back.
        """
        if self._before:
            return False
        self._handler = handler
        self._before = {signum: signal.signal(signum, handler) for signum in STOP_SIGNALS}
        self._forget = undo_in_children(self._restore_handlers)
        return True

    def give_back_signals(self) -> None:
        """Idempotent. In the main thread, if they have been taken."""
        self._forget()
        self._restore_handlers()

    def _restore_handlers(self) -> None:
        for signum, handler in self._before.items():
            signal.signal(signum, handler)
        self._before = {}

    def catch(self) -> int:
        """Be told of signals by the interpreter itself. In the main thread.

        Returns:
            The descriptor that was told before; it still is, through this.
        """
        self._forward_to = signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        return self._forward_to

    def _wake(self) -> None:
        try:
            os.write(self._write, b"\0")
        except BlockingIOError:
            return  # it is full of what wakes the thread

    def _on_byte(self, byte: int) -> None:
        if byte == 0:
            return
        if self._forward_to >= 0:
            os.write(self._forward_to, bytes([byte]))
        # Somebody may have taken the signal for a purpose of their own since.
        if byte in STOP_SIGNALS and signal.getsignal(byte) == self._handler:
            self.begin(byte)
            self._signals += 1
            if self._signals > 1 and self.ends_process:
                self._code, self._signum = 0, byte
                self.hasten(LAST_WORDS_S / 2)  # by then the handler has ended it, if it could run

    # ------------------------------------------------------------------ the thread

    def _watch(self) -> None:
        for byte in self._bytes():
            self._on_byte(byte)
        if not self._ended:
            self._past_the_deadline()

    def _bytes(self) -> Iterator[int]:
        """What is written into the pipe, until the end or the deadline."""
        while not self._ended:
            left_s = self._deadline_s - time.monotonic()
            if left_s <= 0:
                return
            ready, _, _ = select.select([self._read], [], [], None if left_s == math.inf else left_s)
            if ready:
                yield from os.read(self._read, 4096)

    def _past_the_deadline(self) -> None:
        if not self.ends_process:
            logger.critical("%s; this process is not EVKafka's to end", self._sentence())
            return
        code = self._code or 128 + (self._signum or signal.SIGTERM)
        force_exit(code, lambda: f"{self._sentence()}; the process ends by force with exit code {code}")

    def _sentence(self) -> str:
        took_s = time.monotonic() - self._began_s
        holders = self._holders() or "nothing that can be seen"
        return f"the stop has not ended after {took_s:.1f} s, its deadline has passed; held by {holders}"

    def _holders(self) -> str:
        found = [f"the attempt of {what}" for what in self._under_way()]
        if self._loop_thread is not None and not is_waiting(self._loop_thread):
            found.append(f"the thread of the event loop, {describe_thread(self._loop_thread)}")
        found += [
            f"thread {thread.name}, {describe_thread(thread.ident)}"
            for thread in threads_blocking_exit()
            if thread.ident != self._loop_thread
        ]
        if not found and self._loop is not None and not self._loop.is_closed():
            found += [f"task {task.get_name()}, {describe_task(task)}" for task in asyncio.all_tasks(self._loop)]
        more = len(found) - MOST_NAMED
        return "; ".join(found[:MOST_NAMED]) + (f"; and {more} more" if more > 0 else "")


def force_exit(code: int, last_words: Callable[[], str] | None = None) -> None:
    """End the process at once: logs are flushed, threads are not waited for, nothing else runs.

    A lock of the logs may be held by what is stuck, and a pipe may be full: that is waited for two seconds.
    """
    try:
        speaking = threading.Thread(target=_speak, args=(last_words,), daemon=True)
        speaking.start()
        speaking.join(LAST_WORDS_S)
    finally:
        os._exit(code)


def _speak(last_words: Callable[[], str] | None) -> None:
    if last_words is not None:
        logger.critical("%s", last_words())
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
