"""Everything that the checker knows of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from evkafka.verify.history import Entry


@dataclass(slots=True)
class Sent:
    """One numbered record, and the result of its send.

    Attributes:
        at_s: when it was queued, by the machine's monotonic clock.
        acknowledged_s: when the broker confirmed it; None if it did not.
        address: the confirmed partition and offset.
        error: the error of the send, if it failed.
        never_written: the producer says that it cannot be in the log.
    """

    number: int
    key: str
    at_s: float
    acknowledged_s: float | None = None
    address: tuple[int, int] | None = None
    error: str = ""
    never_written: bool = False


@dataclass(frozen=True, slots=True)
class Written:
    """One record, as it was read from the log at the end."""

    partition: int
    offset: int
    number: int
    key: str | None


@dataclass(frozen=True, slots=True)
class Output:
    """One record of the output topic, as a reader of committed records gets it.

    Attributes:
        source: partition and offset of the record that was handled.
    """

    partition: int
    offset: int
    source: tuple[int, int]
    key: str | None


@dataclass(frozen=True, slots=True)
class Promises:
    """The promises of the app that ran.

    Attributes:
        in_order: records of one key are handled one after the other.
        session_s: the session timeout of its group.
        drain_s: how long a process may finish records in flight when partitions are revoked.
        group_protocol: of its consumer.
    """

    in_order: bool = True
    session_s: float = 6.0
    drain_s: float = 10.0
    group_protocol: str = "classic"


@dataclass(frozen=True, slots=True)
class Observations:
    """One run.

    Attributes:
        entries: the history.
        outputs: what was written exactly once; None with at least once.
        committed, end: offsets by partition, after all processes had ended.
        outages: beginning and end of each outage of the broker.
        finished_s: when the observations were made.
        unclean: descriptions of processes that did not end as requested.
    """

    sent: Sequence[Sent]
    written: Sequence[Written]
    entries: Sequence[Entry]
    committed: Mapping[int, int]
    end: Mapping[int, int]
    finished_s: float
    outputs: Sequence[Output] | None = None
    outages: Sequence[tuple[float, float]] = ()
    unclean: Sequence[str] = ()
    promises: Promises = field(default_factory=Promises)
