"""What an outbound endpoint sends: its payload's name and type, its bytes, and its key."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Mapping
from typing import Any

from evkafka.endpoints.signature import Function, Parameter, innermost, parameters_of, resolved
from evkafka.exceptions import ConfigError, EncodeError
from evkafka.serde.annotations import NotYetDefined, may_have_field
from evkafka.serde.encoding import encoder_for

OPTIONS = ("key", "partition", "timestamp_ms", "headers")

ALLOWED = (
    "An outbound endpoint takes one payload, typed dict, str, bytes, a pydantic model, a msgspec Struct, an attrs "
    "class or anything that pydantic can serialize: `async def send_order(order: Order) -> None: ...`"
)

KeyOf = Callable[[Any], Any]


class Outbound:
    """How a declared event becomes bytes.

    Attributes:
        payload: the payload's annotation; None until `resolve` where it is not known at registration.
        payload_name: what it may be given as.
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
        self._key_of: KeyOf | None = _field(key) if isinstance(key, str) else key
        self._encode: Callable[[Any], bytes | None] | None = None
        self.payload: Any = None
        self.payload_name = self._one_parameter().name
        with contextlib.suppress(NotYetDefined):  # perhaps defined further down: `resolve` looks again at the start
            self._read()

    # ------------------------------------------------------------------ reading the signature

    def resolve(self) -> Callable[[Any], bytes | None]:
        """The encoder, now that every name must exist.

        Raises:
            ConfigError: a name in the annotation still does not exist.
        """
        if self._encode is None:
            try:
                self._read()
            except NotYetDefined as error:
                raise ConfigError(
                    f"{self._shown()}: {error.name!r} in its annotation does not exist where it is defined. "
                    "Import it for real (not under TYPE_CHECKING only): payloads are encoded by it"
                ) from error
        assert self._encode is not None
        return self._encode

    def _read(self) -> None:
        try:
            payload = resolved(self._one_parameter(), self._function, self._names)
            if payload is Parameter.empty:
                raise TypeError(f"its parameter {self.payload_name!r} has no annotation")
            encode = encoder_for(payload)
        except TypeError as error:
            raise ConfigError(f"{self._shown()}: {error}. {ALLOWED}") from error
        if self._key_field is not None and not may_have_field(payload, self._key_field):
            raise ConfigError(f"{self._shown()}: key_field {self._key_field!r} is no field of its payload")
        self.payload, self._encode, self._names = payload, encode, None

    def _one_parameter(self) -> Parameter:
        try:
            parameters = parameters_of(self._function)
        except TypeError as error:
            raise ConfigError(f"{self._shown()}: {error}. {ALLOWED}") from error
        if len(parameters) != 1 or parameters[0].kind in (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD):
            raise ConfigError(f"{self._shown()}: it takes {len(parameters)} parameters. {ALLOWED}")
        if parameters[0].name in OPTIONS:
            raise ConfigError(
                f"{self._shown()}: its payload cannot be named {parameters[0].name!r}, for that is an option of the "
                "call; give it another name"
            )
        return parameters[0]

    def _shown(self) -> str:
        """The endpoint, as an error shows it."""
        code = getattr(innermost(self._function), "__code__", None)
        where = f" ({code.co_filename}:{code.co_firstlineno})" if code is not None else ""
        return f"outbound endpoint {self._name}{where} for event type {self._event_type!r}"

    # ------------------------------------------------------------------ one event

    def payload_of(self, args: tuple[Any, ...], named: Mapping[str, Any]) -> Any:
        """The payload, given positionally or by its name."""
        if len(args) == 1 and not named:
            return args[0]
        if not args and len(named) == 1 and self.payload_name in named:
            return named[self.payload_name]
        raise TypeError(
            f"{self._name} takes one payload, positional or as {self.payload_name}=, and {', '.join(OPTIONS)}"
        )

    def value(self, event: Any, topic: str) -> bytes | None:
        """An event's bytes; None is a tombstone.

        Raises:
            EncodeError: it is not of the declared type, or cannot be serialized.
        """
        try:
            return self.resolve()(event)
        except (TypeError, ValueError, RecursionError) as error:
            why = str(error) or type(error).__name__
            raise self._error(why, topic) from error

    def key(self, event: Any, topic: str) -> Any:
        """An event's key, by what was declared; a tombstone has none by itself.

        Raises:
            EncodeError: what was declared cannot make it.
        """
        if self._key_of is None or event is None:
            return None
        try:
            return self._key_of(event)
        except Exception as error:  # the user's own function: whatever it raises, the event is named
            raise self._error(f"its key could not be made: {type(error).__name__}: {error}", topic) from error

    def _error(self, why: str, topic: str) -> EncodeError:
        return EncodeError(
            f"{self._name} sends event {self._event_type!r} to topic {topic!r}: {why}; nothing was sent",
            topic=topic,
            event_type=self._event_type,
        )


def _field(name: str) -> KeyOf:
    """A key out of a payload's attribute or item."""

    def key(event: Any) -> Any:
        return event[name] if isinstance(event, Mapping) else getattr(event, name)

    return key


def describe(function: Function) -> tuple[str, str | None]:
    """A function's name as logs show it, and its description."""
    name = getattr(function, "__qualname__", type(function).__qualname__)
    return f"{function.__module__}.{name}", inspect.getdoc(function)
