"""The encoding of outbound events: payload type, bytes and key."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Mapping
from typing import Any

from evkafka.endpoints.signature import Function, Parameter, file_and_line, parameters_of, resolve_annotation
from evkafka.exceptions import ConfigError, EncodeError
from evkafka.producer import Pairs, encode_headers, encode_key
from evkafka.serde.annotations import NotYetDefined, admits_none, may_have_field
from evkafka.serde.cloudevents.writing import CloudEventsEnvelope
from evkafka.serde.encoding import encoder_for
from evkafka.serde.json_schema import media_type_of_payload_type

OPTIONS = ("key", "partition", "timestamp_ms", "headers")

ALLOWED = (
    "An outbound endpoint takes one payload, typed dict, str, bytes, a pydantic model, a msgspec Struct, an attrs "
    "class or anything that pydantic can serialize: `async def send_order(order: Order) -> None: ...`"
)

KeyOf = Callable[[Any], Any]


class Outbound:
    """Encodes the payloads of one declared event.

    Args:
        name: the event's name in errors.
        key: makes the record's key of the payload; a str is the name of the payload's field.
        names: the local names where the event is declared, for annotations that are strings.

    Attributes:
        payload_type: the payload's annotation; None until `resolve_encoder` if it is not known at registration.
        payload_name: the name of its parameter, by which it may be passed.
    """

    def __init__(
        self,
        function: Function,
        event_type: str,
        *,
        name: str,
        key: KeyOf | str | None,
        names: Mapping[str, Any] | None,
    ) -> None:
        self._function = function
        self._event_type = event_type
        self._name = name
        self._names = names
        self._key_field = key if isinstance(key, str) else None
        self._key_of: KeyOf | None = _key_from_field(key) if isinstance(key, str) else key
        self._encode: Callable[[Any], bytes | None] | None = None
        self._by_format: Callable[[Any], bytes] | None = None
        self._media_type = ""
        self.payload_type: Any = None
        self.payload_name = self._one_parameter().name
        with contextlib.suppress(NotYetDefined):  # it may be defined further down: `resolve_encoder` reads again
            self._resolve_payload_type_and_encoder()

    # ------------------------------------------------------------------ reading the signature

    def resolve_encoder(self) -> Callable[[Any], bytes | None]:
        """The payload's encoder. Reads the signature, if registration could not: by now every name must exist.

        Raises:
            ConfigError: a name in the annotation does not exist.
        """
        if self._encode is None:
            try:
                self._resolve_payload_type_and_encoder()
            except NotYetDefined as error:
                raise ConfigError(
                    f"{self.describe_for_errors()}: {error.name!r} in its annotation does not exist in the module that"
                    " defines the function. Import it at runtime (not only under TYPE_CHECKING): it is needed to encode"
                    " payloads"
                ) from error
        assert self._encode is not None
        return self._encode

    def _resolve_payload_type_and_encoder(self) -> None:
        try:
            payload = resolve_annotation(self._one_parameter(), self._function, self._names)
            if payload is Parameter.empty:
                raise TypeError(f"its parameter {self.payload_name!r} has no annotation")
            encode = encoder_for(payload)
        except TypeError as error:
            raise ConfigError(f"{self.describe_for_errors()}: {error}. {ALLOWED}") from error
        if self._key_field is not None and not may_have_field(payload, self._key_field):
            raise ConfigError(
                f"{self.describe_for_errors()}: key_field {self._key_field!r} is not a field of its payload"
            )
        self.payload_type, self._encode, self._names = payload, encode, None

    def _one_parameter(self) -> Parameter:
        try:
            parameters = parameters_of(self._function)
        except TypeError as error:
            raise ConfigError(f"{self.describe_for_errors()}: {error}. {ALLOWED}") from error
        if len(parameters) != 1 or parameters[0].kind in (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD):
            raise ConfigError(f"{self.describe_for_errors()}: it takes {len(parameters)} parameters. {ALLOWED}")
        if parameters[0].name in OPTIONS:
            raise ConfigError(
                f"{self.describe_for_errors()}: its payload cannot be named {parameters[0].name!r}, which is an option"
                " of the call; rename it"
            )
        return parameters[0]

    def describe_for_errors(self) -> str:
        """The endpoint in an error: its name, place and event type."""
        return f"outbound endpoint {self._name}{file_and_line(self._function)} for event type {self._event_type!r}"

    # ------------------------------------------------------------------ encoding an event

    def set_encoder(self, encode: Callable[[Any], bytes], media_type: str) -> None:
        """Encode events with this from now on, in place of JSON."""
        self._by_format, self._media_type = encode, media_type

    def payload_from_arguments(self, args: tuple[Any, ...], named: Mapping[str, Any]) -> Any:
        """The payload of a call, passed by position or by name."""
        if len(args) == 1 and not named:
            return args[0]
        if not args and len(named) == 1 and self.payload_name in named:
            return named[self.payload_name]
        raise TypeError(
            f"{self._name} takes one payload, positional or as {self.payload_name}=, and {', '.join(OPTIONS)}"
        )

    def value(self, event: Any, topic: str) -> bytes | None:
        """Encode an event; None is a tombstone.

        Raises:
            EncodeError: it is not of the declared type, or cannot be serialized.
        """
        by_format = self._by_format
        try:
            if by_format is not None:
                return None if event is None and admits_none(self.payload_type) else by_format(event)
            return self.resolve_encoder()(event)
        except (TypeError, ValueError, RecursionError) as error:
            why = str(error) or type(error).__name__
            raise self._encode_error(why, topic) from error

    def create_key(self, event: Any, topic: str) -> Any:
        """Make an event's key by the declaration; a tombstone has none.

        Raises:
            EncodeError: the declared field does not exist, or the declared function has raised.
        """
        if self._key_of is None or event is None:
            return None
        try:
            return self._key_of(event)
        except Exception as error:  # the user's own function may raise anything; the error names the event
            raise self._encode_error(f"its key could not be created: {type(error).__name__}: {error}", topic) from error

    def create_key_and_headers(
        self, envelope: CloudEventsEnvelope, value: bytes | None, key: Any, given: Any, topic: str, now_ms: int
    ) -> tuple[bytes | None, Pairs]:
        """The key and the headers of an event with an envelope.

        Args:
            given: the headers of the call.

        Raises:
            EncodeError: the key, a header or an attribute is invalid.
        """
        try:
            return envelope.key_and_headers(
                encode_headers(given),
                event_type=self._event_type,
                key=encode_key(key),
                value=value,
                content_type=self._media_type or media_type_of_payload_type(self.payload_type),
                now_ms=now_ms,
            )
        except (TypeError, ValueError) as error:
            raise self._encode_error(str(error), topic) from error

    def _encode_error(self, why: str, topic: str) -> EncodeError:
        return EncodeError(
            f"{self._name} sends event {self._event_type!r} to topic {topic!r}: {why}; nothing was sent",
            topic=topic,
            event_type=self._event_type,
        )


def _key_from_field(name: str) -> KeyOf:
    """The key is the payload's attribute or item of this name."""

    def key(event: Any) -> Any:
        return event[name] if isinstance(event, Mapping) else getattr(event, name)

    return key


def name_and_docstring(function: Function) -> tuple[str, str | None]:
    """Its name in logs, and its docstring."""
    name = getattr(function, "__qualname__", type(function).__qualname__)
    return f"{function.__module__}.{name}", inspect.getdoc(function)
