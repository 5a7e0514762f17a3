"""Sending: an event sent is an event confirmed by the broker, or an error raised, within its time."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self
from uuid import UUID

from evkafka.codec import encode
from evkafka.config import producer_settings
from evkafka.exceptions import BrokerError, DeliveryError
from evkafka.keys import ProducerConfig
from evkafka.ports import Clock, Cluster, RecordMetadata, RecordSink
from evkafka.runtime.clock import SystemClock, within

TYPE_HEADER = "Event-Type"

Key = str | bytes | int | UUID
Headers = Mapping[str, bytes | str | None] | Sequence[tuple[str, bytes | None]]


class EVKafkaProducer:
    """Sends events and waits for the broker's confirmation. Use it as `async with`, or `start()` and `stop()`.

    Args:
        config: see `ProducerConfig`.
        cluster, clock: what it runs on; a real Kafka by default.

    Raises:
        ConfigError: the configuration cannot work; all of its faults in one error.
    """

    def __init__(self, config: ProducerConfig, *, cluster: Cluster | None = None, clock: Clock | None = None) -> None:
        self.settings = producer_settings(config)
        self._cluster = cluster
        self._clock = clock or SystemClock()
        self._sink: RecordSink | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    # ------------------------------------------------------------------ life

    async def start(self) -> None:
        """Connect and log in.

        Raises:
            BrokerUnavailable, BrokerRefused: what kept it from it.
            RuntimeError: it has been started already.
        """
        if self._sink is not None:
            raise RuntimeError("this producer has been started already")
        sink = (self._cluster or _kafka()).sink(self.settings)
        await sink.start()
        self._sink = sink
        self._loop = asyncio.get_running_loop()

    async def flush(self) -> None:
        """Wait until everything that was queued is confirmed or has failed.

        Raises:
            DeliveryError: the delivery timeout ran out before.
        """
        try:
            await within(self._clock, self._running().flush(), self.settings.delivery_timeout_s)
        except TimeoutError:
            raise DeliveryError(
                f"the flush did not end within {self.settings.delivery_timeout_s:g} s (delivery_timeout_ms)",
                topic="",
                event_type=None,
                may_have_been_written=True,
            ) from None

    async def stop(self) -> None:
        """Flush and close, within the delivery timeout. Never hangs; a second stop does nothing."""
        sink, self._sink = self._sink, None
        if sink is not None:
            await sink.stop(timeout_s=self.settings.delivery_timeout_s)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.stop()

    @property
    def loop(self) -> asyncio.AbstractEventLoop | None:
        """The loop that it was started in, and must be used in."""
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
            event: dict (by `json.dumps`), str, bytes, a pydantic model, or what pydantic can serialize; None is a
                tombstone.
            event_type: goes into the `Event-Type` header, and wins over a header of that name.
            topic: default: the configuration's.
            key: bytes as they are, str as UTF-8, int and UUID by `str()`. Records of one key go to one partition,
                the same as Java's default partitioner takes.
            timestamp_ms: milliseconds since the epoch; default: now.

        Raises:
            DeliveryError: it was not confirmed; `may_have_been_written` says whether it may stand in the log.
            RuntimeError: there is no topic, or the producer is not running.
            TypeError, ValueError: the event, key or a header cannot be made into bytes; nothing was sent.
        """
        confirmed = await self._queue(event, event_type, topic, key, partition, timestamp_ms, headers)
        return await confirmed

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
        """Queue one event, for pipelining: the future ends as `send_event` would, with its result or error."""
        confirmed = await self._queue(event, event_type, topic, key, partition, timestamp_ms, headers)
        return asyncio.ensure_future(confirmed)

    async def send_events(
        self, events: Iterable[Any], event_type: str, topic: str | None = None, key: Key | None = None
    ) -> list[RecordMetadata]:
        """Send events of one type together, in order; returns when all are confirmed.

        Raises:
            DeliveryError: the first that failed; the others may have been written.
        """
        futures = [await self.enqueue_event(event, event_type, topic, key) for event in events]
        ends = await asyncio.gather(*futures, return_exceptions=True)
        for end in ends:
            if isinstance(end, BaseException):
                raise end
        return [end for end in ends if isinstance(end, RecordMetadata)]

    async def _queue(
        self,
        event: Any,
        event_type: str,
        topic: str | None,
        key: Key | None,
        partition: int | None,
        timestamp_ms: int | None,
        headers: Headers | None,
    ) -> Awaitable[RecordMetadata]:
        """Everything that can be wrong with the event is said before anything is sent."""
        sink = self._running()
        to = topic or self.settings.topic
        if to is None:
            raise RuntimeError(
                f"event {event_type!r} has no topic: give `topic=` to the send, or `topic` in the producer's config"
            )
        began_s = self._clock.now()
        try:
            queued = sink.send(
                to,
                value=None if event is None else _encode(event, event_type),
                key=key_bytes(key),
                partition=partition,
                timestamp_ms=timestamp_ms,
                headers=header_list(headers, event_type),
            )
            confirmed = await within(self._clock, queued, self.settings.delivery_timeout_s)
        except TimeoutError:
            raise self._too_late(to, event_type, may_have_been_written=False) from None
        except BrokerError as error:
            raise _delivery_error(error, to, event_type) from error
        return self._confirmation(confirmed, to, event_type, began_s)

    async def _confirmation(
        self, confirmed: asyncio.Future[RecordMetadata], topic: str, event_type: str, began_s: float
    ) -> RecordMetadata:
        left_s = self.settings.delivery_timeout_s - (self._clock.now() - began_s)
        try:
            # Shielded: the client goes on with a record that it has taken, whatever becomes of the caller.
            return await within(self._clock, asyncio.shield(confirmed), max(left_s, 0.0))
        except TimeoutError:
            confirmed.add_done_callback(_retrieve)
            raise self._too_late(topic, event_type, may_have_been_written=True) from None
        except BrokerError as error:
            raise _delivery_error(error, topic, event_type) from error

    def _too_late(self, topic: str, event_type: str, *, may_have_been_written: bool) -> DeliveryError:
        written = "it may have been written" if may_have_been_written else "it was not written"
        return DeliveryError(
            f"event {event_type!r} to topic {topic!r} was not confirmed within "
            f"{self.settings.delivery_timeout_s:g} s (delivery_timeout_ms); {written}",
            topic=topic,
            event_type=event_type,
            may_have_been_written=may_have_been_written,
        )

    def _running(self) -> RecordSink:
        if self._sink is None:
            raise RuntimeError(
                "the producer is not running: send inside `async with EVKafkaProducer(config)`, "
                "or between its start() and stop()"
            )
        return self._sink


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


def header_list(headers: Headers | None, event_type: str) -> list[tuple[str, bytes | None]]:
    """Headers as they go out, the event type first; a given `Event-Type` gives way to the argument.

    Raises:
        TypeError: a name is no str, or a value neither bytes, str nor None.
    """
    pairs: Iterable[tuple[Any, Any]] = headers.items() if isinstance(headers, Mapping) else headers or ()
    found: list[tuple[str, bytes | None]] = [(TYPE_HEADER, event_type.encode())]
    for name, value in pairs:
        if not isinstance(name, str) or not (value is None or isinstance(value, bytes | str)):
            raise TypeError(f"header {name!r}: a name is a str, a value bytes, str or None")
        if name != TYPE_HEADER:
            found.append((name, value.encode() if isinstance(value, str) else value))
    return found


def _encode(event: Any, event_type: str) -> bytes:
    try:
        return encode(event)
    except (TypeError, ValueError) as error:
        raise type(error)(f"event {event_type!r} cannot be serialized: {type(event).__name__}") from error


def _delivery_error(error: BrokerError, topic: str, event_type: str) -> DeliveryError:
    return DeliveryError(
        f"event {event_type!r} to topic {topic!r} was not delivered: {error}",
        topic=topic,
        event_type=event_type,
        may_have_been_written=getattr(error, "may_have_been_written", False),
    )


def _retrieve(future: asyncio.Future[RecordMetadata]) -> None:
    if not future.cancelled():
        with contextlib.suppress(BrokerError):
            future.result()


def _kafka() -> Cluster:
    from evkafka.runtime.kafka import KafkaCluster

    return KafkaCluster()
