"""Compares two JSON schemas of one event: what the new schema accepts that the old one did not, and the reverse."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

Document = dict[str, Any]

MISSING: Document = {}
"""What a `$ref` to nothing leads to."""

MAX_DEPTH = 12
"""Schemas that are nested deeper are not compared."""


Pairs = tuple[tuple[int, int], ...]
"""Pairs of an old and a new schema, by identity."""


class Difference(NamedTuple):
    breaks: bool
    path: str
    what: str


def resolve_reference(document: Document, node: Any, depth: int = 0) -> Any:
    """The node that a `$ref` leads to; any other node is returned as it is."""
    if not isinstance(node, dict) or "$ref" not in node or depth > 20:
        return node
    found: Any = document
    for part in node["$ref"].removeprefix("#/").split("/"):
        found = found.get(part.replace("~1", "/").replace("~0", "~"), MISSING) if isinstance(found, dict) else MISSING
    return resolve_reference(document, found, depth + 1)


class Schema:
    """A schema in a document; references are resolved."""

    def __init__(self, document: Document, node: Any) -> None:
        self._document = document
        self.node = resolve_reference(document, node)

    def schema_of_nested_node(self, node: Any) -> Schema:
        return Schema(self._document, node)

    def get(self, keyword: str, default: Any = None) -> Any:
        return self.node.get(keyword, default)

    def alternatives(self) -> list[Schema]:
        """The alternatives of `anyOf` or `oneOf`; empty if it has none."""
        return [self.schema_of_nested_node(arm) for arm in self.get("anyOf") or self.get("oneOf") or ()]

    def types(self) -> set[str]:
        """The JSON types that it accepts; empty if it accepts any."""
        if arms := self.alternatives():
            each = [arm.types() for arm in arms]
            return set().union(*each) if all(each) else set()
        kind = self.get("type")
        if kind is None and ("enum" in self.node or "const" in self.node):
            return {_json_type_of_value(value) for value in self.get("enum", [self.get("const")])}
        return {kind} if isinstance(kind, str) else set(kind or ())

    def values(self) -> list[Any] | None:
        """The values of `const` or `enum`; None if it has neither."""
        if "const" in self.node:
            return [self.node["const"]]
        values = self.get("enum")
        return list(values) if isinstance(values, list) else None

    def without_null_alternative(self) -> Schema:
        """The one alternative that is an object or a list, so that `X | null` compares like X; else the schema."""
        containers = [
            arm
            for arm in self.alternatives() or [self]
            if isinstance(arm.node, dict) and ("properties" in arm.node or "items" in arm.node)
        ]
        return containers[0] if len(containers) == 1 else self


class SchemaDiff:
    """Compares two schemas.

    A payload that the app receives must not become narrower, one that it sends must not become wider.
    """

    def __init__(self, *, receives: bool) -> None:
        self._receives = receives
        self._equal: set[tuple[int, int]] = set()

    def compare(self, old: Schema, new: Schema, path: str, outer: Pairs = ()) -> list[Difference]:
        """The differences between two schemas, and between those nested in them.

        Args:
            outer: the pairs of schemas that this pair is nested in. A recursive model leads back to one of them.
        """
        # Equal text is not enough: a $ref in it may lead to a model that has changed.
        pair = id(old.node), id(new.node)
        both_objects = isinstance(old.node, dict) and isinstance(new.node, dict)
        if not both_objects or pair in self._equal or pair in outer or len(outer) > MAX_DEPTH:
            return []
        found = list(self._compare_all_keywords(old, new, path, (*outer, pair)))
        if not found:
            self._equal.add(pair)
        return found

    def _compare_all_keywords(self, old: Schema, new: Schema, path: str, outer: Pairs) -> Iterator[Difference]:
        yield from self._compare_types(old.types(), new.types(), path)
        yield from self._compare_enum_values(old.values(), new.values(), path)
        yield from self._compare_limits(old, new, path)
        old, new = old.without_null_alternative(), new.without_null_alternative()
        yield from self._compare_fields(old, new, path, outer)
        if "items" in old.node and "items" in new.node:
            items = old.schema_of_nested_node(old.node["items"]), new.schema_of_nested_node(new.node["items"])
            yield from self.compare(*items, f"{path}[]", outer)

    def _narrowing_difference(self, path: str, what: str) -> Difference:
        return Difference(self._receives, path, what)

    def _widening_difference(self, path: str, what: str) -> Difference:
        return Difference(not self._receives, path, what)

    def _compare_types(self, old: set[str], new: set[str], path: str) -> Iterator[Difference]:
        if old == new:
            return
        if not old:
            yield self._narrowing_difference(path, f"must be {' or '.join(sorted(new))} now")
        elif not new:
            yield self._widening_difference(path, "may be anything now")
        else:
            # An integer is a number too.
            removed = sorted(old - new - ({"integer"} if "number" in new else set()))
            added = sorted(new - old - ({"integer"} if "number" in old else set()))
            if removed:
                yield self._narrowing_difference(path, f"may no longer be {' or '.join(removed)}")
            if added:
                yield self._widening_difference(path, f"may also be {' or '.join(added)}")

    def _compare_enum_values(self, old: list[Any] | None, new: list[Any] | None, path: str) -> Iterator[Difference]:
        if old is None and new is not None:
            yield self._narrowing_difference(path, f"must be one of {_join_values(new)} now")
        elif new is None and old is not None:
            yield self._widening_difference(path, "may have any value now")
        elif old is not None and new is not None:
            if removed := [value for value in old if value not in new]:
                yield self._narrowing_difference(path, f"may no longer be {_join_values(removed)}")
            if added := [value for value in new if value not in old]:
                yield self._widening_difference(path, f"may also be {_join_values(added)}")

    def _compare_limits(self, old: Schema, new: Schema, path: str) -> Iterator[Difference]:
        for keyword in (*LOWER_LIMITS, *UPPER_LIMITS, "pattern", "format"):
            was, now = old.get(keyword), new.get(keyword)
            if was == now:
                continue
            what = f"{keyword} is {_value_or_none_text(now)}, and was {_value_or_none_text(was)}"
            if keyword in LOWER_LIMITS:
                narrower = was is None or (now is not None and now > was)
            elif keyword in UPPER_LIMITS:
                narrower = was is None or (now is not None and now < was)
            else:
                narrower = now is not None
            yield self._narrowing_difference(path, what) if narrower else self._widening_difference(path, what)

    def _compare_fields(self, old: Schema, new: Schema, path: str, outer: Pairs) -> Iterator[Difference]:
        was, now = old.get("properties", {}), new.get("properties", {})
        was_required, now_required = set(old.get("required", ())), set(new.get("required", ()))
        old_closed, new_closed = (one.get("additionalProperties") is False for one in (old, new))
        for name in sorted({*was, *now}):
            field = f"{path}.{name}"
            if name not in now:
                # A client may continue to send a field that the app ignores; a client that reads it may need it.
                yield Difference(new_closed if self._receives else True, field, "was removed")
            elif name not in was:
                breaks = name in now_required if self._receives else old_closed
                yield Difference(breaks, field, "was added, required" if name in now_required else "was added")
            else:
                if name in now_required - was_required:
                    yield self._narrowing_difference(field, "is required now")
                if name in was_required - now_required:
                    yield self._widening_difference(field, "is optional now")
                yield from self.compare(
                    old.schema_of_nested_node(was[name]), new.schema_of_nested_node(now[name]), field, outer
                )


LOWER_LIMITS = ("minimum", "exclusiveMinimum", "minLength", "minItems")
UPPER_LIMITS = ("maximum", "exclusiveMaximum", "maxLength", "maxItems")


def _json_type_of_value(value: Any) -> str:
    names = {bool: "boolean", int: "integer", float: "number", str: "string", type(None): "null", list: "array"}
    return names.get(type(value), "object")


def _join_values(values: list[Any]) -> str:
    return ", ".join(json.dumps(value, ensure_ascii=False) for value in values)


def _value_or_none_text(value: Any) -> str:
    return "none" if value is None else str(value)
