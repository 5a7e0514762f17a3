"""Whether an event fits an Avro schema, exactly.

fastavro writes some values that do not fit as others: 10.99 as the int 10, a datetime as a date. And of a union it
takes the first branch that it can write. Here an event that would be changed is an error that names the field, and of a
union the branch is chosen that has the value's type.
"""

from __future__ import annotations

import datetime as dt
import decimal
import numbers
import struct
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from evkafka.serde.formats.avro_definitions import Named, definition_of

Fit = Callable[[Any], Any]
"""Gives an event as fastavro writes it, with the branches of its unions. Raises Misfit."""


class Misfit(Exception):
    """A value that its schema cannot hold. The text names the field, and contains nothing of the value."""


def compile_conversion_to_schema_branches(schema: Any, named: Named) -> Fit:
    fitting = _Fitting(named)

    def fit(event: Any) -> Any:
        try:
            return fitting.fit_value(schema, event, "")
        except RecursionError:
            raise Misfit("it is nested too deeply") from None

    return fit


class _Fitting:
    def __init__(self, named: Named) -> None:
        self._named = named

    def fit_value(self, schema: Any, value: Any, path: str) -> Any:
        if isinstance(schema, list):
            return self._fit_union(schema, value, path)
        kind, definition = definition_of(schema, self._named)
        match kind, value:
            case "record" | "error", Mapping():
                return self._fit_record(definition, value, path or str(definition["name"]))
            case "array", Sequence() if not isinstance(value, str | bytes | bytearray):
                return [self.fit_value(definition["items"], one, f"{path}[]") for one in value]
            case "map", Mapping() if all(isinstance(key, str) for key in value):
                return {key: self.fit_value(definition["values"], one, f"{path}[]") for key, one in value.items()}
        _check_value(kind, definition, value, path or "value")
        return value

    def _fit_record(self, record: Mapping[str, Any], value: Mapping[str, Any], path: str) -> dict[str, Any]:
        fields = {field["name"]: field for field in record["fields"]}
        if more := next((name for name in value if name not in fields and name != "-type"), None):
            raise Misfit(f"the schema has no field {path}.{more}")
        if value.get("-type", record["name"]) != record["name"] and "-type" not in fields:
            raise Misfit(f"{path} is not of type {record['name']}")
        if missing := next((name for name, one in fields.items() if name not in value and "default" not in one), None):
            raise Misfit(f"{path}.{missing} is missing, and has no default")
        return {
            name: self.fit_value(field["type"], value[name], f"{path}.{name}")
            for name, field in fields.items()
            if name in value
        }

    def _fit_union(self, branches: list[Any], value: Any, path: str) -> Any:
        fitting, misfits = list[tuple[int, str, Any]](), list[Misfit]()
        for branch in branches:
            kind, definition = definition_of(branch, self._named)
            try:
                fitted = self.fit_value(branch, value, path)
            except Misfit as misfit:
                if kind != "null":
                    misfits.append(misfit)
            else:
                fitting.append((_branch_distance(kind, definition, value), str(definition.get("name", kind)), fitted))
        if fitting:
            _, name, fitted = min(fitting, key=lambda one: one[0])
            return name, fitted
        if len(misfits) == 1:
            raise misfits[0]
        types = ", ".join(_schema_text(*definition_of(branch, self._named)) for branch in branches)
        raise Misfit(f"{path or 'value'} is {type(value).__name__}, and fits none of the types {types}")


def _branch_distance(kind: str, definition: Mapping[str, Any], value: Any) -> int:
    """How far a branch that fits is from what the value is: the nearest is written."""
    match value:
        case Mapping() if kind in ("record", "error"):
            return sum(field["name"] not in value for field in definition["fields"])
        case bool():
            return 0
        case int():
            return int(kind not in ("int", "long"))
        case float():
            return int(kind != "double")
        case _:
            return 0


# ---------------------------------------------------------------------------- values without parts

TYPES: Mapping[str, tuple[type, ...]] = {
    "null": (type(None),),
    "boolean": (bool,),
    "int": (numbers.Integral,),
    "long": (numbers.Integral,),
    "float": (numbers.Real,),
    "double": (numbers.Real,),
    "string": (str,),
    "bytes": (bytes, bytearray),
    "fixed": (bytes, bytearray),
    "enum": (str,),
}

LOGICAL_TYPES: Mapping[tuple[str, str], tuple[type, ...]] = {
    ("int", "date"): (dt.date, str),
    ("int", "time-millis"): (dt.time,),
    ("long", "time-micros"): (dt.time,),
    ("long", "timestamp-millis"): (dt.datetime,),
    ("long", "timestamp-micros"): (dt.datetime,),
    ("long", "local-timestamp-millis"): (dt.datetime,),
    ("long", "local-timestamp-micros"): (dt.datetime,),
    ("string", "uuid"): (uuid.UUID,),
    ("bytes", "decimal"): (decimal.Decimal,),
    ("fixed", "decimal"): (decimal.Decimal,),
}
"""Values that fastavro writes as this type, besides those of the type itself."""


def may_hold_type(schema: Any, python_type: type) -> bool:
    """Whether some values of this Python type, which has no parts, fit the schema."""
    if isinstance(schema, list):
        return any(may_hold_type(branch, python_type) for branch in schema)
    if not isinstance(schema, str) and "type" not in schema:
        return True  # it is invalid, which is another error
    kind, definition = definition_of(schema, {})
    types = _python_types_of(kind, definition)
    return kind not in TYPES or _is_subclass_of_any_type(python_type, types)


def _python_types_of(kind: str, definition: Mapping[str, Any]) -> tuple[type, ...]:
    return (*TYPES.get(kind, ()), *LOGICAL_TYPES.get((kind, str(definition.get("logicalType"))), ()))


def _is_subclass_of_any_type(python_type: type, types: tuple[type, ...]) -> bool:
    """As `issubclass`, but a bool is no number and a datetime is no date."""
    for special in (bool, dt.datetime):
        if issubclass(python_type, special):
            return special in types
    return issubclass(python_type, types)


def _check_value(kind: str, definition: Mapping[str, Any], value: Any, path: str) -> None:
    shown, given = _schema_text(kind, definition), type(value).__name__
    if not _is_subclass_of_any_type(type(value), _python_types_of(kind, definition)):
        raise Misfit(f"{path} is {given}, and not of type {shown}")
    if not _can_hold_value(kind, definition, value):
        raise Misfit(f"{path} is {given} with a value that type {shown} does not have")


def _can_hold_value(kind: str, definition: Mapping[str, Any], value: Any) -> bool:
    """Whether the type has this value, which is of a Python type that it may have."""
    match value:
        case dt.datetime():
            return (value.tzinfo is None) == str(definition["logicalType"]).startswith("local-")
        case dt.time():
            return value.tzinfo is None
        case dt.date() | uuid.UUID() | decimal.Decimal() | None:
            return True  # fastavro refuses a Decimal with other digits
    match kind:
        case "int":
            return (
                -(2**31) <= value < 2**31
                if not isinstance(value, str)
                else _is_text_accepted_by_parser(dt.date.fromisoformat, value)
            )
        case "long":
            return bool(-(2**63) <= value < 2**63)
        case "float" | "double":
            return _is_written_exactly("<f" if kind == "float" else "<d", value)
        case "string":
            return definition.get("logicalType") != "uuid" or _is_text_accepted_by_parser(uuid.UUID, value)
        case "enum":
            return value in definition["symbols"]
        case "fixed":
            return bool(len(value) == definition["size"])
        case _:
            return True


def _is_written_exactly(form: str, value: Any) -> bool:
    """An int must be the same; a float may have more digits than 32 bits have, but not become infinite."""
    try:
        written = struct.pack(form, value)
    except (OverflowError, struct.error):
        return False
    return not isinstance(value, numbers.Integral) or struct.unpack(form, written) == (value,)


def _is_text_accepted_by_parser(parse: Callable[[str], object], text: str) -> bool:
    try:
        parse(text)
    except ValueError:
        return False
    return True


def _schema_text(kind: str, definition: Mapping[str, Any]) -> str:
    return str(definition.get("logicalType") or definition.get("name") or kind)
