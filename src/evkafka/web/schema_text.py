"""JSON Schemas in words: what a person reads in a table of fields."""

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
class Word:
    """A piece of a sentence; `schema` names the schema that it links to."""

    text: str
    schema: str = ""


@dataclass(frozen=True, slots=True)
class Field:
    """One property of an object.

    Attributes:
        inner: the schema of an object or a list of objects that stands right here, to be shown below it.
    """

    name: str
    required: bool
    words: Sequence[Word]
    description: str
    default: str
    inner: Mapping[str, Any] | None


def words(schema: Any) -> list[Word]:
    """What values of this schema are."""
    if not isinstance(schema, dict):
        return [Word("nothing")] if schema is False else [Word("anything")]
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return [Word(name, schema=name)]
    for key, between in (("anyOf", " or "), ("oneOf", " or "), ("allOf", " and ")):
        if arms := schema.get(key):
            return _joined([words(arm) for arm in arms], between) + _apart(schema)
    if "const" in schema:
        return [Word(_json(schema["const"]))]
    if "enum" in schema:
        return [Word("one of " + ", ".join(map(_json, schema["enum"])))]
    return _typed(schema) + _bounds(schema)


def _typed(schema: dict[str, Any]) -> list[Word]:
    match schema.get("type"):
        case "array":
            return _array(schema)
        case "object" if "properties" not in schema and isinstance(schema.get("additionalProperties"), dict):
            return [Word("object of "), *words(schema["additionalProperties"])]
        case "string" if "format" in schema:
            return [Word(f"string ({schema['format']})")]
        case str() as kind:
            return [Word(kind)]
        case list() as kinds:
            return [Word(" or ".join(map(str, kinds)))]
        case _:
            return [Word("anything")]


def _array(schema: dict[str, Any]) -> list[Word]:
    items = schema.get("items", True)
    if isinstance(items, list):
        return [Word("list of "), *_joined([words(item) for item in items], ", then ")]
    return [Word("list of "), *words(items)]


def _bounds(schema: dict[str, Any]) -> list[Word]:
    told = [sentence.format(schema[key]) for key, sentence in BOUNDS.items() if key in schema]
    if isinstance(schema.get("items"), list):
        told = []  # a tuple's length says itself
    return [Word(f", {', '.join(told)}")] if told else []


def _apart(schema: dict[str, Any]) -> list[Word]:
    return [Word(f" (told apart by {schema['x-discriminator']})")] if "x-discriminator" in schema else []


def _joined(parts: list[list[Word]], between: str) -> list[Word]:
    joined: list[Word] = []
    for part in parts:
        joined += [Word(between), *part] if joined else part
    return joined


def fields(schema: Any) -> list[Field]:
    """The properties of an object's schema."""
    if not isinstance(schema, dict):
        return []
    required = schema.get("required", ())
    return [
        Field(
            name,
            name in required,
            words(one),
            one.get("description", "") if isinstance(one, dict) else "",
            _json(one["default"]) if isinstance(one, dict) and "default" in one else "",
            _inner(one),
        )
        for name, one in schema.get("properties", {}).items()
    ]


def _inner(schema: Any) -> Mapping[str, Any] | None:
    if isinstance(schema, dict):
        if schema.get("properties"):
            return schema
        items = schema.get("items")
        if isinstance(items, dict) and items.get("properties"):
            return items
    return None


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
