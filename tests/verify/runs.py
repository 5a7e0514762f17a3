"""Observations of imaginary clean runs, into which tests insert faults that must be found."""

from __future__ import annotations

from collections.abc import Sequence

from evkafka.verify.history import Entry, EventKind
from evkafka.verify.observations import Observations, Promises, Sent, Written

SESSION_S, DRAIN_S = 6.0, 10.0
PARTITIONS, KEYS, WORK_S = 2, 6, 0.005


def key_of(number: int) -> str:
    return f"k{number % KEYS}"


def address_of(number: int) -> tuple[int, int]:
    """Keys alternate between the partitions, so that each has every second number."""
    return number % PARTITIONS, number // PARTITIONS


def sent(count: int = 40, every_s: float = 0.1) -> list[Sent]:
    return [Sent(n, key_of(n), n * every_s, n * every_s + 0.01, address_of(n)) for n in range(count)]


def written(records: Sequence[Sent]) -> list[Written]:
    return [Written(*one.address, one.number, one.key) for one in records if one.address is not None]


def line(event: EventKind, number: int, at_s: float, who: str = "1.1") -> Entry:
    return Entry(event, at_s, who, *address_of(number), key_of(number))


def attempt(number: int, at_s: float, who: str = "1.1") -> list[Entry]:
    return [line("begin", number, at_s, who), line("end", number, at_s + WORK_S, who)]


def handled(records: Sequence[Sent]) -> list[Entry]:
    """Each record is handled soon after it was sent, one after the other."""
    return [entry for one in records for entry in attempt(one.number, one.at_s + 0.02)]


def observations(
    records: Sequence[Sent] | None = None,
    entries: Sequence[Entry] | None = None,
    log: Sequence[Written] | None = None,
    **more: object,
) -> Observations:
    """A clean run, except for the given values."""
    records = sent() if records is None else records
    log = written(records) if log is None else log
    entries = handled(records) if entries is None else entries
    ends = {p: 1 + max((one.offset for one in log if one.partition == p), default=-1) for p in range(PARTITIONS)}
    made = {
        "sent": records,
        "written": log,
        "entries": entries,
        "committed": ends,
        "end": ends,
        "finished_s": 1 + max((entry.at_s for entry in entries), default=0.0),
        "promises": Promises(True, SESSION_S, DRAIN_S),
    }
    return Observations(**{**made, **more})  # type: ignore[arg-type]
