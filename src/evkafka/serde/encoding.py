"""From a value to bytes. With `decoding.py` and `serde/json_schema.py`, the files that know pydantic.

What pydantic writes, it writes by alias, as the AsyncAPI document describes it. NaN and infinite numbers are refused:
JSON has none, and a null in their place could not be read back. Secrets, which pydantic writes as asterisks, are
refused when the type is declared, or else when the event is sent.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import json
import math
import typing
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from typing import Any

import pydantic_core
from pydantic import (
    BaseModel,
    PydanticSchemaGenerationError,
    PydanticUndefinedAnnotation,
    Secret,
    SecretBytes,
    SecretStr,
    TypeAdapter,
    ValidationError,
)
from pydantic.errors import PydanticUserError

from evkafka.serde.annotations import admits_none, bare, by_msgspec, is_constrained, raw_kind, shown, without_none
from evkafka.serde.decoding import NotYetDefined, decode_fault, others, words_of

Encode = Callable[[Any], bytes]

KNOWN_TYPES = 512
"""How many types of untyped events are remembered with the way to write them."""

_KNOWS_NAMES = "by_name" in inspect.signature(TypeAdapter.validate_python).parameters
_NAMES_TOO: dict[str, Any] = {"by_name": True, "by_alias": True} if _KNOWS_NAMES else {}
"""The keys of a TypedDict are names of fields. With pydantic 2.10, which has no such option, they are aliases."""

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
            return _model_encoder(type(event))(event)
        case dict():
            return _mapping(event)
        case Mapping():
            return _mapping(dict(event))
        case _ if by_msgspec(type(event)):
            return bytes(others(type(event)).encode(event))
        case _:
            return _legal(pydantic_core.to_json(plain_of(event), fallback=_unknown))


def _mapping(event: dict[Any, Any]) -> bytes:
    try:
        return _readable(_JSON.encode(event))
    except TypeError:  # there is more in it than JSON knows: dates, models, keys that are no text
        plain = pydantic_core.to_jsonable_python(plain_of(event), fallback=_unknown)
    except ValueError:
        refuse_infinite(event)
        raise
    try:
        return _readable(_JSON.encode(plain))
    except ValueError:
        refuse_infinite(plain)
        raise


def _readable(written: str) -> bytes:
    """The bytes, if a parser takes them: Python's JSON writes halves of surrogate pairs, which no character is."""
    if "\\ud" in written:  # most are whole pairs
        try:
            pydantic_core.from_json(written)
        except ValueError as error:
            raise ValueError(f"a text in it is no Unicode, so that it could not be read back: {error}") from None
    return written.encode()


def plain_of(value: Any) -> Any:
    """The value, with what pydantic would not write as its type says (in a list or the like) in plain objects."""
    match value:
        case list() | tuple() | AbstractSet():
            return [plain_of(one) for one in value]
        case Mapping():
            return {key: plain_of(one) for key, one in value.items()}
        case BaseModel():
            return json.loads(_model_encoder(type(value))(value))
        case SecretStr() | SecretBytes() | Secret():
            raise TypeError(_no_secrets("a value in it"))
        case _ if by_msgspec(type(value)):
            return others(type(value)).plain_of(value)
        case _ if dataclasses.is_dataclass(value) and not isinstance(value, type):
            return json.loads(by_pydantic(type(value))(value))
        case _:
            return value


def _unknown(value: Any) -> Any:
    raise TypeError(f"an object of type {type(value).__name__} is not JSON serializable")


@functools.lru_cache(KNOWN_TYPES)
def _model_encoder(kind: type[BaseModel]) -> Encode:
    if kind.model_dump_json is not BaseModel.model_dump_json:
        return lambda event: event.model_dump_json().encode()  # the class says itself how it is written
    if not kind.__pydantic_complete__:
        kind.model_rebuild()
    return _json_encoder(kind.__pydantic_serializer__, kind.__pydantic_core_schema__)


@functools.lru_cache(KNOWN_TYPES)
def by_pydantic(kind: type) -> Encode:
    """How pydantic writes values of a type.

    Raises:
        TypeError: there is a secret in it, or pydantic does not know it.
    """
    try:
        adapter = _adapter(kind)
    except PydanticUserError:
        return _unknown
    return _json_encoder(adapter.serializer, adapter.core_schema)


# ---------------------------------------------------------------------------- of a declared type


def encoder_for(annotation: Any) -> Callable[[Any], bytes | None]:
    """An encoder for events of this type: it checks that the event is one, then encodes it; None is a tombstone.

    The encoder raises TypeError where the event is not what the annotation says.

    Raises:
        NotYetDefined: the type, or a field of it, refers to a name that does not exist so far.
        TypeError: pydantic cannot serialize it; the sentence says why.
    """
    try:
        encode_it = _encoder(annotation)
    except (PydanticUndefinedAnnotation, NameError) as error:
        raise NotYetDefined(error.name or shown(annotation)) from error
    except (PydanticSchemaGenerationError, PydanticUserError) as error:
        raise TypeError(f"pydantic cannot serialize {shown(annotation)}: {str(error).splitlines()[0]}") from error
    if not admits_none(annotation):
        return encode_it
    return lambda event: None if event is None else encode_it(event)


def _encoder(annotation: Any) -> Encode:
    plain = bare(without_none(bare(annotation)))
    if plain is Any:
        return encode
    if (raw := raw_kind(annotation)) is not None:
        return _raw_encoder(annotation, raw) if is_constrained(annotation) else _checked(raw, annotation, encode)
    if plain is dict:
        return _checked(dict, annotation, encode)
    if by_msgspec(plain):
        return others(plain).encoder_of(plain, shown(annotation))  # type: ignore[no-any-return]
    if isinstance(plain, type) and issubclass(plain, BaseModel):
        return _of_model(plain, annotation)
    adapter = _adapter(plain)
    validate = _validation(adapter, annotation)
    if typing.get_origin(plain) is dict and typing.get_args(plain)[1] is Any:
        return lambda event: encode(validate(event))
    write = _json_encoder(adapter.serializer, adapter.core_schema)
    return lambda event: write(validate(event))


def _checked(kind: Any, annotation: Any, then: Encode) -> Encode:
    def check_and_encode(event: Any) -> bytes:
        if not isinstance(event, kind):
            raise TypeError(f"expected {shown(annotation)}, got {type(event).__name__}")
        return then(event)

    return check_and_encode


def _of_model(kind: type[BaseModel], annotation: Any) -> Encode:
    write = _model_encoder(kind)

    def check_and_encode(event: Any) -> bytes:
        if type(event) is kind:
            return write(event)
        if isinstance(event, kind):  # a subclass is written with its own fields
            return _model_encoder(type(event))(event)
        raise TypeError(f"expected {shown(annotation)}, got {type(event).__name__}")

    return check_and_encode


def _validation(adapter: TypeAdapter[Any], annotation: Any) -> Callable[[Any], Any]:
    names = functools.cache(functools.partial(words_of, lambda: adapter.core_schema))

    def validate(event: Any) -> Any:
        try:
            return adapter.validate_python(event, strict=True, **_NAMES_TOO)
        except ValidationError as error:
            raise TypeError(f"expected {shown(annotation)}: {decode_fault(error, names())}") from None

    return validate


def _raw_encoder(annotation: Any, kind: type) -> Encode:
    """Text or bytes with constraints: they are checked, and what goes out is the text or the bytes, as it is read."""
    adapter = _adapter(annotation)
    validate = _validation(adapter, annotation)
    mode: typing.Literal["json", "python"] = "json" if kind is str else "python"

    def write(event: Any) -> bytes:
        written = adapter.dump_python(validate(event), mode=mode, warnings=False)
        if not isinstance(written, str | bytes):
            raise TypeError(
                f"{shown(annotation)} goes out as {kind.__name__}, and its validators or serializers make "
                f"{type(written).__name__} of it"
            )
        return encode(written)

    return write


def _adapter(annotation: Any) -> TypeAdapter[Any]:
    adapter: TypeAdapter[Any] = TypeAdapter(annotation)
    if not adapter.pydantic_complete:
        adapter.rebuild()
    return adapter


# ---------------------------------------------------------------------------- JSON that can be read


def _json_encoder(serializer: Any, schema: Any) -> Encode:
    """By pydantic, by alias.

    Raises:
        TypeError: there is a secret in the type.
    """
    refuse_secrets(schema)
    to_json, to_python, hides = serializer.to_json, serializer.to_python, _may_hide_infinity(schema)
    # Where a serializer of the user's own is for JSON alone, only JSON shows what it makes of a NaN.
    mode = "json" if _writes_json_otherwise(schema) else "python"

    def write(event: Any) -> bytes:
        written: bytes = to_json(event, by_alias=True)
        if b"NaN" in written or b"Infinity" in written:
            _legal(written)
        if hides and b"null" in written:
            refuse_infinite(to_python(event, mode=mode))
        return written

    return write


def _may_hide_infinity(schema: Any) -> bool:
    """Whether pydantic may write null for a NaN in it: its default, where the type does not say it itself."""
    parts = list(_parts(schema))
    said = any("ser_json_inf_nan" in part for part, _ in parts)
    return not said and any(
        part.get("type") in ("float", "any")
        or "allow" in (part.get("extra_behavior"), part.get("extra_fields_behavior"))
        for part, _ in parts
    )


def _writes_json_otherwise(schema: Any) -> bool:
    """Whether a serializer in it is used for JSON and not for Python objects."""
    written = [part.get("serialization") for part, _ in _parts(schema)]
    return any(str(one.get("when_used")).startswith("json") for one in written if isinstance(one, dict))


def _legal(written: bytes) -> bytes:
    """The bytes, if they are JSON: pydantic writes `NaN` and `Infinity` where it is told to."""
    if b"NaN" in written or b"Infinity" in written:  # perhaps in a text: then it is read once more, which is rare
        json.loads(written, parse_constant=_refuse)
    return written


def refuse_infinite(value: Any) -> None:
    """
    Raises:
        ValueError: there is a number in it that JSON does not have.
    """
    rest, seen = [value], set[int]()
    while rest:
        one = rest.pop()
        if isinstance(one, float):
            if not math.isfinite(one):
                _refuse(str(one))
        elif isinstance(one, Mapping | list | tuple | AbstractSet | deque) and id(one) not in seen:
            seen.add(id(one))
            rest += one.values() if isinstance(one, Mapping) else one


def _refuse(number: str) -> None:
    raise ValueError(f"a number in it is {number}, and JSON has neither NaN nor Infinity: send None or a text instead")


# ---------------------------------------------------------------------------- secrets


def refuse_secrets(schema: Any) -> None:
    """Pydantic writes a secret as asterisks, so that what is sent would have lost it.

    Raises:
        TypeError: naming the field.
    """
    masking = _masking()
    for part, path in _parts(schema):
        if _function(part.get("serialization")) in masking:
            raise TypeError(_no_secrets(".".join(path) or "it"))


def _no_secrets(place: str) -> str:
    return (
        f"{place} is a secret (SecretStr, SecretBytes, Secret), which pydantic writes as asterisks: its value would be "
        "lost. Give it a serializer that writes the value (Annotated[SecretStr, PlainSerializer(lambda secret: "
        "secret.get_secret_value(), when_used='json')]), leave it out (Field(exclude=True)), or make it a str"
    )


@functools.cache
def _masking() -> frozenset[tuple[str, str]]:
    """The functions by which pydantic writes secrets."""
    kinds: tuple[Any, ...] = (SecretStr, SecretBytes, Secret[int])
    parts = [part for kind in kinds for part, _ in _parts(TypeAdapter(kind).core_schema)]
    return frozenset(name for part in parts if (name := _function(part.get("serialization"))) is not None)


def _function(serialization: Any) -> tuple[str, str] | None:
    """The function of a serialization schema, by its name: it may be made for each type."""
    function = serialization.get("function") if isinstance(serialization, dict) else None
    name = getattr(function, "__qualname__", None)
    return (function.__module__, name) if function is not None and name is not None else None


def _parts(schema: Any) -> Iterator[tuple[dict[str, Any], tuple[str, ...]]]:
    """The dicts of a pydantic schema that say how it is written, and where they stand, as names of fields.

    What a user's serializer writes is not looked into, nor what is excluded.
    """
    rest: list[tuple[Any, tuple[str, ...]]] = [(schema, ())]
    seen: set[int] = set()
    while rest:
        part, path = rest.pop()
        if isinstance(part, list | tuple):
            rest += [(one, path) for one in part]
        if not isinstance(part, dict) or id(part) in seen or part.get("serialization_exclude"):
            continue
        seen.add(id(part))
        yield part, path
        if _writes_itself(part.get("serialization")):
            continue
        if part.get("type") == "dataclass-field":
            path = (*path, str(part["name"]))
        for name, value in part.items():
            if name == "fields" and isinstance(value, dict):
                rest += [(field, (*path, field_name)) for field_name, field in value.items()]
            elif name == "property_name":
                path = (*path, str(value))  # a computed field: its return schema comes behind it
            elif name not in ("metadata", "serialization"):
                rest.append((value, path))


def _writes_itself(serialization: Any) -> bool:
    return isinstance(serialization, dict) and serialization.get("type") == "function-plain"
