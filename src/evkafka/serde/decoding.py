"""Decoders: one is chosen for each payload type, once.

JSON is decoded from bytes to the payload in one pass, by pydantic's parser (msgspec's for Structs and attrs classes,
in `msgspec.py`). It takes UTF-8 without a byte order mark; NaN and Infinity are accepted; lone surrogates and nesting
deeper than 200 levels are not; of duplicate keys the last one wins. Decoders raise pydantic's or msgspec's
ValidationError, and whatever a user's validator raises; `decode_errors.py` turns those into text.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from pydantic import BaseModel

from evkafka.serde.annotations import (
    NotYetDefined,
    admits_none,
    annotation_text,
    bytes_or_str_type,
    contains_msgspec_type,
    is_constrained,
    protobuf_class,
    translate_pydantic_type_errors,
    with_dict_type_arguments,
)
from evkafka.serde.decode_errors import strings_in_schema
from evkafka.serde.pydantic_json import adapter_of

Decode = Callable[[bytes], Any]

DECODE_FAILURES: tuple[type[BaseException], ...] = (Exception, asyncio.CancelledError, GeneratorExit)
"""Errors of a decoder or validator that concern one record only. A decoder awaits nothing, so a CancelledError that it
raises cancels no task: the validator raised it itself, for example from a cancelled future."""


@dataclass(frozen=True, slots=True)
class Decoder:
    """How one endpoint's payload is decoded.

    Attributes:
        from_bytes: from a record's value.
        from_object: from what a middleware's `decoded_value_cb` returned; None if the payload is always the bytes
            (`bytes`, `str`).
        admits_none: True if a tombstone is a valid payload.
        expected: the type, as errors show it.
        names: words of the type itself (fields, aliases, tags), which an error text may contain.
    """

    from_bytes: Decode
    from_object: Callable[[Any], Any] | None
    admits_none: bool
    expected: str
    names: Callable[[], frozenset[str]]


# ---------------------------------------------------------------------------- decoding


def decoder_for(annotation: Any) -> Decoder:
    """The decoder for a payload of this type. `Optional` ones take tombstones, and the JSON value null, as None.

    Raises:
        NotYetDefined: the type, or a field of it, refers to a name that is not defined yet.
        TypeError: pydantic cannot decode this type; the text says why.
    """
    expected = annotation_text(annotation)
    if (message := protobuf_class(annotation)) is not None:
        return _protobuf_decoder(message, annotation)
    if contains_msgspec_type(annotation):
        return _msgspec_decoder(annotation, expected)
    with translate_pydantic_type_errors(annotation, f"create {expected} from JSON"):
        optional, raw = admits_none(annotation), bytes_or_str_type(annotation)
        if raw is not None and not is_constrained(annotation):
            return Decoder(_decode_utf8 if raw is str else bytes, None, optional, expected, frozenset)
        validator, schema = _pydantic_validator_and_schema(annotation)
    names = functools.cache(functools.partial(strings_in_schema, schema))
    if raw is not None:
        return Decoder(
            _compose(_decode_utf8 if raw is str else bytes, validator.validate_python), None, optional, expected, names
        )
    return Decoder(validator.validate_json, validator.validate_python, optional, expected, names)


def decoder_for_schema_values(annotation: Any, decoder: Decoder) -> Decoder:
    """The decoder of a `str` payload for values with a schema: the text is a value like others, and not the bytes."""
    validator, _ = _pydantic_validator_and_schema(annotation)
    return replace(decoder, from_bytes=validator.validate_json, from_object=validator.validate_python)


def _protobuf_decoder(message: Any, annotation: Any) -> Decoder:
    """Without a registry the value is the message alone."""

    def from_object(value: Any) -> Any:
        from google.protobuf.json_format import ParseDict

        return value if isinstance(value, message) else ParseDict(value, message())

    return Decoder(message.FromString, from_object, admits_none(annotation), annotation_text(annotation), frozenset)


def _msgspec_decoder(annotation: Any, expected: str) -> Decoder:
    codec = import_msgspec_codec(annotation)
    try:
        from_bytes, from_object = codec.decoders_for(annotation)
    except NameError as error:
        raise NotYetDefined(error.name or expected) from error
    except (TypeError, ValueError) as error:
        raise TypeError(f"msgspec cannot create {expected} from JSON: {str(error).splitlines()[0]}") from error
    return Decoder(from_bytes, from_object, admits_none(annotation), expected, frozenset)


def import_msgspec_codec(annotation: Any) -> Any:
    """The module `serde/msgspec.py`.

    Raises:
        TypeError: msgspec is not installed.
    """
    try:
        from evkafka.serde import msgspec as codec
    except ModuleNotFoundError as error:
        raise TypeError(
            f"{annotation_text(annotation)} is an attrs class, which requires msgspec: pip install 'evkafka[attrs]'"
        ) from error
    return codec


def _pydantic_validator_and_schema(annotation: Any) -> tuple[Any, Callable[[], Any]]:
    """Pydantic's validator of this type, and a function that returns its schema."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        if not annotation.__pydantic_complete__:
            annotation.model_rebuild()
        return annotation.__pydantic_validator__, lambda: annotation.__pydantic_core_schema__
    adapter = adapter_of(with_dict_type_arguments(annotation))
    return adapter.validator, lambda: adapter.core_schema


def _decode_utf8(value: bytes) -> str:
    return str(value, "utf-8")


def _compose(first: Decode, second: Callable[[Any], Any]) -> Decode:
    return lambda value: second(first(value))
