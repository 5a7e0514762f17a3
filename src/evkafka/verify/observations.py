"""What a run left behind: all that the judgement is made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from evkafka.verify.history import Entry


@dataclass(slots=True)
class Sent:
    """One numbered record, as its producer knows it.

    Attributes:
        at_s: when it was queued, by the machine's monotonic clock.
        acknowledged_s: when the broker's confirmation came; None where none did.
        place: partition and offset of the confirmation.
        error: what the producer said instead.
        never_written: the producer says that it cannot stand in the log.
    """

    number: int
    key: str
    at_s: float
    acknowledged_s: float | None = None
    place: tuple[int, int] | None = None
    error: str = ""
    never_written: bool = False


@dataclass(frozen=True, slots=True)
class Written:
    """One record, as it was read back from the log in the end."""

    partition: int
    offset: int
    number: int
    key: str | None


@dataclass(frozen=True, slots=True)
class Promises:
    """What the app that ran has promised.

    Attributes:
        in_order: records of one key are handled one after the other.
        session_s, drain_s: after how long a silent process is given up by its group, and how long a process may finish
            what it has in hand when partitions are taken from it.
    """

    in_order: bool = True
    session_s: float = 6.0
    drain_s: float = 10.0


@dataclass(frozen=True, slots=True)
class Observations:
    """Attributes:
    entries: the journal, in its order.
    committed, end: offsets by partition, after all processes had ended.
    outages: when the broker was away, from and to.
    finished_s: when the judgement was made.
    unclean: processes that did not end as they were asked to, in words.
    """

    sent: Sequence[Sent]
    written: Sequence[Written]
    entries: Sequence[Entry]
    committed: Mapping[int, int]
    end: Mapping[int, int]
    finished_s: float
    outages: Sequence[tuple[float, float]] = ()
    unclean: Sequence[str] = ()
    promises: Promises = field(default_factory=Promises)
