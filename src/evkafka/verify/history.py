"""What the workers did, a line at a time: it survives SIGKILL, and all processes' lines stand in one order.

One write per line to one file opened with O_APPEND: the kernel puts each line behind the last one, and what a process
had written when it was killed stays written. A write that crosses a page of the file may be seen in halves by who reads
meanwhile, and stays a half when its writer is killed between the two: that is why every line begins with a line break
of its own, and why a half counts as not written.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

What = Literal["up", "begin", "end", "fail", "cut", "pass", "down", "killed", "frozen", "thawed", "fault"]
"""`begin` an attempt; it ended: `end` handled, `fail` raised, `cut` cancelled, `pass` no endpoint takes it. `up` and
`down` a process; `killed`, `frozen`, `thawed` and `fault` are the conductor's own lines."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One line.

    Attributes:
        at_s: seconds of the machine's monotonic clock, which its processes share.
        who: the process: slot and life, as in `2.5`.
        more: what else is said: settings of a process that came up, the words of a fault.
    """

    what: What
    at_s: float
    who: str
    partition: int = -1
    offset: int = -1
    key: str | None = None
    more: dict[str, Any] | None = None


class History:
    """The writing end. Several processes may hold one on the same file."""

    def __init__(self, path: Path, who: str) -> None:
        self._fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        self._who = who

    def note(
        self,
        what: What,
        partition: int = -1,
        offset: int = -1,
        key: str | None = None,
        *,
        who: str | None = None,
        **more: Any,
    ) -> None:
        entry = [what, time.monotonic(), who or self._who, partition, offset, key, more or None]
        os.write(self._fd, b"\n" + json.dumps(entry).encode() + b"\n")

    def close(self) -> None:
        os.close(self._fd)


class Reader:
    """The reading end, for one who reads on while others write."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._at = 0

    def news(self) -> Iterator[Entry]:
        """The lines since the last call, without one that is not whole yet."""
        if not self._path.exists():
            return
        with self._path.open("rb") as file:
            file.seek(self._at)
            text = file.read()
        whole = text[: text.rfind(b"\n") + 1]
        self._at += len(whole)
        for line in whole.split(b"\n"):
            try:
                fields = json.loads(line)
            except ValueError:  # a half, or the nothing between two line breaks
                continue
            yield Entry(*fields)
