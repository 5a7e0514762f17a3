"""Encoding, decoding and schemas of msgspec Structs and attrs classes.

The only file that imports msgspec, which is optional: it is imported when the first such type is declared.
"""

from __future__ import annotations

import functools
import json
import typing
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic.errors import PydanticUserError

from evkafka.serde.annotations import is_union
from evkafka.serde.decode_errors import FieldError, decode_error_text
from evkafka.serde.pydantic_json import refuse_infinite, refuse_secrets, type_encoder

# ---------------------------------------------------------------------------- decoding


def decoders_for(annotation: Any) -> tuple[Callable[[bytes], Any], Callable[[Any], Any]]:
    """Functions that decode a payload of this type: from bytes, and from parsed JSON.

    Raises:
        NameError: a field refers to a name that is not defined yet.
        TypeError: msgspec cannot decode this type; the text says why.
    """
    decoder = msgspec.json.Decoder(annotation, dec_hook=_decode_field_with_pydantic)
    # Building the schema checks each type that is not msgspec's own: here, and not at the first record.
    msgspec.json.schema_components([annotation], schema_hook=_schema_of_pydantic_type)
    return decoder.decode, functools.partial(msgspec.convert, type=annotation, dec_hook=_decode_field_with_pydantic)


def _decode_field_with_pydantic(kind: Any, found: Any) -> Any:
    """Decode a field whose type msgspec does not support: a pydantic model, or another type of pydantic's."""
    try:
        return _pydantic_adapter(kind).validate_python(found)
    except ValidationError as error:
        fault = decode_error_text(error)
    raise FieldError(fault)


@functools.cache
def _pydantic_adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


# ---------------------------------------------------------------------------- encoding


def encode(event: Any) -> bytes:
    """As JSON.

    Raises:
        TypeError, ValueError: it cannot be serialized, or there is a NaN or an infinite number in it.
    """
    written = msgspec.json.encode(event, enc_hook=_encode_field_with_pydantic)
    if b"null" in written:  # which msgspec also writes for NaN and Infinity
        refuse_infinite(to_builtin_types(event))
    return written


def _encode_field_with_pydantic(value: Any) -> Any:
    kind: Any = type(value)
    return json.loads(type_encoder(kind)(value))


def to_builtin_types(value: Any) -> Any:
    """A Struct or an attrs object as plain objects, which pydantic serializes."""
    return msgspec.to_builtins(value, enc_hook=_encode_field_with_pydantic)


def encoder_for(annotation: Any, shown: str) -> Callable[[Any], bytes]:
    """An encoder for events of this type; it raises TypeError for any other event.

    Raises:
        TypeError: a field is a pydantic secret, which would be written as asterisks.
    """
    msgspec.json.schema_components([annotation], schema_hook=_schema_of_type_refusing_secrets)
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
            msgspec.json.decode(written, type=annotation, dec_hook=_decode_field_with_pydantic)
        except msgspec.DecodeError as error:
            why = decode_error_text(error)
        else:
            return written
        raise TypeError(f"expected {shown}: {why}")

    return of_shape


# ---------------------------------------------------------------------------- schemas


def schemas_of(annotations: Sequence[Any], prefix: str) -> tuple[list[dict[str, Any]], dict[str, dict[str, Any]]]:
    """The JSON Schema of each type, and the named schemas that they refer to as `PREFIX + NAME`."""
    found, named = msgspec.json.schema_components(
        annotations, schema_hook=_schema_of_pydantic_type, ref_template=prefix + "{name}"
    )
    return list(found), dict(named)


def _schema_of_type_refusing_secrets(kind: Any) -> dict[str, Any]:
    schema = _schema_of_pydantic_type(kind)
    refuse_secrets(_pydantic_adapter(kind).core_schema)
    return schema


def _schema_of_pydantic_type(kind: Any) -> dict[str, Any]:
    try:
        adapter = _pydantic_adapter(kind)
    except PydanticUserError as error:
        raise TypeError(f"neither msgspec nor pydantic supports {kind.__name__}") from error
    if not issubclass(kind, BaseModel):
        return {}
    schema = adapter.json_schema()
    return schema if "$defs" not in schema else {"title": kind.__name__, "type": "object"}
