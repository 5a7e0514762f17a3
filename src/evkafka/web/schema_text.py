"""JSON Schemas as text for the tables of the contract page."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

BOUNDS = {
    "minimum": "≥ {}",
    "exclusiveMinimum": "> {}",
    "maximum": "≤ {}",
    "exclusiveMaximum": "< {}",
    "multipleOf": "a multiple of {}",
    "minLength": "at least {} characters",
    "maxLength": "at most {} characters",
    "minItems": "at least {} items",
    "maxItems": "at most {} items",
    "pattern": "matches {}",
}


@dataclass(frozen=True, slots=True)
class TextPart:
    """A part of a description; `schema` is the name of the schema that it links to, or empty."""

    text: str
    schema: str = ""


@dataclass(frozen=True, slots=True)
class Field:
    """One property of an object.

    Attributes:
        inner: the inline schema of an object or of a list of objects; it is shown below the field.
    """

    name: str
    required: bool
    type: Sequence[TextPart]
    description: str
    default: str
    inner: Mapping[str, Any] | None

    @property
    def has_description_or_inner_fields(self) -> bool:
        """Whether the column for the description has a content."""
        return bool(self.description or self.inner)


def describe_schema(schema: Any) -> list[TextPart]:
    """The description of a schema's values."""
    if not isinstance(schema, dict):
        return [TextPart("nothing")] if schema is False else [TextPart("anything")]
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return [TextPart(name, schema=name)]
    for key, between in (("anyOf", " or "), ("oneOf", " or "), ("allOf", " and ")):
        if arms := schema.get(key):
            return _flatten_parts_with_separator(
                [describe_schema(arm) for arm in arms], between
            ) + _describe_discriminator(schema)
    if "const" in schema:
        return [TextPart(_json_text_of_literal(schema["const"]))]
    if "enum" in schema:
        return [TextPart("one of " + ", ".join(map(_json_text_of_literal, schema["enum"])))]
    return _describe_type(schema) + _describe_bounds(schema)


def _describe_type(schema: dict[str, Any]) -> list[TextPart]:
    match schema.get("type"):
        case "array":
            return _describe_array(schema)
        case "object" if "properties" not in schema and isinstance(schema.get("additionalProperties"), dict):
            return [TextPart("object of "), *describe_schema(schema["additionalProperties"])]
        case "string" if "format" in schema:
            return [TextPart(f"string ({schema['format']})")]
        case str() as kind:
            return [TextPart(kind)]
        case list() as kinds:
            return [TextPart(" or ".join(map(str, kinds)))]
        case _:
            return [TextPart("anything")]


def _describe_array(schema: dict[str, Any]) -> list[TextPart]:
    items = schema.get("items", True)
    if isinstance(items, list):
        return [
            TextPart("list of "),
            *_flatten_parts_with_separator([describe_schema(item) for item in items], ", then "),
        ]
    return [TextPart("list of "), *describe_schema(items)]


def _describe_bounds(schema: dict[str, Any]) -> list[TextPart]:
    sentences = [sentence.format(schema[key]) for key, sentence in BOUNDS.items() if key in schema]
    if isinstance(schema.get("items"), list):
        sentences = []  # a tuple: its items are listed one by one
    return [TextPart(f", {', '.join(sentences)}")] if sentences else []


def _describe_discriminator(schema: dict[str, Any]) -> list[TextPart]:
    return [TextPart(f" (told apart by {schema['x-discriminator']})")] if "x-discriminator" in schema else []


def _flatten_parts_with_separator(parts: list[list[TextPart]], between: str) -> list[TextPart]:
    joined: list[TextPart] = []
    for part in parts:
        joined += [TextPart(between), *part] if joined else part
    return joined


def fields_of(schema: Any) -> list[Field]:
    """The properties of an object's schema."""
    if not isinstance(schema, dict):
        return []
    required = schema.get("required", ())
    return [
        Field(
            name,
            name in required,
            describe_schema(property_),
            property_.get("description", "") if isinstance(property_, dict) else "",
            _json_text_of_literal(property_["default"])
            if isinstance(property_, dict) and "default" in property_
            else "",
            _nested_object_schema(property_),
        )
        for name, property_ in schema.get("properties", {}).items()
    ]


def _nested_object_schema(schema: Any) -> Mapping[str, Any] | None:
    if isinstance(schema, dict):
        if schema.get("properties"):
            return schema
        items = schema.get("items")
        if isinstance(items, dict) and items.get("properties"):
            return items
    return None


def _json_text_of_literal(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
