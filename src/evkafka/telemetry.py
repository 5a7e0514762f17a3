"""Typed events and their listeners: the runtime's only side channel. Logs, metrics, pages and tests subscribe.

An event is a frozen dataclass, made only where somebody listens for its kind. Nothing is made per record:
`RecordsProcessed` adds up what a runner did since its last one.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from evkafka.records import OffsetReset, TopicPartition

logger = logging.getLogger("evkafka")

Status = Literal["ok", "retried", "dead_lettered", "skipped", "failed", "lost"]


@dataclass(frozen=True, slots=True)
class Event:
    consumer: str
    """The consumer's name in its app; the producer's, of what a producer does."""


@dataclass(frozen=True, slots=True)
class ConsumerStarted(Event):
    """A source is connected and subscribed."""

    rebuilds: int


@dataclass(frozen=True, slots=True)
class ConsumerStopped(Event):
    """The consumer has ended; `error` is None on a clean stop."""

    error: BaseException | None


@dataclass(frozen=True, slots=True)
class ConsumerLost(Event):
    """The source failed or stalled and is made anew after `retry_in_s`."""

    error: BaseException
    retry_in_s: float


@dataclass(frozen=True, slots=True)
class PartitionsAssigned(Event):
    partitions: tuple[TopicPartition, ...]


@dataclass(frozen=True, slots=True)
class PartitionsRevoked(Event):
    partitions: tuple[TopicPartition, ...]
    abandoned: int
    """Records that were in flight at the end of the drain time, or dropped unstarted in pre-commit mode."""


@dataclass(frozen=True, slots=True)
class PositionReset(Event):
    reset: OffsetReset


@dataclass(frozen=True, slots=True)
class RecordsReceived(Event):
    """A poll has brought records of one partition; `sizes` are those of their values, in bytes, but for empty ones."""

    topic: str
    partition: int
    count: int
    sizes: list[int] = field(hash=False)


@dataclass(frozen=True, slots=True)
class RecordsProcessed(Event):
    """Attempts that ended since the last event of this kind, by event type and status.

    `durations_s` holds (event type, status) -> the length of each attempt, in seconds.
    """

    topic: str
    durations_s: dict[tuple[str, Status], list[float]] = field(hash=False)


@dataclass(frozen=True, slots=True)
class RecordsUnmatched(Event):
    """A record was passed over because no endpoint takes it."""

    topic: str
    reason: str
    event_type: str | None
    count: int = 1


@dataclass(frozen=True, slots=True)
class NothingMatches(Event):
    """None of the consumer's first records has an endpoint. Said once."""

    count: int
    seen: dict[str | None, int] = field(hash=False)
    """Types of those records -> how many; None for those that carry none. Not all types where there are many."""
    known: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AttemptFailed(Event):
    """One attempt at one record failed; `decision` says what follows: wait, retry_topic, finish,
    dead_letter or stop."""

    topic: str
    partition: int
    offset: int
    event_type: str | None
    endpoint: str
    attempt: int
    error: BaseException | None
    """None where the endpoint asked for it by an outcome (`Retry`, `DeadLetter`) or no endpoint takes the record."""
    decision: str
    retry_in_s: float
    key_hash: str | None = None
    """Tells whether two records have the same key, without telling the key; None where there is none."""


@dataclass(frozen=True, slots=True)
class RecordsLost(Event):
    """Pre-commit only: records received and never run, by address."""

    addresses: tuple[tuple[str, int, int], ...]


@dataclass(frozen=True, slots=True)
class OffsetsCommitted(Event):
    offsets: dict[TopicPartition, int] = field(hash=False)
    duration_s: float = 0.0


@dataclass(frozen=True, slots=True)
class CommitFailed(Event):
    offsets: dict[TopicPartition, int] = field(hash=False)
    error: BaseException = field(default_factory=Exception)


@dataclass(frozen=True, slots=True)
class EndpointOverran(Event):
    """An endpoint ran past its limit and cannot be cut (a thread, or ignores being cancelled): it keeps its place."""

    topic: str
    partition: int
    offset: int
    endpoint: str
    limit_s: float


@dataclass(frozen=True, slots=True)
class EndpointBlocked(Event):
    """An endpoint held the event loop itself: no heartbeat and no poll could run meanwhile."""

    topic: str
    partition: int
    offset: int
    endpoint: str
    duration_s: float


@dataclass(frozen=True, slots=True)
class ResultDropped(Event):
    """An attempt was cut, or ended, after its partition was taken away: it counts neither as success nor failure."""

    topic: str
    partition: int
    offset: int
    endpoint: str


@dataclass(frozen=True, slots=True)
class PartitionBlocked(Event):
    """The client cannot read a record; its partition waits there (or was moved past it)."""

    partition: TopicPartition
    offset: int
    error: BaseException
    skipped: bool


@dataclass(frozen=True, slots=True)
class EventPublished(Event):
    """A send has ended: confirmed by the broker, or failed with `error`."""

    topic: str
    event_type: str
    duration_s: float
    error: BaseException | None


E = TypeVar("E", bound=Event)


class Telemetry:
    """Listeners by kind of event. Without a listener for it, an event is not even made (`wants`)."""

    def __init__(self) -> None:
        self._listeners: dict[type[Event], list[Callable[[Any], object]]] = {}

    def listen(self, kind: type[E], listener: Callable[[E], object]) -> Callable[[], None]:
        """Call the listener with every event of this kind; returns the call that ends it."""
        listeners = self._listeners.setdefault(kind, [])
        listeners.append(listener)

        def end() -> None:
            listeners.remove(listener)

        return end

    def wants(self, kind: type[Event]) -> bool:
        return bool(self._listeners.get(kind))

    def emit(self, event: Event) -> None:
        """Hand the event to its listeners. A listener that raises is logged, and harms nobody."""
        for listener in tuple(self._listeners.get(type(event), ())):
            try:
                listener(event)
            except Exception:
                logger.exception("a listener for %s failed; the event is passed over", type(event).__name__)
