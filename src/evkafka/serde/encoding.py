"""Encoders: from an event to the bytes of a record's value."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import json
import typing
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from typing import Any

import pydantic_core
from pydantic import (
    BaseModel,
    Secret,
    SecretBytes,
    SecretStr,
    TypeAdapter,
    ValidationError,
)

from evkafka.serde.annotations import (
    admits_none,
    annotation_text,
    bytes_or_str_type,
    contains_msgspec_type,
    is_constrained,
    protobuf_class,
    translate_pydantic_type_errors,
    unwrap_aliases,
    without_none,
)
from evkafka.serde.decode_errors import decode_error_text, strings_in_schema
from evkafka.serde.decoding import import_msgspec_codec
from evkafka.serde.pydantic_json import (
    Encode,
    adapter_of,
    json_encoder,
    model_encoder,
    raise_unserializable,
    refuse_infinite,
    refuse_infinite_in_json,
    type_encoder,
    unserializable_secret_message,
)

_HAS_BY_NAME = "by_name" in inspect.signature(TypeAdapter.validate_python).parameters
_BY_NAME_OR_ALIAS: dict[str, Any] = {"by_name": True, "by_alias": True} if _HAS_BY_NAME else {}
"""The keys of a TypedDict are field names. Pydantic 2.10 does not have this option: there they are aliases."""

_JSON = json.JSONEncoder(allow_nan=False)


# ---------------------------------------------------------------------------- of any type


def encode(event: Any) -> bytes:
    """An event's bytes: a mapping as JSON, str as UTF-8, bytes as they are, pydantic models and dataclasses by alias,
    Structs and attrs objects by msgspec, anything else that pydantic can serialize (lists, ...) as JSON.

    Raises:
        TypeError, ValueError: it cannot be serialized.
    """
    match event:
        case bytes() | bytearray() | memoryview():
            return bytes(event)
        case str():
            return event.encode()
        case BaseModel():
            return model_encoder(type(event))(event)
        case dict():
            return _encode_mapping_as_json(event)
        case Mapping():
            return _encode_mapping_as_json(dict(event))
        case _ if protobuf_class(type(event)) is not None:
            return bytes(event.SerializeToString())
        case _ if contains_msgspec_type(type(event)):
            return bytes(import_msgspec_codec(type(event)).encode(event))
        case _:
            return refuse_infinite_in_json(
                pydantic_core.to_json(to_pydantic_values(event), fallback=raise_unserializable)
            )


def _encode_mapping_as_json(event: dict[Any, Any]) -> bytes:
    try:
        return _encode_utf8(_JSON.encode(event))
    except TypeError:  # it contains what JSON does not have: dates, models, keys that are not text
        plain = pydantic_core.to_jsonable_python(to_pydantic_values(event), fallback=raise_unserializable)
    except ValueError:
        refuse_infinite(event)
        raise
    try:
        return _encode_utf8(_JSON.encode(plain))
    except ValueError:
        refuse_infinite(plain)
        raise


def _encode_utf8(written: str) -> bytes:
    """The bytes, if a parser accepts them: Python's JSON also writes lone surrogates, which are not characters."""
    if "\\ud" in written:  # most are whole pairs
        try:
            pydantic_core.from_json(written)
        except ValueError as error:
            raise ValueError(f"a text in it is not valid Unicode, so it could not be read back: {error}") from None
    return written.encode()


def to_pydantic_values(value: Any) -> Any:
    """The value as plain objects, where pydantic would not write an item (of a list, for example) as its type says."""
    match value:
        case list() | tuple() | AbstractSet():
            return [to_pydantic_values(one) for one in value]
        case Mapping():
            return {key: to_pydantic_values(one) for key, one in value.items()}
        case BaseModel():
            return json.loads(model_encoder(type(value))(value))
        case SecretStr() | SecretBytes() | Secret():
            raise TypeError(unserializable_secret_message("a value in it"))
        case _ if contains_msgspec_type(type(value)):
            return import_msgspec_codec(type(value)).to_builtin_types(value)
        case _ if dataclasses.is_dataclass(value) and not isinstance(value, type):
            return json.loads(type_encoder(type(value))(value))
        case _:
            return value


# ---------------------------------------------------------------------------- of a declared type


def encoder_for(annotation: Any) -> Callable[[Any], bytes | None]:
    """An encoder for events of this type: it checks that the event is one, then encodes it; None is a tombstone.

    The encoder raises TypeError if the event is not of this type.

    Raises:
        NotYetDefined: the type, or a field of it, refers to a name that is not defined yet.
        TypeError: pydantic cannot serialize this type; the text says why.
    """
    with translate_pydantic_type_errors(annotation, f"serialize {annotation_text(annotation)}"):
        encode_it = _build_encoder(annotation)
    if not admits_none(annotation):
        return encode_it
    return lambda event: None if event is None else encode_it(event)


def dumper_for(annotation: Any) -> Callable[[Any], Any]:
    """Like `encoder_for`, for formats other than JSON: it gives Python's dicts, lists, dates and so on, by alias.

    Raises:
        NotYetDefined, TypeError: as `encoder_for`.
    """
    plain = unwrap_aliases(without_none(unwrap_aliases(annotation)))
    if plain in (Any, dict, dict[str, Any]):
        return _copy_mapping_as_dict
    with translate_pydantic_type_errors(annotation, f"serialize {annotation_text(annotation)}"):
        if isinstance(plain, type) and issubclass(plain, BaseModel):
            return _model_dumper(plain, annotation)
        adapter = adapter_of(plain)
    validate, to_python = _build_validator(adapter, annotation), adapter.serializer.to_python
    return lambda event: to_python(validate(event), by_alias=True)


def _copy_mapping_as_dict(event: Any) -> dict[str, Any]:
    if not isinstance(event, Mapping):
        raise TypeError(f"expected a dict, got {type(event).__name__}")
    return dict(event)


def _model_dumper(kind: type[BaseModel], annotation: Any) -> Callable[[Any], Any]:
    if not kind.__pydantic_complete__:
        kind.model_rebuild()
    to_python = kind.__pydantic_serializer__.to_python

    def check_and_dump(event: Any) -> Any:
        if not isinstance(event, kind):
            raise TypeError(f"expected {annotation_text(annotation)}, got {type(event).__name__}")
        return to_python(event, by_alias=True)

    return check_and_dump


def _build_encoder(annotation: Any) -> Encode:
    plain = unwrap_aliases(without_none(unwrap_aliases(annotation)))
    if plain is Any:
        return encode
    if (raw := bytes_or_str_type(annotation)) is not None:
        return (
            _constrained_str_or_bytes_encoder(annotation, raw)
            if is_constrained(annotation)
            else _type_checking_encoder(raw, annotation, encode)
        )
    if plain is dict or protobuf_class(plain) is not None:
        return _type_checking_encoder(plain, annotation, encode)
    if contains_msgspec_type(plain):
        encoder: Encode = import_msgspec_codec(plain).encoder_for(plain, annotation_text(annotation))
        return encoder
    if isinstance(plain, type) and issubclass(plain, BaseModel):
        return _pydantic_model_encoder(plain, annotation)
    adapter = adapter_of(plain)
    validate = _build_validator(adapter, annotation)
    if typing.get_origin(plain) is dict and typing.get_args(plain)[1] is Any:
        return lambda event: encode(validate(event))
    write = json_encoder(adapter.serializer, adapter.core_schema)
    return lambda event: write(validate(event))


def _type_checking_encoder(kind: Any, annotation: Any, then: Encode) -> Encode:
    def check_and_encode(event: Any) -> bytes:
        if not isinstance(event, kind):
            raise TypeError(f"expected {annotation_text(annotation)}, got {type(event).__name__}")
        return then(event)

    return check_and_encode


def _pydantic_model_encoder(kind: type[BaseModel], annotation: Any) -> Encode:
    write = model_encoder(kind)

    def check_and_encode(event: Any) -> bytes:
        if type(event) is kind:
            return write(event)
        if isinstance(event, kind):  # a subclass is written with its own fields
            return model_encoder(type(event))(event)
        raise TypeError(f"expected {annotation_text(annotation)}, got {type(event).__name__}")

    return check_and_encode


def _build_validator(adapter: TypeAdapter[Any], annotation: Any) -> Callable[[Any], Any]:
    names = functools.cache(functools.partial(strings_in_schema, lambda: adapter.core_schema))

    def validate(event: Any) -> Any:
        try:
            return adapter.validate_python(event, strict=True, **_BY_NAME_OR_ALIAS)
        except ValidationError as error:
            raise TypeError(f"expected {annotation_text(annotation)}: {decode_error_text(error, names())}") from None

    return validate


def _constrained_str_or_bytes_encoder(annotation: Any, kind: type) -> Encode:
    """Text or bytes with constraints, which are checked; the text or the bytes are written as they are."""
    adapter = adapter_of(annotation)
    validate = _build_validator(adapter, annotation)
    mode: typing.Literal["json", "python"] = "json" if kind is str else "python"

    def write(event: Any) -> bytes:
        written = adapter.dump_python(validate(event), mode=mode, warnings=False)
        if not isinstance(written, str | bytes):
            raise TypeError(
                f"{annotation_text(annotation)} is sent as {kind.__name__}, but its validators or serializers turn it"
                f" into {type(written).__name__}"
            )
        return encode(written)

    return write
