"""Encoders that write JSON with pydantic.

Pydantic writes by alias, as the AsyncAPI document describes a payload. NaN and infinite numbers are refused: JSON has
none, and a null in their place could not be read back. Secrets, which pydantic writes as asterisks, are refused too.
"""

from __future__ import annotations

import functools
import json
import math
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from typing import Any

from pydantic import BaseModel, Secret, SecretBytes, SecretStr, TypeAdapter
from pydantic.errors import PydanticUserError

Encode = Callable[[Any], bytes]

KNOWN_TYPES = 512
"""For how many types of untyped events the encoder is cached."""


# ---------------------------------------------------------------------------- encoders


@functools.lru_cache(KNOWN_TYPES)
def model_encoder(kind: type[BaseModel]) -> Encode:
    if kind.model_dump_json is not BaseModel.model_dump_json:
        return lambda event: event.model_dump_json().encode()  # the class overrides how it is written
    if not kind.__pydantic_complete__:
        kind.model_rebuild()
    return json_encoder(kind.__pydantic_serializer__, kind.__pydantic_core_schema__)


@functools.lru_cache(KNOWN_TYPES)
def type_encoder(kind: type) -> Encode:
    """The encoder of a type. It raises TypeError for a type that pydantic does not support.

    Raises:
        TypeError: the type contains a secret.
    """
    try:
        adapter = adapter_of(kind)
    except PydanticUserError:
        return raise_unserializable
    return json_encoder(adapter.serializer, adapter.core_schema)


def adapter_of(annotation: Any) -> TypeAdapter[Any]:
    adapter: TypeAdapter[Any] = TypeAdapter(annotation)
    if not adapter.pydantic_complete:
        adapter.rebuild()
    return adapter


def raise_unserializable(value: Any) -> Any:
    raise TypeError(f"an object of type {type(value).__name__} is not JSON serializable")


# ---------------------------------------------------------------------------- JSON that can be read


def json_encoder(serializer: Any, schema: Any) -> Encode:
    """An encoder that writes by alias.

    Raises:
        TypeError: the type contains a secret.
    """
    refuse_secrets(schema)
    to_json, to_python, hides = serializer.to_json, serializer.to_python, _may_hide_infinity(schema)
    # If a user's serializer applies to JSON only, only JSON mode shows what it writes for a NaN.
    mode = "json" if _has_serializer_for_json_only(schema) else "python"

    def write(event: Any) -> bytes:
        written: bytes = to_json(event, by_alias=True)
        if b"NaN" in written or b"Infinity" in written:
            refuse_infinite_in_json(written)
        if hides and b"null" in written:
            refuse_infinite(to_python(event, mode=mode))
        return written

    return write


def _may_hide_infinity(schema: Any) -> bool:
    """Whether pydantic may write null for a NaN in it: its default, unless the type sets `ser_json_inf_nan`."""
    parts = list(_schema_parts_that_are_written(schema))
    configured = any("ser_json_inf_nan" in part for part, _ in parts)
    return not configured and any(
        part.get("type") in ("float", "any")
        or "allow" in (part.get("extra_behavior"), part.get("extra_fields_behavior"))
        for part, _ in parts
    )


def _has_serializer_for_json_only(schema: Any) -> bool:
    """Whether a serializer in it applies to JSON and not to Python objects."""
    written = [part.get("serialization") for part, _ in _schema_parts_that_are_written(schema)]
    return any(str(one.get("when_used")).startswith("json") for one in written if isinstance(one, dict))


def refuse_infinite_in_json(written: bytes) -> bytes:
    """The bytes, if they are valid JSON: pydantic writes `NaN` and `Infinity` if a type is configured so."""
    if b"NaN" in written or b"Infinity" in written:  # perhaps within a string: parsed to find out, which is rare
        json.loads(written, parse_constant=_refuse_infinite_number)
    return written


def refuse_infinite(value: Any) -> None:
    """Check that all numbers in the value are finite.

    Raises:
        ValueError: there is a NaN or an infinite number.
    """
    rest, seen = [value], set[int]()
    while rest:
        one = rest.pop()
        if isinstance(one, float):
            if not math.isfinite(one):
                _refuse_infinite_number(str(one))
        elif isinstance(one, Mapping | list | tuple | AbstractSet | deque) and id(one) not in seen:
            seen.add(id(one))
            rest += one.values() if isinstance(one, Mapping) else one


def _refuse_infinite_number(number: str) -> None:
    raise ValueError(
        f"a number in it is {number}, but JSON has neither NaN nor Infinity: send None or a string instead"
    )


# ---------------------------------------------------------------------------- secrets


def refuse_secrets(schema: Any) -> None:
    """Check that a type contains no secret: pydantic writes asterisks, and the sent value would be lost.

    Raises:
        TypeError: it contains one; the text names the field.
    """
    masking = _secret_masking_serializer_names()
    for part, path in _schema_parts_that_are_written(schema):
        if _serializer_name(part.get("serialization")) in masking:
            raise TypeError(unserializable_secret_message(".".join(path) or "it"))


def unserializable_secret_message(place: str) -> str:
    return (
        f"{place} is a secret (SecretStr, SecretBytes, Secret), which pydantic writes as asterisks: its value would be "
        "lost. Give it a serializer that writes the value (Annotated[SecretStr, PlainSerializer(lambda secret: "
        "secret.get_secret_value(), when_used='json')]), leave it out (Field(exclude=True)), or make it a str"
    )


@functools.cache
def _secret_masking_serializer_names() -> frozenset[tuple[str, str]]:
    """The functions with which pydantic writes secrets as asterisks, by module and name."""
    kinds: tuple[Any, ...] = (SecretStr, SecretBytes, Secret[int])
    parts = [part for kind in kinds for part, _ in _schema_parts_that_are_written(TypeAdapter(kind).core_schema)]
    return frozenset(name for part in parts if (name := _serializer_name(part.get("serialization"))) is not None)


def _serializer_name(serialization: Any) -> tuple[str, str] | None:
    """The module and name of a serialization schema's function: the function itself may be created per type."""
    function = serialization.get("function") if isinstance(serialization, dict) else None
    name = getattr(function, "__qualname__", None)
    return (function.__module__, name) if function is not None and name is not None else None


def _schema_parts_that_are_written(schema: Any) -> Iterator[tuple[dict[str, Any], tuple[str, ...]]]:
    """The parts of a pydantic schema that determine how values are written, each with its path of field names.

    Excluded fields are left out, and what is below a user's own serializer.
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
        if _is_plain_function_serializer(part.get("serialization")):
            continue
        if part.get("type") == "dataclass-field":
            path = (*path, str(part["name"]))
        for name, value in part.items():
            if name == "fields" and isinstance(value, dict):
                rest += [(field, (*path, field_name)) for field_name, field in value.items()]
            elif name == "property_name":
                path = (*path, str(value))  # a computed field: its return schema is a later item
            elif name not in ("metadata", "serialization"):
                rest.append((value, path))


def _is_plain_function_serializer(serialization: Any) -> bool:
    return isinstance(serialization, dict) and serialization.get("type") == "function-plain"
