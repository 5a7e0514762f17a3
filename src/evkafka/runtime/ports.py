"""The interfaces between the runtime, the cluster and what users declare.

`kafka/` and `testing/memory/` implement the cluster's side, `service/dispatch.py` the user's side.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

from evkafka.exceptions import BrokerError, DeliveryError, EVKafkaError
from evkafka.outcomes import FailureOutcome, Unmatched
from evkafka.records import OffsetReset, Record, RecordMetadata, TopicPartition, Unreadable

if TYPE_CHECKING:
    import asyncio
    from concurrent.futures import Future, ThreadPoolExecutor

    from evkafka.config.settings import CompressionType, ConnectionSettings, ConsumerSettings, ProducerSettings
    from evkafka.serde.formats.consumer_formats import ConsumerFormats


# ---------------------------------------------------------------------------- the cluster's side


@dataclass(frozen=True, slots=True)
class UnreadRecord:
    """A record, or a batch of records, that the client cannot read: for those who browse a topic.

    Attributes:
        next_offset: the offset at which reading continues.
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


class MetadataTooLarge(BrokerError):
    """The metadata of an offset is longer than the brokers allow."""


class WriteGivenUp(EVKafkaError):
    """A record of an at-most-once consumer could not be written to its dead-letter topic: it is lost."""


class OutputRefused(BrokerError):
    """A record of a transaction can never be written: nothing of the transaction was.

    Attributes:
        output: the record.
        error: why it cannot be written: `RecordTooLarge` if a smaller record could be, `RecordRefused` if another one
            could be; otherwise the topic takes none.
        batch_bytes: its `RecordSink.size_as_single_record_batch`.
        largest_bytes: the topic's `max.message.bytes`, if a too large record is refused; None if it is not known.
    """

    def __init__(
        self, output: OutgoingRecord, error: DeliveryError, batch_bytes: int, *, largest_bytes: int | None = None
    ) -> None:
        super().__init__(str(error))
        self.output = output
        self.error = error
        self.batch_bytes = batch_bytes
        self.largest_bytes = largest_bytes


@dataclass(frozen=True, slots=True)
class PositionsCommit:
    """A commit of positions that the client has sent by itself (at most once with an interval between commits).

    Attributes:
        error: why they were not committed; None if they were.
    """

    offsets: Mapping[TopicPartition, int]
    duration_s: float
    error: BrokerError | None = None


class SourceListener(Protocol):
    """What a source calls on its consumer, on the event loop. The calls name the partitions that change hands: all
    others continue undisturbed. The group protocol is the source's own matter.

    Each call is awaited before the next one, except that `on_lost` may interrupt the wait of an `on_revoked`.
    """

    async def on_revoked(self, partitions: Collection[TopicPartition]) -> None:
        """These partitions are given back when this returns. Committing them is still allowed meanwhile; none of their
        records is handed out any more from the moment of the call."""

    async def on_lost(self, partitions: Collection[TopicPartition]) -> None:
        """These partitions are not this member's any more: the group has given them to another one, or has fenced this
        one. Nothing of them can be committed."""

    async def on_assigned(self, partitions: Collection[TopicPartition]) -> None:
        """These partitions are assigned from now on, in addition to those that the member has: none of these.

        Called at the end of each change of the assignment, also if nothing was added. No record of them is handed out
        before this returns.
        """

    def on_reset(self, reset: OffsetReset) -> None:
        """The reset rule has set a partition's position. Called before any of its records is handed out."""

    def on_positions_commit(self, commit: PositionsCommit) -> None:
        """The client has committed positions by itself, or has failed to. The partitions may be given back already."""

    def on_unreadable_records(self, unreadable: Unreadable) -> None:
        """The next record of a partition cannot be read. The consumer seeks past it, or polls without the partition."""


SourceState = Literal["connecting", "joining", "steady", "lost"]


class GroupEpoch(NamedTuple):
    """Which assignment of its group a member has.

    Attributes:
        protocol: the one that the member has joined with.
        number: its member epoch; with the classic protocol the generation.
    """

    protocol: Literal["classic", "consumer"]
    number: int


class RecordSource(Protocol):
    """One member of one consumer group (or a groupless reader), for one life: start once, stop once.

    Errors: `BrokerUnavailable` (waiting can help), `BrokerRefused` (it cannot), `BrokerError` (any other:
    this source is unusable and a new one is created). Every call ends within its timeout.
    """

    async def start(self, listener: SourceListener) -> None:
        """Connect, log in, subscribe. Ends within the settings' `start_timeout_s`; does not wait for the join.

        With `transactions` it also ends the open transaction of an earlier source with the same transactional id,
        before it looks up any offset.
        """

    async def poll(
        self, partitions: Collection[TopicPartition] | None, *, timeout_s: float, max_records: int
    ) -> Mapping[TopicPartition, Sequence[Record]]:
        """Return the records that were fetched, or wait for some up to the timeout (a rebalance may take longer).

        Args:
            partitions: the ones to read; None for all that are assigned; empty for none of them: such a poll only
                raises a failure of the source, and reports resets.

        It does not suspend between the moment a record leaves the client and its return, so that a record of a
        revoked partition is never handed out. Must not be cancelled, except to discard the source.
        """

    def position(self, partition: TopicPartition) -> int | None:
        """The offset of the next record to be handed out; None while unknown."""

    def end_offset(self, partition: TopicPartition) -> int | None:
        """The partition's end as last seen; None while unknown. For a reader of committed records it ends at the first
        open transaction."""

    def is_receiving_slowly(self, partition: TopicPartition) -> bool:
        """Whether a response that may contain its next records is being received slowly, over many seconds."""

    def high_watermark(self, partition: TopicPartition) -> int | None:
        """The end of the log, open transactions included, as last seen; None while unknown."""

    def next_fetched_timestamp_ms(self, partition: TopicPartition) -> int | None:
        """The timestamp of the next record to be handed out; None if it was not fetched, or has none."""

    def seek(self, partition: TopicPartition, offset: int) -> None:
        """Continue at this offset; records that were fetched and not handed out are dropped."""

    def last_commit_before_assignment(self, partition: TopicPartition) -> tuple[int, str] | None:
        """The offset and the metadata of the commit that this assignment began at; None if the group has none.

        Known as soon as the position is.
        """

    def topic_id(self, topic: str) -> str:
        """The id of an assigned topic, which no later topic of that name has; empty while it is not known, and if the
        brokers have none (before 2.8)."""

    def leader_epoch_before(self, partition: TopicPartition, offset: int) -> int:
        """The leader epoch of the last record before this offset that was read; -1 while unknown."""

    async def commit(
        self,
        offsets: Mapping[TopicPartition, int],
        *,
        timeout_s: float,
        metadata: Mapping[TopicPartition, str] | None = None,
    ) -> None:
        """Commit exactly these offsets, as the member that this source is now.

        Args:
            metadata: saved with an offset; for a partition that is not in it, the saved metadata is cleared.

        Raises:
            MetadataTooLarge: the brokers do not take the metadata of a partition; other partitions may be written.
            CommitRefused: nothing was written, because another member has the partitions now.
            CommitUnknown: no response within the timeout; it may have been written, but is never written after this
                partition has been revoked.
            BrokerUnavailable, BrokerRefused, BrokerError: nothing was written.
        """

    async def commit_transaction(
        self,
        outputs: Sequence[OutgoingRecord],
        offsets: Mapping[TopicPartition, int],
        *,
        timeout_s: float,
        metadata: Mapping[TopicPartition, str],
    ) -> None:
        """Write these records and commit these offsets in one transaction, as the member that this source is now.

        Called one at a time, and only if the settings have `transactions`. After any error, what was written of the
        transaction is aborted, at the latest when the next transaction begins; only after `CommitUnknown` it may have
        been committed.

        Args:
            outputs: each has a partition (see `RecordSink.with_chosen_partition`). The records of one partition keep
                their order.
            offsets: as in `commit`; also without outputs.

        Raises:
            MetadataTooLarge: the brokers do not take the metadata of a partition.
            OutputRefused: one of the records can never be written.
            CommitRefused: another member has the partitions now, or a rebalance has begun.
            CommitUnknown: no response to the end of the transaction within the timeout.
            BrokerUnavailable, BrokerRefused, BrokerError: it could not be committed.
        """

    def state(self) -> SourceState:
        """The state of the membership: `connecting`, `joining`, `steady`, or `lost`.

        It is `joining` until the group has assigned partitions, or none; with the classic protocol in each rebalance. A
        member that keeps partitions while others move is `steady`.
        """

    def is_session_alive(self) -> bool:
        """False if the group's coordinator has not confirmed for nearly a session that this is a member: it may soon
        give the partitions to others. True without a group."""

    def group_epoch(self) -> GroupEpoch | None:
        """The assignment that this member has now; None without a group, and before the first."""

    def assignment(self) -> Collection[TopicPartition]:
        """The partitions that are assigned to this member now."""

    async def stop(self, *, timeout_s: float) -> None:
        """Leave the group and close, by force after the timeout. Never raises, never hangs."""


class OutgoingRecord(NamedTuple):
    """A record for a sink.

    Attributes:
        partition: None for the partition of the key; without a key, a random one.
        timestamp_ms: milliseconds since the epoch; None for the time of the send.
        event_type: names the record in errors.
        compression_type: how a transaction compresses its batch; `RecordSink.with_chosen_partition` sets it.
        sent_at: the address of the record whose attempt sends it in a transaction.
        on_committed: called when a transaction has written it; not called if none ever does.
    """

    topic: str
    value: bytes | None
    key: bytes | None = None
    partition: int | None = None
    timestamp_ms: int | None = None
    headers: Sequence[tuple[str, bytes | None]] = ()
    event_type: str | None = None
    compression_type: CompressionType | None = None
    sent_at: str | None = None
    on_committed: Callable[[], object] | None = None


WriteFailed = Callable[[str, BaseException], object]
"""Called after each failed attempt to write a record, with the topic and the error. The write is tried again then."""


class RecordSink(Protocol):
    """A producer for one life: start once, stop once."""

    async def start(self) -> None:
        """Connect and log in. Raises BrokerUnavailable, BrokerRefused or BrokerError."""

    async def queue_record(
        self, record: OutgoingRecord, *, timeout_s: float | None = None
    ) -> asyncio.Future[RecordMetadata]:
        """Queue one record; the future ends with the broker's response. May wait for room in the buffer.

        Cancelling the call, or the future, withdraws the record if it was not handed to the client yet.

        Args:
            timeout_s: how long it may take until the future is done, waiting for room included; None takes the
                settings' `delivery_timeout_s`.

        Raises (also out of the future):
            DeliveryError: it was not confirmed in time, or was refused. Nothing else.
        """

    async def with_chosen_partition(self, record: OutgoingRecord, *, timeout_s: float | None = None) -> OutgoingRecord:
        """The record with its partition, chosen as `queue_record` does, and its compression, without sending it.
        It does not suspend if the topic is known.

        Raises:
            DeliveryError: as `queue_record`, if the topic or the partition does not exist, or the record is larger than
                `max_request_size` (`RecordTooLarge`).
        """

    def size_as_single_record_batch(self, record: OutgoingRecord) -> int:
        """The size of a batch with only this record, compressed: a topic's `max.message.bytes` limits it."""

    def unavailable_reason(self) -> str:
        """Why nothing can be sent at the moment, as far as it is known; empty while it can."""

    async def flush(self) -> None:
        """Return when everything queued so far is confirmed or has failed: each record within its own timeout."""

    async def stop(self, *, timeout_s: float) -> None:
        """Flush and close, by force after the timeout; records that are left then fail. Never raises, never hangs."""


@dataclass(frozen=True, slots=True)
class TopicIds:
    """The ids of a cluster and of topics in it.

    Attributes:
        cluster_id: None if the brokers have none.
        topics: topic -> its id, which no later topic of that name has. Empty if the brokers have no topic ids (before
            2.8); a topic that does not exist is left out.
    """

    cluster_id: str | None
    topics: Mapping[str, str]


class Cluster(Protocol):
    """Creates sources and sinks. The real one is in `kafka/`, the in-memory one in `testing/`."""

    def source(self, settings: ConsumerSettings) -> RecordSource: ...

    def sink(self, settings: ProducerSettings) -> RecordSink: ...

    async def ensure_topics(
        self, connection: ConnectionSettings, wanted: Mapping[str, str], *, timeout_s: float
    ) -> Mapping[str, int]:
        """How many partitions each wanted topic has. A topic that does not exist is created like another topic.

        Args:
            wanted: topic -> the topic whose partitions and replicas it gets if it has to be created; if that one does
                not exist either, the broker's defaults apply.

        Raises:
            BrokerUnavailable, BrokerRefused, BrokerError: a topic cannot be looked up or created.
        """

    async def topic_ids(self, connection: ConnectionSettings, topics: Collection[str], *, timeout_s: float) -> TopicIds:
        """The ids of the cluster and of these topics.

        Raises:
            BrokerUnavailable, BrokerRefused, BrokerError: the cluster did not return them.
        """

    async def read_topic(
        self, connection: ConnectionSettings, topic: str, take: Callable[[Record], object], *, timeout_s: float
    ) -> None:
        """Read the committed records of a topic from its beginning to its present end; none of a missing topic.

        Raises:
            BrokerUnavailable, BrokerRefused, BrokerError: it could not be read to its end within the timeout.
        """


class Clock(Protocol):
    """The runtime's time. Tests use a virtual clock."""

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
    """How large a batch endpoint's batches may be, and how long the first record of one waits for more."""

    max_records: int
    max_wait_s: float


class Route(Protocol):
    """One endpoint, as the runtime sees it."""

    @property
    def name(self) -> str:
        """The endpoint's name in logs and errors: `module.function`."""

    @property
    def event_type(self) -> str: ...

    @property
    def threaded(self) -> bool:
        """True for a plain `def` endpoint: it runs in a thread and cannot be cancelled."""

    @property
    def timeout_s(self) -> float | None:
        """The event type's own time limit for one attempt; None for the consumer's."""

    @property
    def on_error(self) -> Mapping[str, Any] | None:
        """The event type's own error policy, as configured; it is merged over the consumer's."""

    @property
    def concurrency(self) -> int | None:
        """The most attempts of this event type at once in one consumer; None for no limit of its own."""

    @property
    def batch(self) -> BatchLimits | None:
        """Set for a batch endpoint."""


Overrides = Callable[[], Mapping[Callable[..., Any], Callable[..., Any]]]
"""Returns the current overrides of dependencies; `dict` for none."""


ThreadCall = Callable[[], Any]
"""A call to make in a thread."""


class Kept(Protocol):
    """What one attempt has sent, in order; see `runtime/kept_sends.py`."""

    records: list[OutgoingRecord]


class Slot:
    """The running attempt of one executor. The dispatch writes `route`; the runtime writes the rest.

    Attributes:
        attempt: which attempt at this record this is, from 1.
        earlier: attempts at it before it was written to this topic. Written by the dispatch of a retry topic.
        route: the endpoint that was matched, None while none is.
        record: the record that is handled, None between records.
        state: what the app's lifespan yielded; a Request gets a shallow copy.
        consumer: the consumer as `request.context.consumer` shows it.
        threads: the pool that plain `def` endpoints run in; None for the event loop's default pool.
        thread_future: the endpoint's call in a thread, from its submission until its result is back; None without one.
            Written by the dispatch.
        overrides: returns the app's overrides of dependencies. Written by the dispatch if the endpoint has any.
        formats: the formats of the consumer's topics; None if all values are JSON. Written by the dispatch.
        open_run: called when the endpoint is called in a thread. Returns a function that the thread calls whenever a
            call has returned None: it returns the next call to make there, or None. The attribute is None if each
            record has a hop of its own.
        kept: what the running attempt has sent, or the last one; None unless its consumer keeps sends (exactly once).
            Written by `wrap_dispatch_to_keep_sends`.
    """

    __slots__ = (
        "attempt", "consumer", "earlier", "formats", "kept", "open_run", "overrides", "record", "route", "state",
        "thread_future", "threads",
    )  # fmt: skip

    def __init__(
        self, consumer: ConsumerIdentity, state: Mapping[str, Any], threads: ThreadPoolExecutor | None = None
    ) -> None:
        self.consumer = consumer
        self.state = state
        self.threads = threads
        self.thread_future: Future[Any] | None = None
        self.overrides: Overrides = dict
        self.formats: ConsumerFormats | None = None
        self.open_run: Callable[[], Callable[[], ThreadCall | None]] | None = None
        self.kept: Kept | None = None
        self.attempt = 1
        self.earlier = 0
        self.route: Route | None = None
        self.record: Record | None = None


@dataclass(frozen=True, slots=True)
class ConsumerIdentity:
    """The consumer that handles a record, as logs, metrics and `request.context.consumer` show it."""

    name: str
    group_id: str | None
    client_id: str
    cluster_name: str | None = None

    @classmethod
    def from_settings(cls, name: str, settings: ConsumerSettings) -> ConsumerIdentity:
        connection = settings.connection
        return cls(name, settings.group_id, connection.client_id, connection.cluster_name)


@dataclass(frozen=True, slots=True)
class Dispatch:
    """The functions that lead from a record to its endpoint, compiled once when the app starts.

    Attributes:
        call: finds the endpoint, decodes the payload and returns the awaitable of one attempt. Its result is what the
            endpoint returned: an outcome decides, any other value means done. If the middleware stack is not the
            default one, it runs inside the awaitable, and the result is the context's outcome. Returns `Unmatched`, and
            nothing to await, if no endpoint takes the record. Raises `DecodeError` if the value is not what the
            endpoint asks for, and `NotReady` if the value's schema is still being asked for. A batch endpoint gets a
            batch of one record.
        route: the record's endpoint, without decoding its value; None if it is not known.
        limited_route: the record's endpoint if it takes batches or has its own `concurrency`, else None: such a record
            must pass `Admission`. The attribute is None if the handler has no such endpoint.
        open_batch: one attempt at these records, all of them for the batch endpoint `slot.route`.
        thread_call: one attempt at this record, as a call for a thread that has just run another one; `Unmatched` if
            no endpoint takes the record; None if its endpoint is not a plain `def` without dependencies. The attribute
            is None if no attempt is such a call alone: there is no such endpoint, or something encloses the endpoints.
        awaited: done once the schema of the record's value is known; None if nothing is to be awaited. The attribute is
            None if no value has a schema of its own.
        keeps_sends: the attempts' sends are written by the transaction that commits their records.
    """

    call: Callable[[Record, Slot], Awaitable[object] | Unmatched]
    route: Callable[[Record], Route | None]
    limited_route: Callable[[Record], Route | None] | None
    open_batch: Callable[[Sequence[Record], Slot], BatchAttempt]
    thread_call: Callable[[Record, Slot], ThreadCall | Unmatched | None] | None = None
    awaited: Callable[[Record], asyncio.Future[None] | None] | None = None
    keeps_sends: bool = False


class BatchAttempt(Protocol):
    """One attempt at a batch. Indices are positions in the records that it was opened with."""

    async def run_up_to_endpoint(self) -> Mapping[int, FailureOutcome | None]:
        """Do all that comes before the endpoint's call: decode, run the middleware. Returns the outcomes of records
        that ended in it, such as one whose value cannot be decoded (None: done, by the middleware stack alone)."""

    async def run_endpoint(self, wanted: Sequence[int]) -> object:
        """Run the endpoint with these records, in this order; the others are dropped.

        Returns `PartialFailure` if the records ended differently, else what the endpoint returned, which is the outcome
        of all. Raises what the endpoint raised, which is the failure of all.
        """

    async def close(self) -> None:
        """Release what the attempt still holds, such as dependencies. Never raises."""
