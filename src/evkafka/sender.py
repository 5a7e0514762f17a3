"""Senders: outbound events, declared like endpoints and called like functions."""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, Generic, Literal, Protocol, TypeVar, overload

from evkafka.config.arguments import is_nonempty_text, str_subclass_to_str
from evkafka.config.error_policy import topic_fault
from evkafka.config.time_limits import time_limit_text
from evkafka.endpoints.outbound import Outbound, name_and_docstring
from evkafka.endpoints.signature import local_names
from evkafka.exceptions import ConfigError, DeliveryError
from evkafka.producer import EVKafkaProducer, Headers, Key
from evkafka.records import RecordMetadata
from evkafka.serde.annotations import bytes_or_str_type
from evkafka.serde.cloudevents.writing import MODES, CloudEventsEnvelope, Mode
from evkafka.serde.formats.interface import Outgoing, ValueFormat

T = TypeVar("T")

THREAD_GRACE_S = 5.0
"""How much longer than the delivery timeout a thread waits for a send. Only a loop that does not run any more takes
that long."""


class _Unset:
    """The default of `key=`: None means "no key", so it cannot mean "not passed"."""


UNSET: Any = _Unset()


@dataclass(frozen=True, slots=True)
class OutboundOptions:
    """The options of an outbound event's declaration; see `Sender.event`.

    Attributes:
        key: returns the record's key for the payload; a str is the name of the payload's field.
        value_format: None for JSON.
    """

    topic: str | None
    summary: str | None
    description: str | None
    tags: tuple[str, ...]
    key: Callable[[Any], Key | None] | str | None
    value_format: ValueFormat | None = None


class OutboundEndpoint(Generic[T]):
    """A declared outbound event: a call with its payload sends it, and returns once the broker has confirmed it.

    Raises (when called):
        DeliveryError: it was not confirmed. Its subclass `EncodeError` (also a TypeError): the payload is not of the
            declared type, or cannot be encoded; nothing was sent.
        RuntimeError: the app is not running, or the call is not possible in this thread or loop; the message says
            what to do.
    """

    def __init__(
        self,
        sender: Sender,
        function: Callable[..., Any],
        event_type: str,
        options: OutboundOptions,
        names: Mapping[str, Any] | None,
    ) -> None:
        self.event_type = event_type
        self.topic = options.topic
        self.summary = options.summary
        self.tags = options.tags
        self.key = options.key
        self.value_format = options.value_format
        self.name, docstring = name_and_docstring(function)
        self.description = options.description if options.description is not None else docstring
        for attribute in ("__doc__", "__module__", "__name__", "__qualname__"):
            if (value := getattr(function, attribute, None)) is not None:
                setattr(self, attribute, value)
        self.__wrapped__ = function
        self._sender = sender
        self._outbound = Outbound(function, event_type, name=self.name, key=options.key, names=names)

    def __repr__(self) -> str:
        return f"OutboundEndpoint({self.event_type!r}, {self.name})"

    @property
    def payload_type(self) -> Any:
        """The payload's annotation; None if a name in it does not exist yet."""
        return self._outbound.payload_type

    @property
    def payload_name(self) -> str:
        return self._outbound.payload_name

    def resolve_annotation(self) -> None:
        """Resolve its annotation: by now every name in it must exist.

        Raises:
            ConfigError: a name does not exist.
        """
        self._outbound.resolve_encoder()

    def describe_event_for_format(self, topic: str | None) -> Outgoing | None:
        """The event for its format, sent to this topic if it has none of its own; None if its values are JSON, or bytes
        that are sent unchanged.

        Raises:
            ConfigError: a name in its annotation does not exist.
        """
        self.resolve_annotation()
        if self.value_format is None or bytes_or_str_type(self.payload_type) is bytes:
            return None
        return Outgoing(
            self._outbound.describe_for_errors(), self.topic or topic or "", self.event_type, self.payload_type
        )

    async def find_schema_and_set_encoder(self, topic: str | None) -> None:
        """Find the schema of its values in the registry.

        Raises:
            ConfigError, RegistryError: it is not there, or the registry cannot be asked.
        """
        event = self.describe_event_for_format(topic)
        if event is not None and self.value_format is not None:
            self._outbound.set_encoder(await self.value_format.encoder(event), self.value_format.media_type)

    @overload
    def __call__(
        self,
        event: T,
        /,
        *,
        key: Key | None = ...,
        partition: int | None = ...,
        timestamp_ms: int | None = ...,
        headers: Headers | None = ...,
    ) -> Coroutine[Any, Any, RecordMetadata]: ...

    @overload
    def __call__(
        self,
        *,
        key: Key | None = ...,
        partition: int | None = ...,
        timestamp_ms: int | None = ...,
        headers: Headers | None = ...,
        **event: T,
    ) -> Coroutine[Any, Any, RecordMetadata]: ...

    def __call__(
        self,
        *args: Any,
        key: Any = UNSET,
        partition: int | None = None,
        timestamp_ms: int | None = None,
        headers: Headers | None = None,
        **named: Any,
    ) -> Coroutine[Any, Any, RecordMetadata]:
        event = self._outbound.payload_from_arguments(args, named)
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            raise RuntimeError(
                f"{self.name} was called without a running event loop, as in a plain def endpoint: call"
                f" {self.name.rpartition('.')[2]}.from_thread(...) there"
            ) from None
        producer = self._sender.bound_producer_or_raise(self)
        if producer.loop is not None and producer.loop is not loop:
            raise RuntimeError(
                f"{self.name} was called in an event loop that is not the app's: call"
                f" {self.name.rpartition('.')[2]}.from_thread(...), in a thread"
            )
        return self._send_event(producer, event, key, partition, timestamp_ms, headers)

    @overload
    def from_thread(
        self,
        event: T,
        /,
        *,
        key: Key | None = ...,
        partition: int | None = ...,
        timestamp_ms: int | None = ...,
        headers: Headers | None = ...,
    ) -> RecordMetadata: ...

    @overload
    def from_thread(
        self,
        *,
        key: Key | None = ...,
        partition: int | None = ...,
        timestamp_ms: int | None = ...,
        headers: Headers | None = ...,
        **event: T,
    ) -> RecordMetadata: ...

    def from_thread(
        self,
        *args: Any,
        key: Any = UNSET,
        partition: int | None = None,
        timestamp_ms: int | None = None,
        headers: Headers | None = None,
        **named: Any,
    ) -> RecordMetadata:
        """Send from a thread, such as a plain `def` endpoint's, and wait there for the confirmation.

        Raises:
            RuntimeError: called in the app's own loop, which it would block forever.
        """
        event = self._outbound.payload_from_arguments(args, named)
        producer = self._sender.bound_producer_or_raise(self)
        loop = producer.loop
        if loop is None:  # another thread is stopping the producer
            raise self._sender.not_running_error(self)
        try:
            running = asyncio.get_running_loop()
        except RuntimeError:
            running = None
        if running is loop:
            raise RuntimeError(
                f"{self.name}.from_thread was called in the app's own event loop: await {self.name}(...)"
            )
        sending = self._send_event(producer, event, key, partition, timestamp_ms, headers)
        try:
            confirmed = asyncio.run_coroutine_threadsafe(sending, loop)
        except RuntimeError:  # the loop was closed in the meantime
            sending.close()
            raise self._sender.not_running_error(self) from None
        timeout_s = producer.settings.delivery_timeout_s
        try:
            return confirmed.result(timeout_s + THREAD_GRACE_S)
        except concurrent.futures.TimeoutError:
            if confirmed.done():
                raise  # a TimeoutError of the send itself
            confirmed.cancel()
            raise DeliveryError(
                f"{self.name} sent event {self.event_type!r} from a thread, but the app's event loop has not answered"
                f" within {time_limit_text(timeout_s, 'delivery_timeout_ms')}; it may have been written",
                topic=self._topic_to_send_to(producer),
                event_type=self.event_type,
                may_have_been_written=True,
            ) from None

    async def _send_event(
        self,
        producer: EVKafkaProducer,
        event: Any,
        key: Any,
        partition: int | None,
        timestamp_ms: int | None,
        headers: Headers | None,
    ) -> RecordMetadata:
        topic = self._topic_to_send_to(producer)
        value = self._outbound.value(event, topic)
        if key is UNSET:
            key = self._outbound.create_key(event, topic)
        envelope = self._sender.envelope
        if envelope is None:
            return await producer.send_event(value, self.event_type, topic, key, partition, timestamp_ms, headers)
        now_ms = producer.now_ms() if timestamp_ms is None else timestamp_ms
        key, headers = self._outbound.create_key_and_headers(envelope, value, key, headers, topic, now_ms)
        queued = await producer.enqueue_event(
            value, self.event_type, topic, key, partition, timestamp_ms, headers, envelope.wrap
        )
        return await queued

    def _topic_to_send_to(self, producer: EVKafkaProducer) -> str:
        return self.topic or producer.settings.topic or ""


class OutboundDecorator(Protocol):
    def __call__(self, fn: Callable[[T], Any], /) -> OutboundEndpoint[T]: ...


class Sender:
    """Outbound events of one producer: declare them, pass the sender to `app.add_producer`, call them.

    Args:
        envelope: "cloudevents" sends CloudEvents 1.0; None (default) sends the payload with the `Event-Type` header.
            Headers of a call that begin with `ce_` are attributes: `headers={"ce_subject": "invoice/1"}`.
        source: the attribute `source` of its CloudEvents, a URI reference such as "/billing".
        mode: of CloudEvents. "binary" (default): attributes are headers, and the value is the data. "structured": the
            value is a JSON object with attributes and data.
        value_format: the format of the values, for events that name none themselves: `Avro`, `Protobuf` or `JsonSchema`
            from evkafka.formats. Default: "json".

    Raises:
        ConfigError: an argument is invalid, or is missing.
    """

    def __init__(
        self,
        *,
        envelope: Literal["cloudevents"] | None = None,
        source: str | None = None,
        mode: Literal["binary", "structured"] = "binary",
        value_format: ValueFormat | Literal["json"] | None = None,
    ) -> None:
        self._format = _check_and_return_value_format(value_format, "Sender")
        self.envelope = _check_and_create_envelope_settings(envelope, source, mode)
        self._endpoints: list[OutboundEndpoint[Any]] = []
        self._producer: EVKafkaProducer | None = None

    def event(
        self,
        event_type: str,
        *,
        topic: str | None = None,
        summary: str | None = None,
        description: str | None = None,
        tags: list[str] | None = None,
        key: Callable[[Any], Key | None] | None = None,
        key_field: str | None = None,
        value_format: ValueFormat | Literal["json"] | None = None,
    ) -> OutboundDecorator:
        """Declare an outbound event: calling the decorated function with a payload sends it. Its body is not run.

        Args:
            event_type: the value of the `Event-Type` header.
            topic: default: the `topic` of the producer's configuration.
            key: returns the record's key for the payload.
            key_field: the name of the payload's field (or item) that is the key, instead of `key`.
            value_format: the format of the event's values; default: the sender's.

        Raises:
            ConfigError: the function does not take exactly one payload, or the event type is declared already for this
                topic.
        """
        _check_event_options(event_type, topic, key, key_field)
        event_type, topic = str_subclass_to_str(event_type), str_subclass_to_str(topic) if topic is not None else None
        own_key = str_subclass_to_str(key_field) if key_field is not None else key
        own_format = (
            self._format
            if value_format is None
            else _check_and_return_value_format(value_format, f"event {event_type!r}")
        )
        options = OutboundOptions(topic, summary, description, tuple(tags or ()), own_key, own_format)

        def declare(fn: Callable[[T], Any], /) -> OutboundEndpoint[T]:
            endpoint: OutboundEndpoint[T] = OutboundEndpoint(self, fn, event_type, options, local_names())
            self._add_endpoint(endpoint)
            return endpoint

        return declare

    def _add_endpoint(self, endpoint: OutboundEndpoint[Any]) -> None:
        for other in self._endpoints:
            if (other.event_type, other.topic) == (endpoint.event_type, endpoint.topic):
                raise ConfigError(
                    f"event type {endpoint.event_type!r} is declared twice for the same topic in this Sender: "
                    f"by {other.name} and by {endpoint.name}"
                )
        self._endpoints.append(endpoint)

    @property
    def endpoints(self) -> tuple[OutboundEndpoint[Any], ...]:
        return tuple(self._endpoints)

    @property
    def formats(self) -> list[ValueFormat]:
        """The formats of its events, each once."""
        found = [endpoint.value_format for endpoint in self._endpoints if endpoint.value_format is not None]
        return list({id(one): one for one in found}.values())

    async def find_schemas_and_set_encoders(self, topic: str | None) -> None:
        """Find the schemas of its events in their registries.

        Args:
            topic: of events that name none themselves.

        Raises:
            ConfigError, RegistryError: a schema is not there, or a registry cannot be asked.
        """
        for endpoint in self._endpoints:
            await endpoint.find_schema_and_set_encoder(topic)

    def bind(self, producer: EVKafkaProducer) -> None:
        """Send over this producer from now on. The app calls this once the producer has started.

        Raises:
            ConfigError: as `check_declared_events`, or another producer is bound.
        """
        self.check_declared_events(producer)
        if self._producer is not None:
            raise ConfigError("this Sender already uses another producer: create a second Sender")
        self._producer = producer

    @property
    def is_bound(self) -> bool:
        """True while there is a producer to send over."""
        return self._producer is not None

    def unbind(self) -> None:
        self._producer = None

    def check_declared_events(self, producer: EVKafkaProducer) -> None:
        """Check that every event can be sent over this producer.

        Raises:
            ConfigError: an event has no topic, or a name in its annotation does not exist.
        """
        for endpoint in self._endpoints:
            endpoint.resolve_annotation()
        without_topic = [endpoint.name for endpoint in self._endpoints if endpoint.topic is None]
        if without_topic and producer.settings.topic is None:
            raise ConfigError(
                f"{', '.join(without_topic)}: no topic. Pass `topic=` to @sender.event, or set `topic` in the"
                " producer's config"
            )

    def bound_producer_or_raise(self, endpoint: OutboundEndpoint[Any]) -> EVKafkaProducer:
        """The producer to send over.

        Raises:
            RuntimeError: there is none, because the app is not running, or only its lifespan is.
        """
        if self._producer is None:
            raise self.not_running_error(endpoint)
        return self._producer

    @staticmethod
    def not_running_error(endpoint: OutboundEndpoint[Any]) -> RuntimeError:
        return RuntimeError(
            f"{endpoint.name} cannot send now: its producer starts after the lifespan and stops before its end. Send"
            " from an endpoint or a task of the running app; in the lifespan, use a separate EVKafkaProducer. (Was"
            " the Sender passed to app.add_producer?)"
        )


def _check_and_create_envelope_settings(envelope: object, source: object, mode: Mode) -> CloudEventsEnvelope | None:
    match envelope:
        case None if source is None and mode == "binary":
            return None
        case None:
            raise ConfigError('Sender: source and mode belong to an envelope: Sender(envelope="cloudevents", ...)')
        case "cloudevents":
            pass
        case _:
            raise ConfigError(f'Sender: envelope is "cloudevents" or None, not {envelope!r}')
    if not isinstance(source, str) or not source:
        raise ConfigError(
            "Sender: CloudEvents need a source, a URI reference that names the sender:"
            f' Sender(envelope="cloudevents", source="/billing"); got {source!r}'
        )
    if mode not in MODES:
        raise ConfigError(f"Sender: mode is {' or '.join(map(repr, MODES))}, not {mode!r}")
    return CloudEventsEnvelope(source, mode)


def _check_and_return_value_format(given: object, where: str) -> ValueFormat | None:
    match given:
        case None | "json":
            return None
        case ValueFormat() if not isinstance(given, type):
            return given
        case _:
            raise ConfigError(
                f"{where}: value_format is 'json', or Avro(registry), Protobuf(registry) or JsonSchema(registry) from"
                f" evkafka.formats, not {given!r}"
            )


def _check_event_options(event_type: str, topic: str | None, key: object, key_field: str | None) -> None:
    if not is_nonempty_text(event_type):
        raise ConfigError(f"an event type must be a non-empty str; got {event_type!r}: @sender.event('OrderPlaced')")
    if key is not None and key_field is not None:
        raise ConfigError(f"event {event_type!r}: give key or key_field, not both")
    if key is not None and not callable(key):
        raise ConfigError(
            f"event {event_type!r}: key must be a callable that returns the key for a payload, got {key!r}; to use a"
            " field of the payload, give its name as key_field"
        )
    if topic is not None and (fault := topic_fault(topic)):
        raise ConfigError(f"event {event_type!r}: topic: {fault}")
