"""Payloads that msgspec makes: its Structs, and attrs classes. The only file that knows msgspec, imported when needed.

What is said of a value that will not do is put together as `codec.decode_fault` does it for pydantic: the place, and
msgspec's words as far as they hold nothing out of the value.
"""

from __future__ import annotations

import functools
import json
import re
import typing
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic.errors import PydanticUserError

from evkafka.serde import decoding as codec
from evkafka.serde.annotations import is_union
from evkafka.serde.encoding import by_pydantic, refuse_infinite, refuse_secrets

_PLACE = re.compile(r" - at (?:`key` in )?`\$(?P<path>[^`]*)`$")
_STEP = re.compile(r"\.?(?P<name>[^.\[\]]+)|\[(?P<index>\d+|\.\.\.)\]")
_REPEATED = re.compile(r" ?(?:['\"`]|-?\d).*", re.DOTALL)
_TELLING = ("Expected ", "Object missing required field ", "Invalid RFC3339", "Invalid ISO8601", "JSON is malformed")


# ---------------------------------------------------------------------------- decoding


def decoder_of(annotation: Any) -> tuple[Callable[[bytes], Any], Callable[[Any], Any]]:
    """How a payload of this type is made: of bytes, and of what JSON holds.

    Raises:
        NameError: a field refers to a name that does not exist so far.
        TypeError: msgspec cannot make it; the sentence says why.
    """
    made = msgspec.json.Decoder(annotation, dec_hook=_make)
    # The schema asks about each type that is not msgspec's own: now, and not at the first record.
    msgspec.json.schema_components([annotation], schema_hook=_schema_of)
    return made.decode, functools.partial(msgspec.convert, type=annotation, dec_hook=_make)


def _make(kind: Any, found: Any) -> Any:
    """A field whose type is not msgspec's: a pydantic model, or what else pydantic knows."""
    try:
        return _adapter(kind).validate_python(found)
    except ValidationError as error:
        fault = codec.decode_fault(error)
    raise _Inside(fault)


class _Inside(ValueError):
    """A fault in a field of pydantic's, which may be shown."""


@functools.cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def fault(error: msgspec.DecodeError) -> str:
    """What is wrong with a value, without anything out of it."""
    said, path = str(error), ""
    if (place := _PLACE.search(said)) is not None:
        said, path = said[: place.start()], place["path"]
    if isinstance(error.__cause__, _Inside):
        said = str(error.__cause__)
    elif error.__cause__ is not None:  # the words of a user's own validator, which often repeat what they refuse
        said = "value_error"
    elif not said.startswith(_TELLING):
        said = _REPEATED.sub("", said)
    steps = [step["name"] or step["index"].replace("...", "*") for step in _STEP.finditer(path)]
    return f"{'.'.join(steps) or 'value'}: {said}"


# ---------------------------------------------------------------------------- encoding


def encode(event: Any) -> bytes:
    """As JSON.

    Raises:
        TypeError, ValueError: it cannot be serialized, or there is a number in it that JSON does not have.
    """
    written = msgspec.json.encode(event, enc_hook=_plain)
    if b"null" in written:  # msgspec's way to write NaN and Infinity too
        refuse_infinite(plain_of(event))
    return written


def _plain(value: Any) -> Any:
    kind: Any = type(value)
    return json.loads(by_pydantic(kind)(value))


def plain_of(value: Any) -> Any:
    """A Struct or an attrs object in something that pydantic serializes."""
    return msgspec.to_builtins(value, enc_hook=_plain)


def encoder_of(annotation: Any, shown: str) -> Callable[[Any], bytes]:
    """An encoder that checks what it is given; it raises TypeError where that is something else.

    Raises:
        TypeError: a field is a secret of pydantic's, which would be written as asterisks.
    """
    msgspec.json.schema_components([annotation], schema_hook=_schema_of_writable)
    arms = typing.get_args(annotation) if is_union(annotation) else (annotation,)
    if all(isinstance(arm, type) for arm in arms):

        def of_class(event: Any) -> bytes:
            if not isinstance(event, arms):
                raise TypeError(f"expected {shown}, got {type(event).__name__}")
            return encode(event)

        return of_class

    def of_shape(event: Any) -> bytes:
        written = encode(event)
        try:
            msgspec.json.decode(written, type=annotation, dec_hook=_make)
        except msgspec.DecodeError as error:
            why = fault(error)
        else:
            return written
        raise TypeError(f"expected {shown}: {why}")

    return of_shape


# ---------------------------------------------------------------------------- schemas


def schemas_of(annotations: Sequence[Any], prefix: str) -> tuple[list[dict[str, Any]], dict[str, dict[str, Any]]]:
    """Each one's JSON Schema, and the named ones that they refer to as `PREFIX + NAME`."""
    found, named = msgspec.json.schema_components(annotations, schema_hook=_schema_of, ref_template=prefix + "{name}")
    return list(found), dict(named)


def _schema_of_writable(kind: Any) -> dict[str, Any]:
    schema = _schema_of(kind)
    refuse_secrets(_adapter(kind).core_schema)
    return schema


def _schema_of(kind: Any) -> dict[str, Any]:
    try:
        adapter = _adapter(kind)
    except PydanticUserError as error:
        raise TypeError(f"neither msgspec nor pydantic knows {kind.__name__}") from error
    if not issubclass(kind, BaseModel):
        return {}
    schema = adapter.json_schema()
    return schema if "$defs" not in schema else {"title": kind.__name__, "type": "object"}
