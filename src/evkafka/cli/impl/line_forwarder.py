"""What several processes print, on this one's own output: a whole line at a time, so that long lines do not mix.

A pipe takes 4 096 bytes as one piece. A line that is longer is written in several, and those of other processes get in
between.
"""

from __future__ import annotations

import os
import selectors
import threading
from typing import TextIO

READ_BYTES = 65536
LONGEST_LINE_BYTES = 16 * 1024 * 1024
"""A line that is longer is passed on in pieces."""

LAST_LINES_S = 2.0
"""How long the last lines may take: whoever reads our output may have stopped reading it."""


class LineForwarder:
    """One thread that reads all pipes and writes to our own descriptors. The thread may wait for a slow reader; whoever
    supervises the processes must not."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._lock = threading.Lock()
        self._woken, self._wake = os.pipe()
        self._selector.register(self._woken, selectors.EVENT_READ)
        self._broken: set[int] = set()
        self._closing = False
        self._thread = threading.Thread(target=self._forward, name="evkafka-forwarder", daemon=True)
        self._thread.start()

    def pipe(self, target: int) -> int:
        """A new pipe whose lines go to this descriptor; its writing end, which the caller closes."""
        reading, writing = os.pipe()
        with self._lock:
            self._selector.register(reading, selectors.EVENT_READ, _Pipe(reading, target))
        os.write(self._wake, b"\0")
        return writing

    def stream(self, target: int) -> TextIO:
        """A pipe for what this process itself prints."""
        return os.fdopen(self.pipe(target), "w", encoding="utf-8", errors="backslashreplace", buffering=1)

    def close(self) -> None:
        """Wait until all pipes have ended, for two seconds at most: a process of a process may hold one open."""
        self._closing = True
        os.write(self._wake, b"\0")
        self._thread.join(LAST_LINES_S)

    # ------------------------------------------------------------------ the thread

    def _forward(self) -> None:
        while not (self._closing and self._all_ended()):
            for key, _ in self._selector.select():
                if key.data is None:
                    os.read(self._woken, 4096)
                else:
                    self._copy(key.data)

    def _all_ended(self) -> bool:
        with self._lock:
            return len(self._selector.get_map()) == 1

    def _copy(self, pipe: _Pipe) -> None:
        read = os.read(pipe.reading, READ_BYTES)
        if not read:
            with self._lock:
                self._selector.unregister(pipe.reading)
            os.close(pipe.reading)
            if pipe.begun:
                self._write(pipe.target, bytes(pipe.begun) + b"\n")
            return
        pipe.begun += read
        whole = pipe.begun.rfind(b"\n", len(pipe.begun) - len(read)) + 1
        if not whole and len(pipe.begun) > LONGEST_LINE_BYTES:
            whole = len(pipe.begun)
        if whole:
            self._write(pipe.target, bytes(pipe.begun[:whole]))
            del pipe.begun[:whole]

    def _write(self, target: int, lines: bytes) -> None:
        left = memoryview(lines)
        while left and target not in self._broken:
            try:
                left = left[os.write(target, left) :]
            except BlockingIOError:  # somebody has made it non-blocking, as a terminal's other users may
                with selectors.DefaultSelector() as ready:
                    ready.register(target, selectors.EVENT_WRITE)
                    ready.select()
            except OSError:  # nobody reads it any more: the processes must go on
                self._broken.add(target)


class _Pipe:
    """The reading end of one, and the line that has begun in it."""

    def __init__(self, reading: int, target: int) -> None:
        self.reading = reading
        self.target = target
        self.begun = bytearray()
