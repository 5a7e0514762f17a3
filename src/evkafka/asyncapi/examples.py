"""An example for a schema that brings none: enough to see the shape of a payload at one look."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

NOTHING: Any = object()
"""No example can be made."""

DEEPEST = 6

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


def sample_of(schema: Any, schemas: Mapping[str, dict[str, Any]], depth: int = 0) -> Any:
    """A value of this schema, or `NOTHING`. Patterns are not followed: check it before it is shown."""
    if not isinstance(schema, dict) or depth > DEEPEST:
        return NOTHING
    for given in (schema.get("const", NOTHING), *schema.get("examples", ()), *schema.get("enum", ())):
        if given is not NOTHING:
            return given
    if schema.get("default") is not None:
        return schema["default"]
    if "$ref" in schema:
        return sample_of(schemas.get(schema["$ref"].rpartition("/")[2]), schemas, depth + 1)
    if "allOf" in schema:
        return _merged([sample_of(one, schemas, depth) for one in schema["allOf"]])
    if arms := schema.get("anyOf") or schema.get("oneOf"):
        return _first_of(arms, schemas, depth)
    return _of_type(schema, schemas, depth)


def _of_type(schema: dict[str, Any], schemas: Mapping[str, dict[str, Any]], depth: int) -> Any:
    match schema.get("type"):
        case "null":
            return None
        case "boolean":
            return True
        case "integer":
            return _number(schema, 1)
        case "number":
            return _number(schema, 1.5)
        case "string":
            return _text(schema)
        case "array":
            return _array(schema, schemas, depth)
        case "object":
            return _object(schema, schemas, depth)
        case _:
            return NOTHING


def _number(schema: dict[str, Any], usual: float) -> float:
    step = schema.get("multipleOf", 1)
    low, above = schema.get("minimum"), schema.get("exclusiveMinimum")
    high, below = schema.get("maximum"), schema.get("exclusiveMaximum")
    if above is not None:
        usual = max(usual, above + step)
    if low is not None:
        usual = max(usual, low)
    if high is not None:
        usual = min(usual, high)
    if below is not None and usual >= below:
        usual = below - step
    return usual


def _text(schema: dict[str, Any]) -> Any:
    if "format" in schema and schema["format"] not in TEXTS:
        return NOTHING
    text = TEXTS.get(schema.get("format", ""), "text")
    least, most = schema.get("minLength", 0), schema.get("maxLength", 1000)
    return text.ljust(least, "x")[:most] if "format" not in schema else text


def _array(schema: dict[str, Any], schemas: Mapping[str, dict[str, Any]], depth: int) -> Any:
    items = schema.get("items", {})
    if isinstance(items, list):
        values = [sample_of(item, schemas, depth + 1) for item in items]
    else:
        values = [sample_of(items, schemas, depth + 1)] * max(schema.get("minItems", 0), 1)
    if NOTHING in values:
        return [] if not schema.get("minItems") else NOTHING
    return values


def _object(schema: dict[str, Any], schemas: Mapping[str, dict[str, Any]], depth: int) -> Any:
    required = schema.get("required", ())
    found: dict[str, Any] = {}
    for name, property_ in schema.get("properties", {}).items():
        value = sample_of(property_, schemas, depth + 1)
        if value is not NOTHING:
            found[name] = value
        elif name in required:
            return NOTHING
    return found


def _first_of(arms: list[Any], schemas: Mapping[str, dict[str, Any]], depth: int) -> Any:
    """The first arm that there is a value for; null only where there is none."""
    found = [value for arm in arms if (value := sample_of(arm, schemas, depth)) is not NOTHING]
    return next((value for value in found if value is not None), found[0] if found else NOTHING)


def _merged(parts: list[Any]) -> Any:
    if len(parts) == 1:
        return parts[0]
    if not all(isinstance(part, dict) for part in parts):
        return NOTHING
    return {name: value for part in parts for name, value in part.items()}
