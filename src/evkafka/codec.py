"""From an annotation to a decoder, from a value to bytes; chosen once. The only file that knows pydantic.

JSON goes from bytes to the payload in one pass. Decoders raise ValueError (pydantic's ValidationError is one) or
RecursionError; `decode_fault` turns those into sentences without a single value of the payload, which may be secret.
"""

from __future__ import annotations

import json
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, PydanticSchemaGenerationError, PydanticUndefinedAnnotation, TypeAdapter, ValidationError
from pydantic.errors import PydanticUserError

Decode = Callable[[bytes], Any]


@dataclass(frozen=True, slots=True)
class Decoder:
    """How one endpoint's payload is made.

    Attributes:
        from_bytes: from a record's value.
        from_object: from what a middleware's `decoded_value_cb` gave; None where the bytes are always meant
            (`bytes`, `str`).
        admits_none: True where a tombstone is a payload too.
        expected: the type, as errors show it.
    """

    from_bytes: Decode
    from_object: Callable[[Any], Any] | None
    admits_none: bool
    expected: str


def decoder_for(annotation: Any) -> Decoder:
    """The decoder for a payload of this type.

    Raises:
        TypeError: pydantic cannot make a payload of this type; the sentence says why.
    """
    plain, optional = _without_none(annotation)
    shown = _shown(annotation)
    if plain is bytes:
        return Decoder(_as_is, None, optional, shown)
    if plain is str:
        return Decoder(_text, None, optional, shown)
    if plain is dict:
        plain = dict[str, Any]
    try:
        if isinstance(plain, type) and issubclass(plain, BaseModel):
            plain.model_rebuild()
            validator = plain.__pydantic_validator__
        else:
            validator = TypeAdapter(plain).validator
    except (PydanticSchemaGenerationError, PydanticUndefinedAnnotation, PydanticUserError) as error:
        raise TypeError(f"pydantic cannot make a {shown} of JSON: {str(error).splitlines()[0]}") from error
    return Decoder(validator.validate_json, validator.validate_python, optional, shown)


def decode_fault(error: BaseException) -> str:
    """What is wrong with a value, in a sentence without the value."""
    match error:
        case ValidationError():
            faults = error.errors(include_url=False, include_context=False, include_input=False)
            shown = [f"{'.'.join(map(str, fault['loc'])) or 'value'}: {_masked(fault)}" for fault in faults[:5]]
            more = f"; and {len(faults) - 5} more" if len(faults) > 5 else ""
            return "; ".join(shown) + more
        case UnicodeDecodeError():
            return f"it is not UTF-8 (byte {error.start})"
        case RecursionError():
            return "it is nested too deeply"
        case _:
            return type(error).__name__


def encode(event: Any) -> bytes:
    """An event's bytes: a mapping by `json.dumps`, str as UTF-8, bytes as they are, pydantic models by
    `model_dump_json()`, anything else that pydantic can serialize as JSON.

    Raises:
        TypeError, ValueError: it cannot be serialized.
    """
    match event:
        case bytes() | bytearray() | memoryview():
            return bytes(event)
        case str():
            return event.encode()
        case BaseModel():
            return event.model_dump_json().encode()
        case dict():
            return json.dumps(event).encode()
        case Mapping():
            return json.dumps(dict(event)).encode()
        case _:
            return TypeAdapter(type(event)).dump_json(event)


def encoder_for(annotation: Any) -> Callable[[Any], bytes]:
    """An encoder for events of this type: it checks that the event is one, then encodes it.

    The encoder raises TypeError where the event is not what the annotation says.
    """
    plain, _ = _without_none(annotation)
    if plain in (dict, bytes, str) or typing.get_origin(plain) is dict:
        kind: Any = dict if typing.get_origin(plain) is dict else plain
        return _checked(kind, annotation, encode)
    if isinstance(plain, type) and issubclass(plain, BaseModel):
        return _checked(plain, annotation, encode)
    adapter: TypeAdapter[Any] = TypeAdapter(plain)

    def by_adapter(event: Any) -> bytes:
        try:
            return adapter.dump_json(adapter.validate_python(event, strict=True))
        except ValidationError as error:
            raise TypeError(f"expected {_shown(annotation)}: {decode_fault(error)}") from None

    return by_adapter


def _checked(kind: Any, annotation: Any, then: Callable[[Any], bytes]) -> Callable[[Any], bytes]:
    def check_and_encode(event: Any) -> bytes:
        if not isinstance(event, kind):
            raise TypeError(f"expected {_shown(annotation)}, got {type(event).__name__}")
        return then(event)

    return check_and_encode


def _as_is(value: bytes) -> bytes:
    return value


def _text(value: bytes) -> str:
    return value.decode()


def _without_none(annotation: Any) -> tuple[Any, bool]:
    """The annotation without None, and whether None was in it."""
    if annotation is None or annotation is type(None):
        return type(None), True
    args = typing.get_args(annotation)
    if args and type(None) in args and typing.get_origin(annotation) is not typing.Literal:
        rest = tuple(arg for arg in args if arg is not type(None))
        return (rest[0] if len(rest) == 1 else typing.Union[rest]), True  # noqa: UP007 - built, not written
    return annotation, annotation is Any


def _shown(annotation: Any) -> str:
    return annotation.__name__ if isinstance(annotation, type) else str(annotation).replace("typing.", "")


def _masked(fault: Any) -> str:
    """pydantic's message for a fault; those kinds whose message repeats the input get their bare name."""
    message: str = fault["msg"]
    if fault["type"] in ("json_invalid", "json_type"):
        return message
    if fault["type"].startswith(("value_error", "assertion_error")):
        return str(fault["type"])
    return message
