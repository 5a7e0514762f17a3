"""The producer: each send is confirmed by the broker within a time limit, or raises an error."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from functools import partial
from types import TracebackType
from typing import Any, Protocol, Self
from uuid import UUID

from evkafka.config import producer_settings
from evkafka.config.arguments import str_subclass_to_str
from evkafka.config.keys import ProducerConfig
from evkafka.config.time_limits import time_limit_text
from evkafka.exceptions import BrokerError, DeliveryError, EncodeError
from evkafka.records import RecordMetadata
from evkafka.runtime.backend import current_backend
from evkafka.runtime.clock import SystemClock, wait_for
from evkafka.runtime.deadline import RESERVE_S, send_time_left_s
from evkafka.runtime.kept_sends import KeptSends, kept_sends
from evkafka.runtime.ports import Clock, Cluster, OutgoingRecord, RecordSink
from evkafka.serde.encoding import encode
from evkafka.telemetry import EventPublished, Telemetry
from evkafka_command.forks import undo_in_children

TYPE_HEADER = "Event-Type"

Key = str | bytes | int | UUID
Headers = Mapping[str, bytes | str | None] | Sequence[tuple[str, bytes | str | None]]
Pairs = list[tuple[str, bytes | None]]

Wrap = Callable[[bytes | None, Pairs], tuple[bytes | None, Pairs]]
"""Puts value and headers, with those of tracing, into an envelope."""

SendEnded = Callable[[RecordMetadata | None, BaseException | None], None]
"""Called with the address of a confirmed record, or with the error of a send."""


class SendSpans(Protocol):
    """Creates the spans of sends."""

    def start_send(self, topic: str, client_id: str, headers: Pairs) -> SendEnded:
        """Start a span and write its context into the headers. The returned function ends it."""


class EVKafkaProducer:
    """Sends events and waits for the broker's confirmation. Use it as `async with`, or `start()` and `stop()`.

    It can only be used in the event loop in which it was started. Records that are sent to one partition by one task,
    or are queued one after the other, are written in this order. The queue is bounded: for each partition it has the
    batch in flight and one more (`max_batch_size`); the next call waits for room.

    Args:
        config: see `ProducerConfig`.
        cluster, clock: by default Kafka and the system clock, or those of the test kit inside of a test client.
        telemetry, name, spans: for a producer of an app: its telemetry, the producer's name, and tracing.
        joins_transactions: for a producer of an app: inside of exactly-once endpoints its sends are part of their
            transactions.

    Raises:
        ConfigError: the configuration is invalid; the error has all faults.
    """

    def __init__(
        self,
        config: ProducerConfig,
        *,
        cluster: Cluster | None = None,
        clock: Clock | None = None,
        telemetry: Telemetry | None = None,
        name: str = "",
        spans: SendSpans | None = None,
        joins_transactions: bool = False,
    ) -> None:
        self.settings = producer_settings(config)
        self._joins_transactions = joins_transactions and not self.settings.outside_transactions
        self.name = name
        self._telemetry = telemetry
        self._spans = spans
        self._cluster = cluster
        self._clock = clock
        self._sink: RecordSink | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._unregister_fork: Callable[[], object] = lambda: None

    # ------------------------------------------------------------------ life

    async def start(self) -> None:
        """Connect and log in, within `start_timeout_ms`.

        Raises:
            BrokerUnavailable, BrokerRefused: it cannot connect or log in.
            RuntimeError: it has been started already.
        """
        if self._loop is not None:
            raise RuntimeError("this producer has already been started")
        self._loop = asyncio.get_running_loop()
        try:
            sink = self._given_or_test_kit_or_kafka_cluster().sink(self.settings)
            await sink.start()
        except BaseException:
            self._loop = None
            raise
        self._sink = sink
        self._unregister_fork = undo_in_children(self._stop_in_forked_child)

    def _stop_in_forked_child(self) -> None:
        """Called in a forked child: its copy of the producer cannot send, because the copy of the loop does not run."""
        self._sink = self._loop = None

    async def flush(self) -> None:
        """Wait until every queued record is confirmed or has failed, each within its own time limit.

        Raises:
            DeliveryError: the flush took longer than the delivery timeout.
        """
        timeout_s = self.settings.delivery_timeout_s
        try:
            await wait_for(self._clock or SystemClock(), self._running_sink().flush(), timeout_s + RESERVE_S)
        except TimeoutError:
            raise DeliveryError(
                f"the flush did not end within {time_limit_text(timeout_s, 'delivery_timeout_ms')}",
                topic=self.settings.topic or "",
                event_type=None,
                may_have_been_written=True,
            ) from None

    async def stop(self, *, timeout_s: float | None = None) -> None:
        """Flush and close. Never hangs; idempotent. The producer may be started again afterwards.

        Args:
            timeout_s: in seconds; a record that is not confirmed by then fails with a `DeliveryError`. None uses the
                delivery timeout.
        """
        sink, self._sink = self._sink, None
        self._unregister_fork()
        if sink is not None:
            try:
                await sink.stop(timeout_s=self.settings.delivery_timeout_s if timeout_s is None else timeout_s)
            finally:
                self._loop = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.stop()

    def unavailable_reason(self) -> str:
        """Why it cannot send at the moment, as far as known; empty if it can."""
        return "it is not running" if self._sink is None else self._sink.unavailable_reason()

    def now_ms(self) -> int:
        """The time of its clock, in milliseconds since the epoch."""
        return (self._clock or SystemClock()).timestamp_ms()

    @property
    def loop(self) -> asyncio.AbstractEventLoop | None:
        """The event loop in which it was started and must be used; None while it does not run."""
        return self._loop

    # ------------------------------------------------------------------ sending

    async def send_event(
        self,
        event: Any,
        event_type: str,
        topic: str | None = None,
        key: Key | None = None,
        partition: int | None = None,
        timestamp_ms: int | None = None,
        headers: Headers | None = None,
    ) -> RecordMetadata:
        """Send one event, and return its address once the broker has confirmed it.

        Args:
            event: dict, str, bytes, a pydantic model (by alias), or anything that pydantic can serialize; None is a
                tombstone, which needs a key.
            event_type: the value of the `Event-Type` header; replaces a header of that name.
            topic: default: the topic of the configuration.
            key: bytes are sent unchanged, str as UTF-8, int and UUID as `str()`. Records with one key go to one
                partition, the same that the Java client chooses.
            partition: default: chosen by the key; without a key, at random.
            timestamp_ms: milliseconds since the epoch; default: now.
            headers: a mapping, or pairs if a name occurs twice; str values are sent as UTF-8.

        Raises:
            DeliveryError: it was not confirmed within `delivery_timeout_ms`, or was rejected;
                `may_have_been_written` says whether it may be in the log. Inside of an endpoint the limit is the rest
                of the attempt's time minus one second, or minus a half of it if less than two seconds are left. A
                subclass is `EncodeError`: the event cannot be serialized.
            RuntimeError: there is no topic, the producer is not running, or it was started in another loop.
            TypeError, ValueError: an argument has an invalid type or value.
        """
        return await (await self.enqueue_event(event, event_type, topic, key, partition, timestamp_ms, headers))

    async def enqueue_event(
        self,
        event: Any,
        event_type: str,
        topic: str | None = None,
        key: Key | None = None,
        partition: int | None = None,
        timestamp_ms: int | None = None,
        headers: Headers | None = None,
        wrap: Wrap | None = None,
    ) -> asyncio.Future[RecordMetadata]:
        """Queue one event, for pipelining: the future has the result or error of `send_event`.

        Returns once there is room in the queue. Cancelling the future withdraws an event that is still queued.

        Args:
            wrap: puts the encoded value and all headers into an envelope, and must not fail; a `Sender` with an
                envelope has one.
        """
        sink = self._running_sink()
        topic = topic or self.settings.topic
        if topic is None:
            raise RuntimeError(
                f"event {event_type!r} has no topic: pass `topic=` to the send, or set `topic` in the producer's config"
            )
        _check_topic_event_type_partition_timestamp(topic, event_type, partition, timestamp_ms)
        topic, event_type = str_subclass_to_str(topic), str_subclass_to_str(event_type)
        value, own_key, pairs = _encode_event(event, event_type, topic, key, headers)
        timeout_s = self._send_timeout_in_endpoint_s(event_type, topic)
        end_span, report = self._start_span(topic, pairs), self._create_report(topic, event_type)
        if wrap is not None:
            value, pairs = wrap(value, pairs)
        kept = kept_sends.get() if self._joins_transactions else None
        record = OutgoingRecord(topic, value, own_key, partition, timestamp_ms, pairs, event_type)
        if kept is None:
            sending = sink.queue_record(record, timeout_s=timeout_s)
        else:
            on_committed = None if report is None else partial(report, None, None)
            report = None if report is None else partial(_report_error, report)
            record = record._replace(sent_at=kept.addresses[0], on_committed=on_committed)
            sending = self._keep_for_transaction(kept, sink, record, timeout_s)
        observers = [observer for observer in (end_span, report) if observer is not None]
        return await (_enqueue_observed(sending, observers) if observers else sending)

    async def _keep_for_transaction(
        self, kept: KeptSends, sink: RecordSink, record: OutgoingRecord, timeout_s: float | None
    ) -> asyncio.Future[RecordMetadata]:
        """Keep the record for the transaction of the attempt that sends it; its offset is not known."""
        try:
            await kept.scope.check_cluster(self.name, self.settings.connection)
        except BrokerError as error:
            what = f"event {record.event_type!r} to topic {record.topic!r}"
            raise DeliveryError(
                f"{what} was not delivered: {error}; it was not written",
                topic=record.topic,
                event_type=record.event_type,
                may_have_been_written=False,
            ) from error
        placed = await sink.with_chosen_partition(record, timeout_s=timeout_s)
        kept.add(placed, sink)
        future: asyncio.Future[RecordMetadata] = asyncio.get_running_loop().create_future()
        partition = -1 if placed.partition is None else placed.partition
        future.set_result(RecordMetadata(placed.topic, partition, -1, placed.timestamp_ms, 0, -1))
        return future

    def _start_span(self, topic: str, headers: Pairs) -> SendEnded | None:
        """The function that ends the span of this send; tracing adds a header to it. None without tracing."""
        if self._spans is None:
            return None
        return self._spans.start_send(topic, self.settings.connection.client_id, headers)

    def _create_report(self, topic: str, event_type: str) -> SendEnded | None:
        """The function that emits `EventPublished` when this send has ended; None if nobody listens."""
        if self._telemetry is None or not self._telemetry.wants(EventPublished):
            return None
        telemetry, began_s = self._telemetry, time.monotonic()

        def emit(_: RecordMetadata | None, error: BaseException | None) -> None:
            if isinstance(error, asyncio.CancelledError):
                return  # its sender has withdrawn it
            telemetry.emit(EventPublished(self.name, topic, event_type, time.monotonic() - began_s, error))

        return emit

    async def send_events(
        self,
        events: Iterable[Any],
        event_type: str,
        topic: str | None = None,
        key: Key | Callable[[Any], Key | None] | None = None,
        headers: Headers | None = None,
    ) -> list[RecordMetadata]:
        """Send events of one type together, in order; returns their addresses when all are confirmed.

        Args:
            key: one key for all events, or a function that returns the key of an event.

        Raises:
            DeliveryError: the error of the first event that failed, once all sends have ended; a note says how many
                failed. The others are written.
        """
        queued: list[asyncio.Future[RecordMetadata]] = []
        failures: list[BaseException] = []
        for event in events:
            try:
                own_key = key(event) if callable(key) else key
                queued.append(await self.enqueue_event(event, event_type, topic, own_key, headers=headers))
            except Exception as error:  # whatever it is, the sends before it are awaited
                failures.append(error)
                break
        results = await asyncio.gather(*queued, return_exceptions=True)
        confirmed = [result for result in results if isinstance(result, RecordMetadata)]
        failures = [result for result in results if isinstance(result, BaseException)] + failures
        if failures:
            failures[0].add_note(f"of this batch, {len(confirmed)} events were confirmed and {len(failures)} failed")
            raise failures[0]
        return confirmed

    # ------------------------------------------------------------------ state and time limits

    def _given_or_test_kit_or_kafka_cluster(self) -> Cluster:
        """The given cluster; or else that of the test kit, if there is one at the start; or else Kafka."""
        backend = current_backend.get()
        if backend is not None:
            self._clock = self._clock or backend.clock
            return self._cluster or backend.cluster
        if self._cluster is not None:
            return self._cluster
        from evkafka.kafka import KafkaCluster

        return KafkaCluster()

    def _running_sink(self) -> RecordSink:
        if self._sink is None:
            raise RuntimeError(
                "the producer is not running: send inside `async with EVKafkaProducer(config)`, "
                "or between its start() and stop()"
            )
        if asyncio.get_running_loop() is not self._loop:
            raise RuntimeError(
                "the producer was started in another event loop and works only there: create one for this loop, or"
                " pass the call to that loop with asyncio.run_coroutine_threadsafe(producer.send_event(...),"
                " producer.loop)"
            )
        return self._sink

    def _send_timeout_in_endpoint_s(self, event_type: str, topic: str) -> float | None:
        """The time limit of this send inside of an endpoint; None for the delivery timeout."""
        left_s = send_time_left_s()
        if left_s is None or left_s >= self.settings.delivery_timeout_s:
            return None
        if left_s <= 0:
            raise DeliveryError(
                f"event {event_type!r} to topic {topic!r} was not sent: the endpoint has exceeded its time limit"
                " (max_endpoint_exec_time_ms, or its timeout_ms)",
                topic=topic,
                event_type=event_type,
                may_have_been_written=False,
            )
        return left_s


def _report_error(report: SendEnded, metadata: RecordMetadata | None, error: BaseException | None) -> None:
    """Report the end of a send that was to be kept for a transaction, if that has failed."""
    if error is not None:
        report(metadata, error)


async def _enqueue_observed(
    sending: Awaitable[asyncio.Future[RecordMetadata]], observers: Sequence[SendEnded]
) -> asyncio.Future[RecordMetadata]:
    """Queue the record, and call the observers when the send has ended."""

    def ended(future: asyncio.Future[RecordMetadata]) -> None:
        if future.cancelled():
            notify(None, asyncio.CancelledError())
        elif (error := future.exception()) is not None:
            notify(None, error)
        else:
            notify(future.result(), None)

    def notify(metadata: RecordMetadata | None, error: BaseException | None) -> None:
        for observer in observers:
            observer(metadata, error)

    try:
        future = await sending
    except BaseException as error:
        notify(None, error)
        raise
    future.add_done_callback(ended)
    return future


# ---------------------------------------------------------------------------- serialization


def _check_topic_event_type_partition_timestamp(topic: Any, event_type: Any, partition: Any, timestamp_ms: Any) -> None:
    if not isinstance(event_type, str) or not event_type:
        raise TypeError(f"event_type must be a non-empty str; got {event_type!r}")
    if not isinstance(topic, str):
        raise TypeError(f"event {event_type!r}: topic must be a str; got {topic!r}")
    if partition is not None and (type(partition) is not int or partition < 0):
        raise ValueError(f"event {event_type!r}: partition must be an int of 0 or more, or None; got {partition!r}")
    if timestamp_ms is not None and (type(timestamp_ms) is not int or timestamp_ms < 0):
        raise ValueError(
            f"event {event_type!r}: timestamp_ms must be an int (milliseconds since the epoch) or None; got"
            f" {timestamp_ms!r}"
        )


def _encode_event(
    event: Any, event_type: str, topic: str, key: Key | None, headers: Headers | None
) -> tuple[bytes | None, bytes | None, Pairs]:
    """Event, key and headers as bytes.

    Raises:
        EncodeError: one of them cannot be serialized.
    """
    try:
        if event is None and key is None:
            raise ValueError("None is a tombstone, which needs a key")
        return None if event is None else encode(event), encode_key(key), build_headers(headers, event_type)
    except (TypeError, ValueError, RecursionError) as error:
        raise EncodeError(
            f"event {event_type!r} ({type(event).__name__}) to topic {topic!r} cannot be encoded:"
            f" {str(error) or type(error).__name__}; nothing was sent",
            topic=topic,
            event_type=event_type,
        ) from error


def encode_key(key: Key | None) -> bytes | None:
    """A key as bytes: str as UTF-8, int and UUID as `str()`.

    Raises:
        TypeError: it has another type.
    """
    match key:
        case None:
            return None
        case bytes():
            return key
        case str():
            return key.encode()
        case int() if not isinstance(key, bool):
            return str(int(key)).encode()  # a member of an `(int, Enum)` is its number, not its name
        case UUID():
            return str(key).encode()
        case _:
            raise TypeError(f"a key must be bytes, str, int, UUID or None, not {type(key).__name__}")


def build_headers(headers: Headers | None, event_type: str | None, type_header: str = TYPE_HEADER) -> Pairs:
    """The headers of a record, the event type first, if there is one. It replaces a given header of its name.

    Raises:
        TypeError, ValueError: as `encode_headers`.
    """
    pairs = encode_headers(headers)
    if event_type is None:
        return pairs
    return [(type_header, event_type.encode()), *(pair for pair in pairs if pair[0] != type_header)]


def encode_headers(headers: Headers | None) -> Pairs:
    """Headers as pairs, str values as UTF-8.

    Raises:
        TypeError: they are neither a mapping nor pairs, a name is not a str, or a value is not bytes, str or None.
        ValueError: a name or a value cannot be encoded as UTF-8.
    """
    if not headers:
        return []
    given: Any = headers.items() if isinstance(headers, Mapping) else headers
    if isinstance(given, str | bytes) or not isinstance(given, Iterable):
        raise TypeError(f"headers must be a mapping or (name, value) pairs; got {type(given).__name__}")
    pairs: Pairs = []
    for number, pair in enumerate(given):
        match pair:
            case (str() as name, bytes() | None as value):
                pairs.append((str_subclass_to_str(name), value))
            case (str() as name, str() as text):
                pairs.append((str_subclass_to_str(name), text.encode()))
            case (name, _):
                raise TypeError(f"header {name!r}: the name must be a str, and the value bytes, str or None")
            case _:
                size = f" of {len(pair)}" if isinstance(pair, list | tuple) else ""
                raise TypeError(f"header number {number} is a {type(pair).__name__}{size}, not a (name, value) pair")
        if not pairs[-1][0].isascii():
            pairs[-1][0].encode()  # raises here, because the client would raise without naming the event
    return pairs
