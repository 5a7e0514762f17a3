"""What the runtime is given: small Protocols between it, the cluster and what users declare.

`runtime/kafka/` and `testing/memory/` implement the cluster's side, `handler.py` the user's side.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

from evkafka.outcomes import FailureOutcome, Unmatched
from evkafka.records import OffsetReset, Record, RecordMetadata, TopicPartition, Unreadable

if TYPE_CHECKING:
    import asyncio
    from concurrent.futures import Future, ThreadPoolExecutor

    from evkafka.config.settings import ConnectionSettings, ConsumerSettings, ProducerSettings


# ---------------------------------------------------------------------------- the cluster's side


@dataclass(frozen=True, slots=True)
class UnreadRecord:
    """In the place of a record, or of a batch, that the client cannot read: for those who look at a topic.

    Attributes:
        next_offset: where reading goes on behind it.
        error: why it cannot be read.
    """

    topic: str
    partition: int
    offset: int
    next_offset: int
    error: Exception
    timestamp: int = -1
    key: bytes | None = None
    value: bytes | None = None
    headers: Sequence[tuple[str, bytes | None]] = ()

    def __str__(self) -> str:
        last = self.next_offset - 1
        where = f"{self.offset} cannot" if last <= self.offset else f"{self.offset} to {last} cannot"
        return f"{where} be read: {type(self.error).__name__}: {self.error}"


class SourceListener(Protocol):
    """What a source tells its consumer. Called on the loop; the revoke and assign calls hold up the rebalance."""

    async def on_revoked(self, partitions: Collection[TopicPartition]) -> None:
        """These partitions go away when this returns; committing them is still legal meanwhile."""

    async def on_assigned(self, partitions: Collection[TopicPartition]) -> None:
        """These partitions are ours from now on; the collection is all of the new assignment."""

    def on_reset(self, reset: OffsetReset) -> None:
        """A partition's position came from the reset rule. Called before any of its records is handed out."""

    def on_unreadable(self, unreadable: Unreadable) -> None:
        """A partition cannot be read on. The consumer decides: it seeks past it, or polls without it for a while."""


SourceState = Literal["connecting", "joining", "steady", "lost"]


class RecordSource(Protocol):
    """One member of one consumer group (or a groupless reader), for one life: start once, stop once.

    Errors: `BrokerUnavailable` (waiting can help), `BrokerRefused` (it cannot), `BrokerError` (any other:
    this source is beyond use and a new one is made). Every call ends within its time.
    """

    async def start(self, listener: SourceListener) -> None:
        """Connect, log in, subscribe. Ends within the settings' `start_timeout_s`; does not wait for the join."""

    async def poll(
        self, partitions: Collection[TopicPartition] | None, *, timeout_s: float, max_records: int
    ) -> Mapping[TopicPartition, Sequence[Record]]:
        """Take what is there, or wait for it up to the timeout (a rebalance may take longer).

        Args:
            partitions: the ones to read; None for all that are assigned; empty for none of them, which
                only keeps the membership alive.

        Between the moment a record leaves the client and this call's return lies no suspension, so that a
        record of a revoked partition is never handed out. Must not be cancelled, but to discard the source.
        """

    def position(self, partition: TopicPartition) -> int | None:
        """The offset of the next record to be handed out; None while unknown."""

    def end_offset(self, partition: TopicPartition) -> int | None:
        """The partition's end as last seen, to a reader of what is committed where the first open transaction begins;
        None while unknown."""

    def receives(self, partition: TopicPartition) -> bool:
        """Whether an answer comes in slowly, over many seconds, that may bring this partition's next records."""

    def high_watermark(self, partition: TopicPartition) -> int | None:
        """Where all that is written ends, open transactions included, as last seen; None while unknown."""

    def next_timestamp_ms(self, partition: TopicPartition) -> int | None:
        """When the next record to be handed out was written; None where it has not been fetched, or has no time."""

    def seek(self, partition: TopicPartition, offset: int) -> None:
        """Go on at this offset; what was fetched and not handed out is forgotten."""

    def metadata(self, partition: TopicPartition) -> str:
        """What the group had committed beside the offset that this assignment began at; empty where there was nothing.
        Known as soon as the position is."""

    async def commit(
        self,
        offsets: Mapping[TopicPartition, int],
        *,
        timeout_s: float,
        metadata: Mapping[TopicPartition, str] | None = None,
    ) -> None:
        """Commit exactly these offsets, as the member that this source is now.

        Args:
            metadata: what is kept beside an offset; for a partition that is not in it, what was kept is cleared.

        Raises:
            CommitRefused: nothing was written, the partitions are another member's by now.
            CommitUnknown: no answer within the time; it may have been written, but never lands after this
                partition has been revoked.
            BrokerUnavailable, BrokerRefused, BrokerError: nothing was written.
        """

    def state(self) -> SourceState:
        """Where the membership stands: `connecting`, `joining` (a rebalance is under way), `steady`, or `lost`."""

    def assignment(self) -> Collection[TopicPartition]:
        """The partitions that are this member's now."""

    async def stop(self, *, timeout_s: float) -> None:
        """Leave the group and close, by force where the time runs out. Never raises, never hangs."""


class RecordSink(Protocol):
    """A producer for one life: start once, stop once."""

    async def start(self) -> None:
        """Connect and log in. Raises BrokerUnavailable, BrokerRefused or BrokerError."""

    async def send(
        self,
        topic: str,
        *,
        value: bytes | None,
        key: bytes | None,
        partition: int | None,
        timestamp_ms: int | None,
        headers: Sequence[tuple[str, bytes | None]],
        event_type: str | None = None,
        timeout_s: float | None = None,
    ) -> asyncio.Future[RecordMetadata]:
        """Queue one record; the future ends with the broker's answer. May wait for room in the buffer.

        Cancelling the call, or the future, withdraws the record where it has not been handed to the client yet.

        Args:
            event_type: what errors call the record.
            timeout_s: how long it may take until the future is done, waiting for room included; None takes the
                settings' `delivery_timeout_s`.

        Raises (also out of the future):
            DeliveryError: it was not confirmed in time, or was refused. Nothing else.
        """

    def unavailable_reason(self) -> str:
        """Why nothing can be sent at the moment, as far as it is known; empty while it can."""

    async def flush(self) -> None:
        """Return when everything queued so far is confirmed or has failed: each record within its own time."""

    async def stop(self, *, timeout_s: float) -> None:
        """Flush and close, by force where the time runs out; what is left then fails. Never raises, never hangs."""


@dataclass(frozen=True, slots=True)
class TopicIds:
    """Which cluster, and which topics, were asked.

    Attributes:
        cluster_id: None where the brokers give none.
        topics: topic -> its id, which no later topic of that name has. Empty where the brokers have no topic ids
            (before 2.8); a topic that is not there is left out.
    """

    cluster_id: str | None
    topics: Mapping[str, str]


class Cluster(Protocol):
    """Makes sources and sinks. The real one stands in `runtime/kafka/`, the in-memory one in `testing/`."""

    def source(self, settings: ConsumerSettings) -> RecordSource: ...

    def sink(self, settings: ProducerSettings) -> RecordSink: ...

    async def ensure_topics(
        self, connection: ConnectionSettings, wanted: Mapping[str, str], *, timeout_s: float
    ) -> Mapping[str, int]:
        """How many partitions each wanted topic has; what is absent is made, with as many as another topic has.

        Args:
            wanted: topic -> the topic that it is like if it has to be made; if that is absent too, partitions and
                replicas are the broker's defaults.

        Raises:
            BrokerUnavailable, BrokerRefused, BrokerError: it cannot be looked up, or is absent and cannot be made.
        """

    async def topic_ids(self, connection: ConnectionSettings, topics: Collection[str], *, timeout_s: float) -> TopicIds:
        """The ids of the cluster and of these topics.

        Raises:
            BrokerUnavailable, BrokerRefused, BrokerError: the cluster did not say.
        """

    async def read_topic(
        self, connection: ConnectionSettings, topic: str, take: Callable[[Record], object], *, timeout_s: float
    ) -> None:
        """Read a topic from its beginning to the end that it has now, committed records only; nothing of an absent one.

        Raises:
            BrokerUnavailable, BrokerRefused, BrokerError: it could not be read to its end in this time.
        """


class Clock(Protocol):
    """The runtime's time. Tests put a virtual one in its place."""

    def now(self) -> float:
        """Seconds, monotonic."""

    def timestamp_ms(self) -> int:
        """The time as records carry it: milliseconds since 1970."""

    def call_later(self, delay_s: float, callback: Callable[[], object]) -> TimerHandle: ...


class TimerHandle(Protocol):
    def cancel(self) -> None: ...


# ---------------------------------------------------------------------------- the user's side


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """How large a batch endpoint's batches become, and how long the first record of one waits for more."""

    max_records: int
    max_wait_s: float


class Route(Protocol):
    """One endpoint, as the runtime sees it."""

    @property
    def name(self) -> str:
        """How logs and errors name the endpoint: `module.function`."""

    @property
    def event_type(self) -> str: ...

    @property
    def threaded(self) -> bool:
        """True for a plain `def` endpoint: it runs in a thread and cannot be cancelled."""

    @property
    def timeout_s(self) -> float | None:
        """The event type's own time limit for one attempt; None takes the consumer's."""

    @property
    def on_error(self) -> Mapping[str, Any] | None:
        """The event type's own error policy, as given; the consumer lays it over its own."""

    @property
    def concurrency(self) -> int | None:
        """Most attempts of this event type at once in one consumer; None for no bound of its own."""

    @property
    def batch(self) -> BatchLimits | None:
        """Set for a batch endpoint."""


Overrides = Callable[[], Mapping[Callable[..., Any], Callable[..., Any]]]
"""Gives what stands in for which dependency just now; `dict` for nothing."""


class Slot:
    """One place for a running attempt. The dispatch writes `route`; the runtime writes the rest.

    Attributes:
        attempt: which attempt at this record this is, from 1.
        earlier: attempts at it before it came to this topic. Written by the dispatch of a retry topic's records.
        route: the endpoint that was matched, None while none is.
        record: the record in hand, None between records.
        state: what the app's lifespan yielded; a Request gets a shallow copy.
        consumer: the consumer as `request.context.consumer` shows it.
        threads: where plain `def` endpoints run; None takes the loop's default pool.
        thread_future: the endpoint's call in a thread, from its hand-over until its result is back; None without one.
            Written by the dispatch.
        overrides: gives what the app puts in the place of dependencies. Written by the dispatch where there are any.
    """

    __slots__ = ("attempt", "consumer", "earlier", "overrides", "record", "route", "state", "thread_future", "threads")

    def __init__(
        self, consumer: ConsumerIdentity, state: Mapping[str, Any], threads: ThreadPoolExecutor | None = None
    ) -> None:
        self.consumer = consumer
        self.state = state
        self.threads = threads
        self.thread_future: Future[Any] | None = None
        self.overrides: Overrides = dict
        self.attempt = 1
        self.earlier = 0
        self.route: Route | None = None
        self.record: Record | None = None


@dataclass(frozen=True, slots=True)
class ConsumerIdentity:
    """Which consumer handles a record: what logs, metrics and `request.context.consumer` show."""

    name: str
    group_id: str | None
    client_id: str
    cluster_name: str | None = None


@dataclass(frozen=True, slots=True)
class Dispatch:
    """The functions that lead from a record to its endpoint, compiled once when the app starts.

    Attributes:
        call: finds the endpoint, decodes the payload and returns the awaitable of one attempt. Its result is what the
            endpoint returned: an outcome decides, any other value means done. If the middleware stack is not the
            default one, it runs inside the awaitable, and the result is the context's outcome. Returns None if no
            endpoint takes the record. Raises `DecodeError` if the value is not what the endpoint asks for. A batch
            endpoint gets a batch of one record.
        unmatched: why no endpoint takes the record, after `call` has returned None.
        gated: the record's endpoint if it takes batches or has its own `concurrency`, else None: such a record must
            pass `Admission`. The attribute is None if the handler has no such endpoint.
        open_batch: one attempt at these records, all of them `gated` to the batch endpoint `slot.route`.
    """

    call: Callable[[Record, Slot], Awaitable[object] | None]
    unmatched: Callable[[Record], Unmatched]
    gated: Callable[[Record], Route | None] | None
    open_batch: Callable[[Sequence[Record], Slot], BatchAttempt]


class BatchAttempt(Protocol):
    """One attempt at a batch. Indices are places in the records that it was opened with."""

    async def prepare(self) -> Mapping[int, FailureOutcome | None]:
        """Decode; returns what ended before the endpoint was run, such as a value that cannot be decoded (None: done,
        by the stack alone)."""

    async def run(self, wanted: Sequence[int]) -> object:
        """Run the endpoint with those of the records, in this order; the others are let go of.

        Returns `Apart` where the records ended differently, else what the endpoint returned, which is the outcome
        of all. Raises what it raised, which is the failure of all.
        """

    async def close(self) -> None:
        """Let go of what is still held. Never raises."""
