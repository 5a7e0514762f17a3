"""Sending: an event sent is an event confirmed by the broker, or an error raised, within its time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, Protocol, Self
from uuid import UUID

from evkafka.config import producer_settings
from evkafka.config.keys import ProducerConfig
from evkafka.exceptions import DeliveryError, EncodeError
from evkafka.records import RecordMetadata
from evkafka.runtime.backend import ambient
from evkafka.runtime.clock import SystemClock, within
from evkafka.runtime.deadline import RESERVE_S, sending_time_s
from evkafka.runtime.ports import Clock, Cluster, RecordSink
from evkafka.serde.encoding import encode
from evkafka.telemetry import EventPublished, Telemetry
from evkafka_command.forks import undo_in_children

TYPE_HEADER = "Event-Type"

Key = str | bytes | int | UUID
Headers = Mapping[str, bytes | str | None] | Sequence[tuple[str, bytes | str | None]]


Pairs = list[tuple[str, bytes | None]]

Teller = Callable[[RecordMetadata | None, BaseException | None], None]
"""Is called with where the record stands, or with why it was not confirmed."""


class SendSpans(Protocol):
    """Makes a trace's spans of sends."""

    def sending(
        self, topic: str, client_id: str, headers: Pairs
    ) -> Callable[[RecordMetadata | None, BaseException | None], None]:
        """A span begins, and its context goes into the headers; what is returned is called at the send's end."""


class EVKafkaProducer:
    """Sends events and waits for the broker's confirmation. Use it as `async with`, or `start()` and `stop()`.

    It belongs to the event loop that it is started in. Records that are sent to one partition from one task, or
    queued one after the other, stand there in this order. What is queued is bounded: for each partition the batch
    under way and one more (`max_batch_size`); the next call then waits for room.

    Args:
        config: see `ProducerConfig`.
        cluster, clock: what it runs on; by default a real Kafka, or what the test kit has put in its place.
        telemetry, name, spans: whom it tells of what it has sent, and as whom; an app's producers do so.

    Raises:
        ConfigError: the configuration cannot work; all of its faults in one error.
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
    ) -> None:
        self.settings = producer_settings(config)
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
            BrokerUnavailable, BrokerRefused: what kept it from it.
            RuntimeError: it has been started already.
        """
        if self._loop is not None:
            raise RuntimeError("this producer has been started already")
        self._loop = asyncio.get_running_loop()
        try:
            sink = self._place().sink(self.settings)
            await sink.start()
        except BaseException:
            self._loop = None
            raise
        self._sink = sink
        self._unregister_fork = undo_in_children(self._belong_to_parent)

    def _belong_to_parent(self) -> None:
        """In a forked child: nothing can be sent over the copy, whose loop runs nowhere."""
        self._sink = self._loop = None

    async def flush(self) -> None:
        """Wait until everything that was queued is confirmed or has failed, each within its own time.

        Raises:
            DeliveryError: that took longer than the delivery timeout.
        """
        timeout_s = self.settings.delivery_timeout_s
        try:
            await within(self._clock or SystemClock(), self._running().flush(), timeout_s + RESERVE_S)
        except TimeoutError:
            raise DeliveryError(
                f"the flush did not end within {timeout_s:g} s (delivery_timeout_ms)",
                topic=self.settings.topic or "",
                event_type=None,
                may_have_been_written=True,
            ) from None

    async def stop(self, *, timeout_s: float | None = None) -> None:
        """Flush and close. Never hangs; a second stop does nothing; it may be started again afterwards.

        Args:
            timeout_s: what is not confirmed by then fails with a `DeliveryError`, in seconds; None takes the
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
        """Why nothing can be sent at the moment, as far as it is known; empty while it can."""
        return "it is not running" if self._sink is None else self._sink.unavailable_reason()

    @property
    def loop(self) -> asyncio.AbstractEventLoop | None:
        """The loop that it was started in, and must be used in; None while it does not run."""
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
        """Send one event, and return where it stands in the log once the broker has confirmed it.

        Args:
            event: dict, str, bytes, a pydantic model (by alias), or what pydantic can serialize; None is a tombstone,
                which needs a key.
            event_type: goes into the `Event-Type` header, and wins over a header of that name.
            topic: default: the configuration's.
            key: bytes as they are, str as UTF-8, int and UUID by `str()`. Records of one key go to one partition,
                the same that Java's client takes.
            partition: default: chosen by the key; without one, at random.
            timestamp_ms: milliseconds since the epoch; default: now.
            headers: a mapping, or pairs where a name may stand twice; str values go out as UTF-8.

        Raises:
            DeliveryError: it was not confirmed within `delivery_timeout_ms` (inside an endpoint: within what is left
                of the attempt's time, less a second, or less a half of it where less than two are left), or was
                refused; `may_have_been_written` says whether it may stand in the log. One kind of it is
                `EncodeError`: the event cannot be made into bytes.
            RuntimeError: there is no topic, the producer is not running, or is another loop's.
            TypeError, ValueError: an argument cannot be what it is.
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
    ) -> asyncio.Future[RecordMetadata]:
        """Queue one event, for pipelining: the future ends as `send_event` would, with its result or error.

        Returns once there is room for it. Cancelling the future takes back an event that has not been handed on.
        """
        sink = self._running()
        to = topic or self.settings.topic
        if to is None:
            raise RuntimeError(
                f"event {event_type!r} has no topic: give `topic=` to the send, or `topic` in the producer's config"
            )
        _check(event_type, partition, timestamp_ms)
        value, own_key, pairs = _encoded(event, event_type, to, key, headers)
        timeout_s = self._time_for(event_type, to)
        tellers = self._tellers(to, event_type, pairs)
        sending = sink.send(
            to,
            value=value,
            key=own_key,
            partition=partition,
            timestamp_ms=timestamp_ms,
            headers=pairs,
            event_type=event_type,
            timeout_s=timeout_s,
        )
        return await (_told(sending, tellers) if tellers else sending)

    def _tellers(self, topic: str, event_type: str, headers: Pairs) -> list[Teller]:
        """Who wants to know how this send ends. Tracing writes into its headers."""
        tellers: list[Teller] = []
        if self._spans is not None:
            tellers.append(self._spans.sending(topic, self.settings.connection.client_id, headers))
        if self._telemetry is not None and self._telemetry.wants(EventPublished):
            telemetry, began_s = self._telemetry, time.monotonic()

            def tell(_: RecordMetadata | None, error: BaseException | None) -> None:
                if isinstance(error, asyncio.CancelledError):
                    return  # its sender took it back
                telemetry.emit(EventPublished(self.name, topic, event_type, time.monotonic() - began_s, error))

            tellers.append(tell)
        return tellers

    async def send_events(
        self,
        events: Iterable[Any],
        event_type: str,
        topic: str | None = None,
        key: Key | Callable[[Any], Key | None] | None = None,
        headers: Headers | None = None,
    ) -> list[RecordMetadata]:
        """Send events of one type together, in order; returns when all are confirmed, with their places in order.

        Args:
            key: one key for all, or a callable that makes each event's key of the event.

        Raises:
            DeliveryError: the first one that failed, once all have ended; a note tells how many did. The others are
                written.
        """
        queued: list[asyncio.Future[RecordMetadata]] = []
        failures: list[BaseException] = []
        for event in events:
            try:
                own_key = key(event) if callable(key) else key
                queued.append(await self.enqueue_event(event, event_type, topic, own_key, headers=headers))
            except Exception as error:  # whatever it is, those before it are on their way and are waited for
                failures.append(error)
                break
        ends = await asyncio.gather(*queued, return_exceptions=True)
        confirmed = [end for end in ends if isinstance(end, RecordMetadata)]
        failures = [end for end in ends if isinstance(end, BaseException)] + failures
        if failures:
            failures[0].add_note(f"of this batch, {len(confirmed)} events were confirmed and {len(failures)} failed")
            raise failures[0]
        return confirmed

    # ------------------------------------------------------------------ what a send needs

    def _place(self) -> Cluster:
        """What it was given; else what stands in for Kafka where it is started; else Kafka."""
        stand_in = ambient.get()
        if stand_in is None:
            return self._cluster or _kafka()
        self._clock = self._clock or stand_in.clock
        return self._cluster or stand_in.cluster

    def _running(self) -> RecordSink:
        if self._sink is None:
            raise RuntimeError(
                "the producer is not running: send inside `async with EVKafkaProducer(config)`, "
                "or between its start() and stop()"
            )
        if asyncio.get_running_loop() is not self._loop:
            raise RuntimeError(
                "the producer was started in another event loop, and works in that one only: make one for this loop, "
                "or hand the call over with asyncio.run_coroutine_threadsafe(producer.send_event(...), producer.loop)"
            )
        return self._sink

    def _time_for(self, event_type: str, topic: str) -> float | None:
        """How long this send may take; None for as long as any."""
        left_s = sending_time_s()
        if left_s is None or left_s >= self.settings.delivery_timeout_s:
            return None
        if left_s <= 0:
            raise DeliveryError(
                f"event {event_type!r} to topic {topic!r} was not sent: the endpoint has run past its time limit "
                "(max_endpoint_exec_time_ms, or its timeout_ms)",
                topic=topic,
                event_type=event_type,
                may_have_been_written=False,
            )
        return left_s


async def _told(
    sending: Awaitable[asyncio.Future[RecordMetadata]], tellers: Sequence[Teller]
) -> asyncio.Future[RecordMetadata]:
    """The send, its end told to those who want to know."""

    def ended(future: asyncio.Future[RecordMetadata]) -> None:
        if future.cancelled():
            tell(None, asyncio.CancelledError())
        elif (error := future.exception()) is not None:
            tell(None, error)
        else:
            tell(future.result(), None)

    def tell(metadata: RecordMetadata | None, error: BaseException | None) -> None:
        for teller in tellers:
            teller(metadata, error)

    try:
        future = await sending
    except BaseException as error:
        tell(None, error)
        raise
    future.add_done_callback(ended)
    return future


# ---------------------------------------------------------------------------- into bytes


def _check(event_type: Any, partition: Any, timestamp_ms: Any) -> None:
    if not isinstance(event_type, str) or not event_type:
        raise TypeError(f"event_type is a str, and not empty; got {event_type!r}")
    if partition is not None and (type(partition) is not int or partition < 0):
        raise ValueError(f"event {event_type!r}: partition is an int from 0, or None; got {partition!r}")
    if timestamp_ms is not None and (type(timestamp_ms) is not int or timestamp_ms < 0):
        raise ValueError(
            f"event {event_type!r}: timestamp_ms is an int, milliseconds since the epoch, or None; got {timestamp_ms!r}"
        )


def _encoded(
    event: Any, event_type: str, topic: str, key: Key | None, headers: Headers | None
) -> tuple[bytes | None, bytes | None, Pairs]:
    """Event, key and headers as they go out.

    Raises:
        EncodeError: naming the event, and what is wrong with it.
    """
    try:
        if event is None and key is None:
            raise ValueError("None is a tombstone, which needs a key")
        return None if event is None else encode(event), key_bytes(key), header_list(headers, event_type)
    except (TypeError, ValueError, RecursionError) as error:
        raise EncodeError(
            f"event {event_type!r} ({type(event).__name__}) to topic {topic!r} cannot be made into bytes: "
            f"{str(error) or type(error).__name__}; nothing was sent",
            topic=topic,
            event_type=event_type,
        ) from error


def key_bytes(key: Key | None) -> bytes | None:
    """A key as it goes out: bytes as they are, str as UTF-8, int and UUID by `str()`.

    Raises:
        TypeError: it is something else.
    """
    match key:
        case None:
            return None
        case bytes():
            return key
        case str():
            return key.encode()
        case int() | UUID() if not isinstance(key, bool):
            return str(key).encode()
        case _:
            raise TypeError(f"a key is bytes, str, int, UUID or None, not {type(key).__name__}")


def header_list(headers: Headers | None, event_type: str) -> Pairs:
    """Headers as they go out, the event type first; a given `Event-Type` gives way to the argument.

    Raises:
        TypeError: as `header_pairs`.
    """
    return [(TYPE_HEADER, event_type.encode()), *(pair for pair in header_pairs(headers) if pair[0] != TYPE_HEADER)]


def header_pairs(headers: Headers | None) -> Pairs:
    """Given headers as pairs, str values as UTF-8.

    Raises:
        TypeError: they are no mapping and no pairs, a name is no str, or a value is neither bytes, str nor None.
        ValueError: a name or a value has no UTF-8.
    """
    if not headers:
        return []
    given: Any = headers.items() if isinstance(headers, Mapping) else headers
    if isinstance(given, str | bytes) or not isinstance(given, Iterable):
        raise TypeError(f"headers are a mapping, or (name, value) pairs; got {type(given).__name__}")
    pairs: Pairs = []
    for number, pair in enumerate(given):
        match pair:
            case (str() as name, bytes() | None as value):
                pairs.append((name, value))
            case (str() as name, str() as text):
                pairs.append((name, text.encode()))
            case (name, _):
                raise TypeError(f"header {name!r}: a name is a str, a value bytes, str or None")
            case _:
                size = f" of {len(pair)}" if isinstance(pair, list | tuple) else ""
                raise TypeError(f"header number {number} is a {type(pair).__name__}{size}, not a (name, value) pair")
        if not pairs[-1][0].isascii():
            pairs[-1][0].encode()  # the client does so when it is too late to say which event it was
    return pairs


def _kafka() -> Cluster:
    from evkafka.kafka import KafkaCluster

    return KafkaCluster()
