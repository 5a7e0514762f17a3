"""The journal that worker processes write, line by line; `processes.lines` reads it."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable
from typing import Any

_journal = os.open(os.environ["WORKER_JOURNAL"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)


def note(what: str, **fields: Any) -> None:
    """Write one line with one system call: a killed process loses no earlier line."""
    entry = {"what": what, "pid": os.getpid(), "at_s": time.time(), **fields}
    os.write(_journal, ("\n" + json.dumps(entry)).encode())


def note_partitions(what: str, partitions: Iterable[int]) -> None:
    """Write which partitions were "assigned", "revoked" or "lost"; the line is there even if there are none."""
    note(what, partitions=sorted(partitions))
