"""Senders: outbound endpoints, declared like handlers and called like functions."""

from __future__ import annotations

import asyncio
import inspect
import typing
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Generic, Protocol, TypeVar, overload

from evkafka.codec import encoder_for
from evkafka.exceptions import ConfigError
from evkafka.ports import RecordMetadata
from evkafka.runtime.producer import EVKafkaProducer, Headers, Key

T = TypeVar("T")

OPTIONS = ("key", "partition", "timestamp_ms", "headers")


class _Unset:
    """The default of `key=`: None means "no key", so it cannot stand for "not given"."""


UNSET: Any = _Unset()


class OutboundEndpoint(Generic[T]):
    """A declared event: calling it with its payload sends it, and returns once the broker has confirmed it.

    Raises (when called):
        DeliveryError: it was not confirmed.
        TypeError: the payload is not of the declared type; nothing was sent.
        RuntimeError: the app is not running, or the call comes from where it cannot be made; the sentence says
            what to do.
    """

    def __init__(
        self,
        sender: Sender,
        function: Callable[..., Any],
        event_type: str,
        *,
        topic: str | None,
        summary: str | None,
        description: str | None,
        tags: Sequence[str],
        key: Callable[[Any], Key | None] | None,
    ) -> None:
        self.event_type = event_type
        self.topic = topic
        self.summary = summary
        self.description = description if description is not None else inspect.getdoc(function)
        self.tags = tuple(tags)
        self.name = f"{function.__module__}.{function.__qualname__}"
        self.__doc__ = function.__doc__
        self.__wrapped__ = function
        self._sender = sender
        self._key = key
        self.payload_name, self.payload = _payload(function, self.name, event_type)
        try:
            self._encode = encoder_for(self.payload)
        except Exception as error:  # pydantic's many ways to say that it cannot make a schema of a type
            raise ConfigError(f"{self.name}: pydantic cannot serialize {self.payload!r}: {error}") from error

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
        event = self._event(args, named)
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            raise RuntimeError(
                f"{self.name} was called where no event loop runs, as in a plain def endpoint: "
                f"call {self.name.rpartition('.')[2]}.from_thread(...) there"
            ) from None
        producer = self._sender.producer(self)
        if producer.loop is not None and producer.loop is not loop:
            raise RuntimeError(
                f"{self.name} was called in another event loop than the app's: call "
                f"{self.name.rpartition('.')[2]}.from_thread(...), in a thread of that loop"
            )
        return self._send(producer, event, key, partition, timestamp_ms, headers)

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
        """Send from a thread, a plain def endpoint's for one, and wait for the confirmation there.

        Raises:
            RuntimeError: called in the app's own loop, which it would block for ever.
        """
        event = self._event(args, named)
        producer = self._sender.producer(self)
        assert producer.loop is not None
        try:
            running = asyncio.get_running_loop()
        except RuntimeError:
            running = None
        if running is producer.loop:
            raise RuntimeError(
                f"{self.name}.from_thread was called in the app's own event loop: await {self.name}(...)"
            )
        sending = self._send(producer, event, key, partition, timestamp_ms, headers)
        return asyncio.run_coroutine_threadsafe(sending, producer.loop).result()

    def _event(self, args: tuple[Any, ...], named: dict[str, Any]) -> Any:
        """The payload, given positionally or by its name."""
        if len(args) == 1 and not named:
            return args[0]
        if not args and set(named) == {self.payload_name}:
            return named[self.payload_name]
        raise TypeError(
            f"{self.name} takes one payload, positional or as {self.payload_name}=, and {', '.join(OPTIONS)}"
        )

    async def _send(
        self,
        producer: EVKafkaProducer,
        event: Any,
        key: Any,
        partition: int | None,
        timestamp_ms: int | None,
        headers: Headers | None,
    ) -> RecordMetadata:
        try:
            value = self._encode(event)
        except TypeError as error:
            raise TypeError(f"{self.name} sends {self.event_type!r}: {error}; nothing was sent") from None
        if key is UNSET:
            key = self._key(event) if self._key is not None else None
        return await producer.send_event(value, self.event_type, self.topic, key, partition, timestamp_ms, headers)


class OutboundDecorator(Protocol):
    def __call__(self, fn: Callable[[T], Any], /) -> OutboundEndpoint[T]: ...


class Sender:
    """Outbound events of one producer. Declare them, give the sender to `app.add_producer`, call them."""

    def __init__(self) -> None:
        self._endpoints: dict[str, OutboundEndpoint[Any]] = {}
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
    ) -> OutboundDecorator:
        """Declare an outbound event; the decorated function, called with its payload, sends it. Its body is not run.

        Args:
            event_type: goes into the `Event-Type` header.
            topic: default: the producer configuration's.
            key: makes the record's key of the payload.
            key_field: the payload's field (or item) that is the key, instead of `key`.

        Raises:
            ConfigError: the signature is not one payload's, or the event type is declared already.
        """
        if key is not None and key_field is not None:
            raise ConfigError(f"event {event_type!r}: give key or key_field, not both")

        def declare(fn: Callable[[T], Any], /) -> OutboundEndpoint[T]:
            if event_type in self._endpoints:
                known = self._endpoints[event_type].name
                raise ConfigError(f"event type {event_type!r} is declared twice in this Sender: by {known} and {fn!r}")
            endpoint: OutboundEndpoint[T] = OutboundEndpoint(
                self,
                fn,
                event_type,
                topic=topic,
                summary=summary,
                description=description,
                tags=tags or (),
                key=_field(key_field) if key_field is not None else key,
            )
            self._endpoints[event_type] = endpoint
            return endpoint

        return declare

    @property
    def endpoints(self) -> tuple[OutboundEndpoint[Any], ...]:
        return tuple(self._endpoints.values())

    def bind(self, producer: EVKafkaProducer) -> None:
        """Send over this producer from now on. Called by the app, once the producer has started.

        Raises:
            ConfigError: an event has no topic, or another producer is bound.
        """
        self.check_topics(producer.settings.topic)
        if self._producer is not None:
            raise ConfigError("this Sender sends over another producer already: make a second Sender")
        self._producer = producer

    @property
    def bound(self) -> bool:
        """True while there is a producer to send over."""
        return self._producer is not None

    def unbind(self) -> None:
        self._producer = None

    def check_topics(self, default: str | None) -> None:
        """Every event has a topic.

        Raises:
            ConfigError: naming those that have none.
        """
        homeless = [e.name for e in self._endpoints.values() if e.topic is None] if default is None else []
        if homeless:
            raise ConfigError(
                f"{', '.join(homeless)}: no topic. Give `topic=` to @sender.event, or `topic` in the producer's config"
            )

    def producer(self, endpoint: OutboundEndpoint[Any]) -> EVKafkaProducer:
        """The producer to send over.

        Raises:
            RuntimeError: there is none: the app is not running, or only its lifespan is.
        """
        if self._producer is None:
            raise RuntimeError(
                f"{endpoint.name} cannot send now: its producer starts after the lifespan and stops before its end. "
                "Send from a handler or a task of the running app; in the lifespan, use an EVKafkaProducer of its own. "
                "(Has the Sender been given to app.add_producer?)"
            )
        return self._producer


def _payload(function: Callable[..., Any], name: str, event_type: str) -> tuple[str, Any]:
    """The one payload argument's name and type.

    Raises:
        ConfigError: there is not exactly one, or it is named like an option.
    """
    parameters = list(inspect.signature(function).parameters.values())
    if len(parameters) != 1 or parameters[0].kind in (parameters[0].VAR_POSITIONAL, parameters[0].VAR_KEYWORD):
        raise ConfigError(
            f"{name} for event {event_type!r} takes one payload: "
            f"`async def {function.__name__}(order: Order) -> None: ...`"
        )
    [parameter] = parameters
    if parameter.name in OPTIONS:
        raise ConfigError(
            f"{name} for event {event_type!r}: its payload cannot be named {parameter.name!r}, "
            "for that is an option of the call; give it another name"
        )
    annotation = typing.get_type_hints(function).get(parameter.name, inspect.Parameter.empty)
    if annotation is inspect.Parameter.empty:
        raise ConfigError(f"{name} for event {event_type!r}: parameter {parameter.name!r} has no annotation")
    return parameter.name, annotation


def _field(name: str) -> Callable[[Any], Key | None]:
    """A key out of a payload's attribute or item."""

    def key(event: Any) -> Key | None:
        found: Key | None = event[name] if isinstance(event, dict) else getattr(event, name)
        return found

    return key
