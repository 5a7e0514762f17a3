"""Generates an example for a schema that has none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

NO_EXAMPLE: Any = object()
"""No example can be generated."""

MAX_DEPTH = 6

TEXTS = {
    "date-time": "2026-01-31T12:00:00Z",
    "date": "2026-01-31",
    "time": "12:00:00Z",
    "duration": "PT1H",
    "uuid": "7d444840-9dc0-11d1-b245-5ffdce74fad2",
    "email": "someone@example.com",
    "uri": "https://example.com/",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
}


def example_of(schema: Any, schemas: Mapping[str, dict[str, Any]], depth: int = 0) -> Any:
    """A value of this schema, or `NO_EXAMPLE`. It ignores patterns, so validate the value before it is shown."""
    if not isinstance(schema, dict) or depth > MAX_DEPTH:
        return NO_EXAMPLE
    for given in (schema.get("const", NO_EXAMPLE), *schema.get("examples", ()), *schema.get("enum", ())):
        if given is not NO_EXAMPLE:
            return given
    if schema.get("default") is not None:
        return schema["default"]
    if "$ref" in schema:
        return example_of(schemas.get(schema["$ref"].rpartition("/")[2]), schemas, depth + 1)
    if "allOf" in schema:
        return _merge_examples([example_of(part, schemas, depth) for part in schema["allOf"]])
    if arms := schema.get("anyOf") or schema.get("oneOf"):
        return _first_example_of_arms(arms, schemas, depth)
    return _example_of_type(schema, schemas, depth)


def _example_of_type(schema: dict[str, Any], schemas: Mapping[str, dict[str, Any]], depth: int) -> Any:
    match schema.get("type"):
        case "null":
            return None
        case "boolean":
            return True
        case "integer":
            return _example_number(schema, 1)
        case "number":
            return _example_number(schema, 1.5)
        case "string":
            return _example_string(schema)
        case "array":
            return _example_array(schema, schemas, depth)
        case "object":
            return _example_object(schema, schemas, depth)
        case _:
            return NO_EXAMPLE


def _example_number(schema: dict[str, Any], default: float) -> float:
    step = schema.get("multipleOf", 1)
    low, above = schema.get("minimum"), schema.get("exclusiveMinimum")
    high, below = schema.get("maximum"), schema.get("exclusiveMaximum")
    if above is not None:
        default = max(default, above + step)
    if low is not None:
        default = max(default, low)
    if high is not None:
        default = min(default, high)
    if below is not None and default >= below:
        default = below - step
    return default


def _example_string(schema: dict[str, Any]) -> Any:
    if "format" in schema and schema["format"] not in TEXTS:
        return NO_EXAMPLE
    text = TEXTS.get(schema.get("format", ""), "text")
    least, most = schema.get("minLength", 0), schema.get("maxLength", 1000)
    return text.ljust(least, "x")[:most] if "format" not in schema else text


def _example_array(schema: dict[str, Any], schemas: Mapping[str, dict[str, Any]], depth: int) -> Any:
    items = schema.get("items", {})
    if isinstance(items, list):
        values = [example_of(item, schemas, depth + 1) for item in items]
    else:
        values = [example_of(items, schemas, depth + 1)] * max(schema.get("minItems", 0), 1)
    if NO_EXAMPLE in values:
        return [] if not schema.get("minItems") else NO_EXAMPLE
    return values


def _example_object(schema: dict[str, Any], schemas: Mapping[str, dict[str, Any]], depth: int) -> Any:
    required = schema.get("required", ())
    found: dict[str, Any] = {}
    for name, property_ in schema.get("properties", {}).items():
        value = example_of(property_, schemas, depth + 1)
        if value is not NO_EXAMPLE:
            found[name] = value
        elif name in required:
            return NO_EXAMPLE
    return found


def _first_example_of_arms(arms: list[Any], schemas: Mapping[str, dict[str, Any]], depth: int) -> Any:
    """The example of the first arm that has one; null only if no arm has another."""
    found = [value for arm in arms if (value := example_of(arm, schemas, depth)) is not NO_EXAMPLE]
    return next((value for value in found if value is not None), found[0] if found else NO_EXAMPLE)


def _merge_examples(parts: list[Any]) -> Any:
    if len(parts) == 1:
        return parts[0]
    if not all(isinstance(part, dict) for part in parts):
        return NO_EXAMPLE
    return {name: value for part in parts for name, value in part.items()}
