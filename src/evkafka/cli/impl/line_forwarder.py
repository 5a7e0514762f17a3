"""Copies what several processes print to this process's own output, a whole line at a time.

If the processes wrote to one pipe, long lines would mix: a pipe takes at most 4 096 bytes in one piece, and pieces of
other processes get in between.
"""

from __future__ import annotations

import os
import selectors
import threading
from typing import TextIO

READ_BYTES = 65536
LONGEST_LINE_BYTES = 16 * 1024 * 1024
"""A longer line is copied in pieces."""

LAST_LINES_S = 2.0
"""How long copying the last lines may take: the reader of our output may have stopped reading."""


class LineForwarder:
    """A thread that reads all pipes and writes to our own descriptors.

    It is a thread because it may have to wait for a slow reader, and the supervisor of the processes must not wait.
    """

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._lock = threading.Lock()
        self._wake_reader, self._wake_writer = os.pipe()
        self._selector.register(self._wake_reader, selectors.EVENT_READ)
        self._broken: set[int] = set()
        self._closing = False
        self._thread = threading.Thread(target=self._forward_all_pipes, name="evkafka-forwarder", daemon=True)
        self._thread.start()

    def create_pipe(self, target: int) -> int:
        """Create a pipe whose lines are copied to this descriptor. Returns its writing end, which the caller closes."""
        reading, writing = os.pipe()
        with self._lock:
            self._selector.register(reading, selectors.EVENT_READ, _Pipe(reading, target))
        os.write(self._wake_writer, b"\0")
        return writing

    def create_stream_for_own_output(self, target: int) -> TextIO:
        """A stream for what this process itself prints: its lines are copied to this descriptor."""
        return os.fdopen(self.create_pipe(target), "w", encoding="utf-8", errors="backslashreplace", buffering=1)

    def wait_for_last_lines(self) -> None:
        """Wait until all pipes have ended, for `LAST_LINES_S` at most: a child of a process may keep one open."""
        self._closing = True
        os.write(self._wake_writer, b"\0")
        self._thread.join(LAST_LINES_S)

    # ------------------------------------------------------------------ the thread

    def _forward_all_pipes(self) -> None:
        while not (self._closing and self._all_ended()):
            for key, _ in self._selector.select():
                if key.data is None:
                    os.read(self._wake_reader, 4096)
                else:
                    self._copy_available_lines(key.data)

    def _all_ended(self) -> bool:
        with self._lock:
            return len(self._selector.get_map()) == 1

    def _copy_available_lines(self, pipe: _Pipe) -> None:
        read = os.read(pipe.reading, READ_BYTES)
        if not read:
            with self._lock:
                self._selector.unregister(pipe.reading)
            os.close(pipe.reading)
            if pipe.partial_line:
                self._write_lines_to_descriptor(pipe.target, bytes(pipe.partial_line) + b"\n")
            return
        pipe.partial_line += read
        end = pipe.partial_line.rfind(b"\n", len(pipe.partial_line) - len(read)) + 1
        if not end and len(pipe.partial_line) > LONGEST_LINE_BYTES:
            end = len(pipe.partial_line)
        if end:
            self._write_lines_to_descriptor(pipe.target, bytes(pipe.partial_line[:end]))
            del pipe.partial_line[:end]

    def _write_lines_to_descriptor(self, target: int, lines: bytes) -> None:
        rest = memoryview(lines)
        while rest and target not in self._broken:
            try:
                rest = rest[os.write(target, rest) :]
            except BlockingIOError:  # another process made it non-blocking, as users of a terminal may
                with selectors.DefaultSelector() as ready:
                    ready.register(target, selectors.EVENT_WRITE)
                    ready.select()
            except OSError:  # its reader is gone: the processes must continue
                self._broken.add(target)


class _Pipe:
    """The reading end of a pipe, and its last line as far as it has been read."""

    def __init__(self, reading: int, target: int) -> None:
        self.reading = reading
        self.target = target
        self.partial_line = bytearray()
