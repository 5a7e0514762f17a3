"""Typed events of the runtime, and their listeners: logs, metrics, pages and tests.

An event is a frozen dataclass. Frequent events are only created if there is a listener for their kind. None is created
for each record: `RecordsProcessed` adds up the attempts that ended since the last one.
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
    """The name of the consumer in its app; of the producer for events of a producer."""


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
    """The source failed or stalled, and is replaced after `retry_in_s`."""

    error: BaseException
    retry_in_s: float


@dataclass(frozen=True, slots=True)
class PartitionsAssigned(Event):
    """Partitions were added to those that the consumer has; none, if a rebalance has only taken some away.

    `total` is how many it has now, `protocol` the group's ("classic" or "consumer"), `epoch` the member's epoch; with
    the classic protocol the generation.
    """

    partitions: tuple[TopicPartition, ...]
    total: int
    protocol: str | None = None
    epoch: int | None = None


@dataclass(frozen=True, slots=True)
class PartitionsRevoked(Event):
    partitions: tuple[TopicPartition, ...]
    abandoned: int
    """Attempts, and writes to other topics, that did not end within the drain time."""
    lost: bool = False
    """The partitions had another owner already, or the group has fenced this member: nothing of them was drained or
    committed."""


@dataclass(frozen=True, slots=True)
class PositionReset(Event):
    reset: OffsetReset
    auto_offset_reset: str


@dataclass(frozen=True, slots=True)
class RecordsReceived(Event):
    """A poll has returned records of one partition; `sizes` are the sizes of their non-empty values in bytes."""

    topic: str
    partition: int
    count: int
    sizes: list[int] = field(hash=False)


@dataclass(frozen=True, slots=True)
class RecordsProcessed(Event):
    """Attempts that ended since the last event of this kind.

    `durations_s` has the duration of each attempt in seconds, by event type and status.
    """

    topic: str
    durations_s: dict[tuple[str, Status], list[float]] = field(hash=False)


@dataclass(frozen=True, slots=True)
class RecordsUnmatched(Event):
    """Records were skipped because no endpoint handles them."""

    topic: str
    reason: str
    event_type: str | None
    count: int = 1


@dataclass(frozen=True, slots=True)
class TypeSkipped(Event):
    """Records of this event type are skipped, because no endpoint handles them. Emitted once for each topic, type and
    reason, and at most 20 times."""

    topic: str
    reason: str
    event_type: str | None
    known: tuple[str, ...]
    """The event types that have an endpoint."""


@dataclass(frozen=True, slots=True)
class NothingMatches(Event):
    """None of the consumer's first records has an endpoint. Emitted once."""

    count: int
    seen: dict[str | None, int] = field(hash=False)
    """How many of those records have which type; None for no type. If there are many types, some are missing."""
    known: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AttemptFailed(Event):
    """One attempt at one record failed; `decision` says what follows: wait, retry_topic, finish, dead_letter, stop, or
    dead_letter_limit: the record is not written, because the limit is reached, and the app stops."""

    topic: str
    partition: int
    offset: int
    event_type: str | None
    endpoint: str
    attempt: int
    error: BaseException | None
    """None if an outcome was returned, or raised without handling an error, or no endpoint takes the record."""
    decision: str
    retry_in_s: float
    key_hash: str | None = None
    """Shows whether two records have the same key, without revealing it; None for no key."""
    outcome: str = ""
    """The outcome that the endpoint returned or raised, `Retry` or `DeadLetter`; `Unmatched` if no endpoint takes the
    record; empty for any other error."""
    reason: str = ""
    """The reason of that outcome: of `DeadLetter("reason")`; `no_type`, `no_endpoint` or `tombstone`."""


@dataclass(frozen=True, slots=True)
class RecordSkipped(Event):
    """The endpoint returned or raised `Skip` with a reason."""

    topic: str
    partition: int
    offset: int
    endpoint: str
    reason: str


@dataclass(frozen=True, slots=True)
class RecordsLost(Event):
    """Addresses of records that were received, and of which no attempt ended before a revoke, a stop or a reset of the
    position: it had not begun, was cancelled, or still ran. Only with pre-commit."""

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
class TransactionEnded(Event):
    """A transaction of an exactly-once consumer has ended."""

    result: Literal["committed", "aborted", "unknown"]
    records: int
    """How many records it has written, or would have."""
    duration_s: float


@dataclass(frozen=True, slots=True)
class EndpointOverran(Event):
    """An endpoint exceeded its time limit and cannot be cancelled (it runs in a thread, or ignores it): it keeps its
    executor."""

    topic: str
    partition: int
    offset: int
    endpoint: str
    limit_s: float


@dataclass(frozen=True, slots=True)
class EndpointBlocked(Event):
    """An endpoint blocked the event loop: no heartbeat and no poll could run during that time."""

    topic: str
    partition: int
    offset: int
    endpoint: str
    duration_s: float


@dataclass(frozen=True, slots=True)
class ResultDropped(Event):
    """An attempt ended, or was cancelled, after its partition was revoked or its position was changed: it is neither a
    success nor a failure."""

    topic: str
    partition: int
    offset: int
    endpoint: str


@dataclass(frozen=True, slots=True)
class PartitionBlocked(Event):
    """The client cannot read a record; its partition waits there, or the record was skipped."""

    partition: TopicPartition
    offset: int
    error: BaseException
    skipped: bool


@dataclass(frozen=True, slots=True)
class EventPublished(Event):
    """A send has ended: confirmed by the broker, or failed with `error`.

    A send of an exactly-once endpoint is confirmed when its transaction is committed. If it never is, as after a failed
    attempt, the send is not reported.
    """

    topic: str
    event_type: str
    duration_s: float
    error: BaseException | None


E = TypeVar("E", bound=Event)


class Telemetry:
    """Listeners by kind of event. `wants` tells whether an event of a kind must be created."""

    def __init__(self) -> None:
        self._listeners: dict[type[Event], list[Callable[[Any], object]]] = {}

    def listen(self, kind: type[E], listener: Callable[[E], object]) -> Callable[[], None]:
        """Call the listener with every event of this kind. The returned function removes it."""
        listeners = self._listeners.setdefault(kind, [])
        listeners.append(listener)

        def end() -> None:
            listeners.remove(listener)

        return end

    def wants(self, kind: type[Event]) -> bool:
        return bool(self._listeners.get(kind))

    def emit(self, event: Event) -> None:
        """Call the listeners for the event. The error of a listener is logged, and the others are called."""
        for listener in tuple(self._listeners.get(type(event), ())):
            try:
                listener(event)
            except Exception:
                logger.exception("a listener for %s failed; the event is ignored", type(event).__name__)
