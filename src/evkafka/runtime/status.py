"""What a consumer is doing at one moment: values for health, metrics and pages. Looking changes nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from evkafka.runtime.ports import SourceState
from evkafka.runtime.scheduler import Reason

Membership = SourceState | Literal["none"]
"""Where the membership stands; `none` while there is no source: not started, between two, or ended."""


@dataclass(frozen=True, slots=True)
class UnwrittenStatus:
    """A record that could not be written to another topic so far (a dead letter, a retry): it is tried again.

    Attributes:
        offset: the record's own.
        topic: where it is to be written.
        tries: how often that has failed.
        error: why, the last time.
    """

    offset: int
    topic: str
    tries: int
    age_s: float
    error: str


@dataclass(frozen=True, slots=True)
class PartitionStatus:
    """One assigned partition.

    Attributes:
        position: the offset that is read next; None while unknown.
        committed: what was last confirmed in this assignment; None while nothing was.
        end: the partition's end as last seen, to a reader of what is committed the last stable offset; None while
            unknown.
        high_watermark: where all that is written ends, as last seen; None while unknown. Between `end` and this lie a
            transaction that is not decided, and what came after it.
        pending: records read and not committable.
        oldest: the oldest unfinished offset; None without one.
        oldest_timestamp_ms: when that record was written, or without one the next that is to be read, in milliseconds
            since the epoch; None where it is unknown.
        retrying: lanes whose first record waits for its next attempt.
        held: True while the client cannot read its next record.
        paused: True while a user wants it so.
        full: True while it is not read because of what it holds.
        due_in_s: of a retry topic, in how many seconds its next record may be run; None where none waits for that.
        oldest_age_s: for how long the oldest unfinished record has been that; None without one.
        failed_attempts: how often that one has failed, while it waits.
        blocked_by: why that one does not begin; empty while it runs, waits for an executor, or there is none. See
            `Reason` in `scheduler.py`.
        unwritten: records that could not be written to another topic so far.
    """

    topic: str
    partition: int
    position: int | None
    committed: int | None
    end: int | None
    pending: int
    oldest: int | None
    oldest_timestamp_ms: int | None
    retrying: int
    held: bool
    paused: bool
    full: bool
    due_in_s: float | None = None
    high_watermark: int | None = None
    oldest_age_s: float | None = None
    failed_attempts: int = 0
    blocked_by: tuple[Reason, ...] = ()
    unwritten: tuple[UnwrittenStatus, ...] = ()

    @property
    def undecided(self) -> int:
        """Offsets from the first open transaction on, which nobody who reads what is committed can read yet."""
        return max(self.high_watermark - self.end, 0) if None not in (self.high_watermark, self.end) else 0  # type: ignore[operator]

    @property
    def lag(self) -> int | None:
        """Records from the oldest unfinished one (else the position) to the end."""
        done = self.oldest if self.oldest is not None else self.position
        return max(self.end - done, 0) if self.end is not None and done is not None else None


@dataclass(frozen=True, slots=True)
class AttemptStatus:
    """One attempt under way.

    Attributes:
        overran: True where it is past its limit and cannot be cut.
    """

    topic: str
    partition: int
    offset: int
    event_type: str | None
    endpoint: str
    attempt: int
    age_s: float
    overran: bool


@dataclass(frozen=True, slots=True)
class ConsumerStatus:
    """One consumer.

    Attributes:
        topics: what it subscribes to, by names or as a pattern.
        silent_s, joining_s: for how long the poll has not returned, and the group has been rebalancing.
        longest_poll_s: how long either may take.
        rebuilds: how often it was made anew.
        stopping: True once it was told to stop.
    """

    name: str
    group_id: str | None
    topics: tuple[str, ...]
    required: bool
    membership: Membership
    partitions: tuple[PartitionStatus, ...]
    attempts: tuple[AttemptStatus, ...]
    silent_s: float
    joining_s: float
    longest_poll_s: float
    rebuilds: int
    stopping: bool


Phase = Literal["new", "starting", "running", "stopping", "ended"]


@dataclass(frozen=True, slots=True)
class ProducerStatus:
    """One producer; `unavailable_reason` says why nothing can be sent at the moment, and is empty while it can."""

    name: str
    unavailable_reason: str


@dataclass(frozen=True, slots=True)
class AppStatus:
    """An app.

    Attributes:
        phase: `new` before its first start, `ended` after a run.
        failure: what ended a consumer that could not be saved; None while all run.
        ended: names of the consumers that run no more.
        loop_lag_s: the longest time that the event loop was late by, lately; None while nobody watches it.
    """

    phase: Phase
    failure: BaseException | None = None
    consumers: tuple[ConsumerStatus, ...] = ()
    ended: frozenset[str] = frozenset()
    producers: tuple[ProducerStatus, ...] = ()
    loop_lag_s: float | None = None
