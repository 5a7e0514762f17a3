"""Why records were handled again: what had happened to the process that had handled them before. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Literal

from evkafka.verify.history import Entry, EventKind

Cause = Literal["after a kill", "after a freeze", "after a stop", "otherwise"]
"""`otherwise`: the process ran on. Its partition was revoked, or it lost its connection."""

CAUSES: Mapping[EventKind, Cause] = {"killed": "after a kill", "frozen": "after a freeze", "down": "after a stop"}


def count_repeats_by_cause(entries: Iterable[Entry]) -> dict[Cause, int]:
    """How many times records were handled again, by cause.

    Args:
        entries: in the order in which they were written.
    """
    happened: dict[str, Cause] = {}
    handled_by: dict[tuple[int, int], str] = {}
    repeats: Counter[Cause] = Counter()
    for entry in entries:
        if entry.event == "end":
            address = (entry.partition, entry.offset)
            if (before := handled_by.get(address)) is not None:
                repeats[happened.get(before, "otherwise")] += 1
            handled_by[address] = entry.who
        elif (cause := CAUSES.get(entry.event)) is not None:
            happened.setdefault(entry.who, cause)  # a process that was killed is down too, some time later
    return dict(repeats)
