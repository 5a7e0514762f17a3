"""JSON Schemas of payload types, for the AsyncAPI document."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import PydanticInvalidForJsonSchema, TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode, JsonSchemaValue
from pydantic_core import CoreSchema, PydanticOmit, to_jsonable_python

from evkafka.exceptions import ConfigError
from evkafka.serde.annotations import (
    annotation_text,
    bytes_or_str_type,
    contains_msgspec_type,
    protobuf_class,
    with_dict_type_arguments,
)
from evkafka.serde.decoding import decoder_for
from evkafka.serde.pydantic_json import adapter_of

PREFIX = "#/components/schemas/"
REF = PREFIX + "{model}"

Direction = Literal["in", "out"]


@dataclass(frozen=True, slots=True)
class Wanted:
    """A payload whose schema is wanted.

    Attributes:
        key: key of its schema in the result.
        direction: `in` for what is read (fields with defaults may be left out), `out` for what is written.
    """

    key: Hashable
    annotation: Any
    direction: Direction


def schemas_of(wanted: Sequence[Wanted]) -> tuple[dict[Hashable, dict[str, Any]], dict[str, dict[str, Any]]]:
    """The schema of each payload, and the named schemas that they refer to as `#/components/schemas/NAME`.

    Schemas are JSON Schema as AsyncAPI 3.0 understands it: draft 07, without OpenAPI's discriminator objects. What
    pydantic cannot describe (a type with a validator of its own) becomes a schema that accepts anything. Examples and
    defaults that are Python values (dates, models, NaN) are written as JSON.

    Raises:
        ConfigError: the type's own schema hook raises.
    """
    messages = {one.key: {"title": annotation_text(one.annotation)} for one in wanted if protobuf_class(one.annotation)}
    wanted = [one for one in wanted if one.key not in messages]
    others = [one for one in wanted if contains_msgspec_type(one.annotation)]
    payloads, named = _pydantic_schemas([one for one in wanted if not contains_msgspec_type(one.annotation)])
    payloads |= messages
    if others:
        more_payloads, more_named = _msgspec_schemas(others, taken=named)
        payloads, named = payloads | more_payloads, named | more_named
    plain = {key: to_json_value(schema) for key, schema in payloads.items()}
    return plain, {name: to_json_value(schema) for name, schema in sorted(named.items())}


def _msgspec_schemas(
    wanted: Sequence[Wanted], *, taken: Collection[str]
) -> tuple[dict[Hashable, dict[str, Any]], dict[str, dict[str, Any]]]:
    """Schemas of Structs and attrs classes; a name that a pydantic schema has taken gets a suffix."""
    from evkafka.serde import msgspec as codec

    found, named = codec.schemas_of([one.annotation for one in wanted], PREFIX)
    names = {name: f"{name}.msgspec" if name in taken else name for name in named}
    payloads = {
        one.key: to_draft_7(_rename_references(schema, names)) for one, schema in zip(wanted, found, strict=True)
    }
    return payloads, {names[name]: to_draft_7(_rename_references(schema, names)) for name, schema in named.items()}


def _rename_references(schema: Any, names: Mapping[str, str]) -> Any:
    """The schema with its references, and those of discriminators, to the new names."""
    match schema:
        case dict():
            return {key: _rename_references(value, names) for key, value in schema.items()}
        case list():
            return [_rename_references(value, names) for value in schema]
        case str() if schema.startswith(PREFIX):
            return PREFIX + names.get(schema.removeprefix(PREFIX), schema.removeprefix(PREFIX))
        case _:
            return schema


MODES: dict[Direction, JsonSchemaMode] = {"in": "validation", "out": "serialization"}


def _pydantic_schemas(wanted: Sequence[Wanted]) -> tuple[dict[Hashable, dict[str, Any]], dict[str, dict[str, Any]]]:
    found, shared = _generate_pydantic_schemas(wanted)
    payloads = {one.key: to_draft_7(found[one.key, MODES[one.direction]]) for one in wanted}
    definitions = shared.get("$defs", {})
    return payloads, {name: to_draft_7(definitions[name]) for name in sorted(definitions)}


def _generate_pydantic_schemas(wanted: Sequence[Wanted]) -> tuple[Any, dict[str, Any]]:
    try:
        inputs = [
            (one.key, MODES[one.direction], adapter_of(with_dict_type_arguments(one.annotation))) for one in wanted
        ]
        return TypeAdapter.json_schemas(inputs, ref_template=REF, schema_generator=_LenientJsonSchemaGenerator)
    except Exception as error:
        if len(wanted) > 1:
            for one in wanted:  # find the one that fails
                _generate_pydantic_schemas([one])
        raise ConfigError(
            f"the payload {annotation_text(wanted[0].annotation)} cannot be described as a JSON Schema: "
            f"{type(error).__name__}: {error}"
        ) from error


def media_type_of_payload_type(annotation: Any) -> str:
    """The media type of a record's value whose payload has this type."""
    if protobuf_class(annotation) is not None:
        return "application/x-protobuf"
    kind = bytes_or_str_type(annotation)
    if kind is bytes:
        return "application/octet-stream"
    return "text/plain" if kind is str else "application/json"


class _LenientJsonSchemaGenerator(GenerateJsonSchema):
    """Describes a type that has no JSON Schema as `{}`, instead of raising."""

    ignored_warning_kinds = {"skipped-choice", "non-serializable-default"}  # noqa: RUF012 - as pydantic declares it

    def handle_invalid_for_json_schema(self, schema: CoreSchema, error_info: str) -> JsonSchemaValue:
        return {}

    def generate_inner(self, schema: Any) -> JsonSchemaValue:
        try:
            return super().generate_inner(schema)
        except (PydanticInvalidForJsonSchema, PydanticOmit):
            return {}


# ---------------------------------------------------------------------------- values of the user's in schemas

BOUNDS = frozenset({"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"})


def to_json_value(value: Any) -> Any:
    """The value as JSON has it. An infinite bound of a number is no bound; elsewhere such numbers become text, which
    pydantic reads as the number. A value that cannot be written is replaced by the name of its type."""
    match value:
        case None | bool() | int():
            return value
        case float():
            return value if math.isfinite(value) else str(value).replace("inf", "Infinity").replace("nan", "NaN")
        case str():
            return value.encode(errors="replace").decode()  # a lone surrogate has no UTF-8
        case list() | tuple():
            return [to_json_value(one) for one in value]
        case dict():
            return {
                _to_json_key(key): to_json_value(one)
                for key, one in value.items()
                if not (key in BOUNDS and _is_infinite(one))
            }
        case _:
            try:
                plain = to_jsonable_python(value, fallback=_text_for_unwritable_value)
            except ValueError:
                return _text_for_unwritable_value(value)
            return plain if isinstance(plain, str) else to_json_value(plain)


def _text_for_unwritable_value(value: Any) -> str:
    """Text for a value that cannot be written; its repr could contain an address, which differs each time."""
    return f"<{type(value).__name__}>"


def _to_json_key(key: Any) -> str:
    plain = to_json_value(key)
    return plain if isinstance(plain, str) else json.dumps(plain)


def _is_infinite(value: Any) -> bool:
    return isinstance(value, float) and not math.isfinite(value)


# ---------------------------------------------------------------------------- the dialect

OF_SCHEMAS = ("properties", "patternProperties", "definitions", "dependentSchemas")
LISTS = ("allOf", "anyOf", "oneOf", "prefixItems")
SINGLE = ("items", "additionalProperties", "not", "contains", "propertyNames", "if", "then", "else")


def to_draft_7(schema: Any) -> Any:
    """A draft 2020-12 schema, as pydantic makes it, converted to draft 07; examples and defaults are not changed."""
    if not isinstance(schema, dict):
        return schema
    converted = {key: _convert_keyword(key, value) for key, value in schema.items()}
    if isinstance(converted.get("prefixItems"), list):
        rest = converted.pop("items", None)
        converted["items"] = converted.pop("prefixItems")
        if rest is not None:
            converted["additionalItems"] = rest
    if isinstance(converted.get("discriminator"), dict):
        converted["x-discriminator"] = converted.pop("discriminator").get("propertyName")
    if "$ref" in converted and len(converted) > 1:  # in draft 07, keywords beside a reference are ignored
        converted = {"allOf": [{"$ref": converted.pop("$ref")}], **converted}
    return converted


def _convert_keyword(key: str, value: Any) -> Any:
    if key in OF_SCHEMAS and isinstance(value, dict):
        return {name: to_draft_7(schema) for name, schema in value.items()}
    if key in LISTS and isinstance(value, list):
        return [to_draft_7(schema) for schema in value]
    if key in SINGLE:
        return to_draft_7(value)
    return value


def is_json_value_valid_for_type(annotation: Any, value: Any) -> bool:
    """Whether this JSON value is a valid payload of the type."""
    try:
        decoder_for(annotation).from_bytes(json.dumps(value).encode())
    except Exception:  # pydantic's error, or any error of a user's own validator: then there is no example
        return False
    return True
