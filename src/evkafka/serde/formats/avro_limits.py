"""Limits for values whose schema allows a few bytes to become very much: records that contain themselves, which
fastavro reads by recursion in C and which can crash the process, and arrays whose items take no bytes.

Values of such a schema are checked before they are decoded. Most schemas are not of that kind and cost nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from evkafka.serde.formats.avro_definitions import Named, definition_of
from evkafka.serde.formats.interface import FormatError

MOST_NESTED = 200
"""Levels of records, arrays and maps in a value: as many as JSON may have."""

MOST_EMPTY_ITEMS = 1_000_000
"""Items of arrays, in one value, that take no bytes: those of type null, for example."""

LONGEST_NUMBER = 10
"""Bytes of an int or long."""

FIXED_SIZES = {"null": 0, "boolean": 1, "float": 4, "double": 8}

Check = Callable[[bytes, int], None]
"""Checks a value, from this byte on. Raises FormatError."""


def compile_size_check(schema: Any, named: Named) -> Check | None:
    """A check of values of this schema; None if it needs none."""
    if not (_is_recursive(schema, named) or _has_empty_items(schema, named)):
        return None

    def check(value: bytes, start: int) -> None:
        walk = _Walk(value, start, named)
        levels: list[Iterator[Any]] = [iter((schema,))]
        while levels:
            inner = next((found for one in levels[-1] if (found := walk.skip_value(one)) is not None), None)
            if inner is None:
                levels.pop()
            elif len(levels) > MOST_NESTED:
                raise FormatError(f"it is nested deeper than {MOST_NESTED} levels")
            else:
                levels.append(inner)

    return check


class _Walk:
    """Goes through a value without decoding it."""

    def __init__(self, value: bytes, start: int, named: Named) -> None:
        self._value = value
        self._at = start
        self._named = named
        self._empty_items = 0

    def skip_value(self, schema: Any) -> Iterator[Any] | None:
        """Skip a value of this schema. Of a record, array or map: the schemas of what it contains, to be skipped."""
        while isinstance(schema, list):
            branch = self._read_number()
            if not 0 <= branch < len(schema):
                raise FormatError("its bytes do not fit its schema: a union has no such branch")
            schema = schema[branch]
        kind, definition = definition_of(schema, self._named)
        match kind:
            case "record" | "error":
                return (field["type"] for field in definition["fields"])
            case "array":
                return self._item_schemas(
                    (definition["items"],), is_empty=_takes_no_bytes(definition["items"], self._named, ())
                )
            case "map":
                return self._item_schemas(("string", definition["values"]), is_empty=False)
            case "int" | "long" | "enum":
                self._read_number()
            case "string" | "bytes":
                self._skip_bytes(self._read_number())
            case "fixed":
                self._skip_bytes(definition["size"])
            case _:
                self._skip_bytes(FIXED_SIZES[kind])
        return None

    def _item_schemas(self, of_one: tuple[Any, ...], *, is_empty: bool) -> Iterator[Any]:
        """The schemas of the items of an array or map, block by block."""
        while count := self._read_number():
            if count < 0:
                count = -count
                self._read_number()  # the size of the block in bytes
            if is_empty:
                self._empty_items += count
                if self._empty_items > MOST_EMPTY_ITEMS:
                    raise FormatError(f"it has more than {MOST_EMPTY_ITEMS} items that take no bytes")
                continue
            for _ in range(count):
                yield from of_one

    def _read_number(self) -> int:
        number = shift = 0
        for byte in self._value[self._at : self._at + LONGEST_NUMBER]:
            self._at += 1
            number |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return (number >> 1) ^ -(number & 1)
        raise FormatError("its bytes do not fit its schema: a number has no end")

    def _skip_bytes(self, size: int) -> None:
        self._at += size
        if size < 0 or self._at > len(self._value):
            raise FormatError("its bytes do not fit its schema: they end too early")


# ---------------------------------------------------------------------------- which schemas


def _child_schemas(schema: Any, named: Named) -> list[Any]:
    """The schemas in a schema."""
    if isinstance(schema, list):
        return schema
    kind, definition = definition_of(schema, named)
    match kind:
        case "record" | "error":
            return [field["type"] for field in definition["fields"]]
        case "array":
            return [definition["items"]]
        case "map":
            return [definition["values"]]
        case _:
            return []


def _record_name(schema: Any, named: Named) -> str | None:
    """The full name of a record."""
    if isinstance(schema, list):
        return None
    kind, definition = definition_of(schema, named)
    return str(definition["name"]) if kind in ("record", "error") else None


def _is_recursive(schema: Any, named: Named) -> bool:
    """Whether a record in it contains itself."""
    done = set[str]()

    def contains(schema: Any, inside: frozenset[str]) -> bool:
        name = _record_name(schema, named)
        if name in inside:
            return True
        if name in done:
            return False
        inner = inside if name is None else inside | {name}
        found = any(contains(one, inner) for one in _child_schemas(schema, named))
        if name is not None:
            done.add(name)
        return found

    return contains(schema, frozenset())


def _has_empty_items(schema: Any, named: Named) -> bool:
    """Whether there is an array in it whose items take no bytes."""
    seen, rest = set[str](), [schema]
    while rest:
        one = rest.pop()
        if (name := _record_name(one, named)) is not None:
            if name in seen:
                continue
            seen.add(name)
        if not isinstance(one, list):
            kind, definition = definition_of(one, named)
            if kind == "array" and _takes_no_bytes(definition["items"], named, ()):
                return True
        rest += _child_schemas(one, named)
    return False


def _takes_no_bytes(schema: Any, named: Named, inside: tuple[str, ...]) -> bool:
    """Whether values of this schema take no bytes."""
    if isinstance(schema, list):
        return False
    kind, definition = definition_of(schema, named)
    match kind:
        case "null":
            return True
        case "fixed":
            return bool(definition["size"] == 0)
        case "record" | "error":
            name = str(definition["name"])
            if name in inside:
                return True  # nothing of it has taken a byte so far
            return all(_takes_no_bytes(field["type"], named, (*inside, name)) for field in definition["fields"])
        case _:
            return False
