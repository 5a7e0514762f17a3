"""The history of a run: a file with one line for each event. It survives SIGKILL, and the lines of all processes are in
one order.

Each line is one write to a file that was opened with O_APPEND: the kernel appends each line after the last one, and a
line that a process had written stays written when the process is killed. If a write crosses a page of the file, a
reader may see half of it, and it stays a half if its writer is killed between the two pages. Therefore every line
begins with a line break, and a half line counts as not written.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

EventKind = Literal["up", "begin", "end", "fail", "cut", "pass", "down", "killed", "frozen", "thawed", "fault"]
"""`begin` of an attempt; its end: `end` handled, `fail` raised, `cut` cancelled, `pass` no endpoint takes the record.
`up` and `down` of a process. `killed`, `frozen`, `thawed` and `fault` are written by the run itself."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the history.

    Attributes:
        at_s: seconds of the machine's monotonic clock, which all processes share.
        who: the process: its slot, and which process of that slot it is, as in `2.5`.
        more: further values: settings of a process that has started, details of a fault.
    """

    event: EventKind
    at_s: float
    who: str
    partition: int = -1
    offset: int = -1
    key: str | None = None
    more: dict[str, Any] | None = None


class History:
    """Writes to the history. Several processes may write to the same file."""

    def __init__(self, path: Path, who: str) -> None:
        self._fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        self._who = who

    def write_entry(
        self,
        event: EventKind,
        partition: int = -1,
        offset: int = -1,
        key: str | None = None,
        *,
        who: str | None = None,
        **more: Any,
    ) -> None:
        entry = [event, time.monotonic(), who or self._who, partition, offset, key, more or None]
        os.write(self._fd, b"\n" + json.dumps(entry).encode() + b"\n")

    def close(self) -> None:
        os.close(self._fd)


class HistoryReader:
    """Reads a history while other processes write to it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0

    def read_new(self) -> Iterator[Entry]:
        """The lines since the last call, without an incomplete one."""
        if not self._path.exists():
            return
        with self._path.open("rb") as file:
            file.seek(self._offset)
            text = file.read()
        whole = text[: text.rfind(b"\n") + 1]
        self._offset += len(whole)
        for line in whole.split(b"\n"):
            try:
                fields = json.loads(line)
            except ValueError:  # half a line, or an empty one between two line breaks
                continue
            yield Entry(*fields)
