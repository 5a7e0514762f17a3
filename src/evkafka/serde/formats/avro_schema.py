"""Avro schemas of payload types.

A model is a record, with its fields in their order and under the names that they are written with. What Avro cannot say
is an error that names the field: a schema that says less than the type would let through what readers cannot read.
"""

from __future__ import annotations

import datetime as dt
import decimal
import enum
import ipaddress
import pathlib
import re
import typing
import uuid
from collections.abc import Collection, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Any

from pydantic import (
    AnyUrl,
    BaseModel,
    EmailStr,
    PlainSerializer,
    RootModel,
    Secret,
    SecretBytes,
    SecretStr,
    WrapSerializer,
)

from evkafka.serde.annotations import annotation_text, is_union, substitute_type_arguments, unwrap_aliases, without_none
from evkafka.serde.formats.avro_fit import may_hold_type
from evkafka.serde.formats.fields import (
    NO_DEFAULT,
    Field,
    Plain,
    fields_of,
    model_of,
    split_type_and_metadata,
    undescribable_type_error,
)

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

NAMESPACE = re.compile(rf"{NAME.pattern}(\.{NAME.pattern})*")

AvroSchemaOf = Any
"""A schema as JSON has it: a name, a list for a union, or a dict."""

SCALARS: Mapping[Any, AvroSchemaOf] = {
    bool: "boolean",
    int: "long",
    float: "double",
    str: "string",
    bytes: "bytes",
    uuid.UUID: {"type": "string", "logicalType": "uuid"},
    dt.datetime: {"type": "long", "logicalType": "timestamp-millis"},
    dt.date: {"type": "int", "logicalType": "date"},
    dt.time: {"type": "int", "logicalType": "time-millis"},
}

TEXTS = (ipaddress.IPv4Address, ipaddress.IPv6Address, pathlib.PurePath, EmailStr)
"""Types that are written as text."""

SECRETS = (SecretStr, SecretBytes, Secret)

ARRAYS = (list, set, frozenset, Sequence, Collection, AbstractSet)

EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


class AvroType:
    """Says how a field is written in Avro, where its type alone does not: `Annotated[datetime, AvroType({...})]`.

    Args:
        schema: the Avro schema of the field, as JSON has it.
    """

    def __init__(self, schema: str | Mapping[str, Any] | Sequence[Any]) -> None:
        self.schema = schema


@dataclass(slots=True)
class AvroDescriber:
    """Describes one payload type.

    Attributes:
        namespace: of its records and enums.
        named: the records and enums so far, by name.
        needs_preparing: whether Python values of the type must be converted before fastavro can write them.
        needs_fitting: whether there is a union with a branch to be chosen, or a schema that may not fit the type.
    """

    namespace: str | None = None
    named: dict[str, Any] = field(default_factory=dict)
    needs_preparing: bool = False
    needs_fitting: bool = False

    def describe(self, annotation: Any) -> AvroSchemaOf:
        """The schema of a payload type.

        Raises:
            Undescribed: Avro cannot say it; the text names the field.
        """
        annotation = without_none(unwrap_aliases(annotation))
        name = annotation_text(split_type_and_metadata(annotation).kind)
        try:
            return self._describe_type(annotation, name, name)
        except RecursionError:
            raise undescribable_type_error(
                name, "it contains itself, which in Avro only a record can; use a model"
            ) from None

    def _describe_type(self, annotation: Any, path: str, name: str) -> AvroSchemaOf:
        """Args:
        path: the field in errors.
        name: for an enum that has none of its own.
        """
        plain = split_type_and_metadata(annotation)
        own = next((one for one in plain.metadata if isinstance(one, AvroType)), None)
        if own is not None:
            self.needs_preparing = self.needs_fitting = True
            _check_avro_type_fits_annotation(own, plain, path)
            return own.schema
        kind = plain.kind
        if kind in SCALARS:
            self.needs_preparing |= kind in (dt.datetime, dt.time)
            return SCALARS[kind]
        if kind is decimal.Decimal:
            return _describe_decimal(plain, path)
        if is_union(kind):
            return self._describe_union(_union_arms(plain), path, name)
        if typing.get_origin(kind) is typing.Literal:
            return self._describe_literal(typing.get_args(kind), path, name)
        return self._describe_class(kind, path, name)

    def _describe_class(self, kind: Any, path: str, name: str) -> AvroSchemaOf:
        origin, arguments = typing.get_origin(kind) or kind, typing.get_args(kind)
        if isinstance(origin, type):
            if issubclass(origin, enum.Enum):
                return self._describe_enum(origin, path)
            if issubclass(origin, SECRETS):
                raise undescribable_type_error(
                    path, "it is a secret, whose value pydantic does not write; make it a str"
                )
            if issubclass(origin, (AnyUrl, *TEXTS)) or is_url_class(origin):
                self.needs_preparing = True
                return "string"
            if issubclass(origin, RootModel):
                root = origin.model_fields["root"]
                return self._describe_type(typing.Annotated[root.annotation, None, *root.metadata], path, name)
            if model_of(origin) is not None:
                return self._describe_record(kind, path)
            if issubclass(origin, Mapping) and len(arguments) == 2:
                return self._describe_map(arguments, path, name)
            if origin in ARRAYS and len(arguments) == 1:
                return self._describe_array(arguments[0], path, name)
            if origin is tuple and len(arguments) == 2 and arguments[1] is ...:
                return self._describe_array(arguments[0], path, name)
            for scalar in (bool, int, float, str, bytes):
                if issubclass(origin, scalar):
                    return SCALARS[scalar]
        raise undescribable_type_error(
            path,
            f"Avro has no type for {annotation_text(kind)}; give it a type that says what is in it, or"
            " Annotated[..., AvroType({...})]",
        )

    # ------------------------------------------------------------------ named types

    def _describe_record(self, kind: Any, path: str) -> AvroSchemaOf:
        model = model_of(kind)
        assert model is not None
        name = _avro_name(kind)
        if name in self.named:
            return self._reference_to(name, kind, path)
        self.named[name] = kind  # before its fields, which may refer to it
        fields = [self._describe_field(one, f"{path}.{one.name}", name) for one in _fields_with_arguments(kind, model)]
        return {"type": "record", "name": name, **self._namespace_attribute(), "fields": fields}

    def _describe_field(self, one: Field, path: str, record: str) -> dict[str, Any]:
        if not NAME.fullmatch(one.name):
            raise undescribable_type_error(
                path, "a name in Avro has letters, digits and _ only; give the field another alias"
            )
        if one.may_be_missing:
            raise undescribable_type_error(
                path, "Avro has no fields that may be missing; make it required and `... | None`"
            )
        schema = self._describe_type(one.annotation, path, f"{record}_{one.name}")
        if one.default is NO_DEFAULT:
            return {"name": one.name, "type": schema}
        if isinstance(schema, list):
            schema = _put_default_first(schema, one.default)
        return {"name": one.name, "type": schema, "default": self._encode_default(schema, one.default, path)}

    def _describe_enum(self, kind: type[enum.Enum], path: str) -> AvroSchemaOf:
        values = [one.value for one in kind]
        self.needs_preparing = True
        if all(isinstance(one, int) and not isinstance(one, bool) for one in values):
            return "long"
        if not all(isinstance(one, str) for one in values):
            raise undescribable_type_error(path, f"the values of {kind.__name__} are not all str, or all int")
        if not all(map(NAME.fullmatch, values)):
            return "string"
        if kind.__name__ in self.named:
            return self._reference_to(kind.__name__, kind, path)
        self.named[kind.__name__] = kind
        return {"type": "enum", "name": kind.__name__, **self._namespace_attribute(), "symbols": values}

    def _describe_literal(self, values: tuple[Any, ...], path: str, name: str) -> AvroSchemaOf:
        values = tuple(one.value if isinstance(one, enum.Enum) else one for one in values)
        if None in values:
            rest = tuple(one for one in values if one is not None)
            return ["null", self._describe_literal(rest, path, name)] if rest else "null"
        for kind, scalar in ((bool, "boolean"), (int, "long")):
            if all(type(one) is kind for one in values):
                return scalar
        if not all(isinstance(one, str) for one in values):
            raise undescribable_type_error(path, "the values of its Literal are not all str, or all int")
        if not all(map(NAME.fullmatch, (name, *values))):
            return "string"  # a payload that is a Literal itself has no name for an enum
        self.needs_preparing = True
        if name in self.named:
            return self._reference_to(name, values, path)
        self.named[name] = values
        return {"type": "enum", "name": name, **self._namespace_attribute(), "symbols": list(values)}

    def _reference_to(self, name: str, kind: Any, path: str) -> str:
        if self.named[name] != kind:
            raise undescribable_type_error(path, f"there are two types of the name {name}; rename one of them")
        return name if self.namespace is None else f"{self.namespace}.{name}"

    def _namespace_attribute(self) -> dict[str, str]:
        return {} if self.namespace is None else {"namespace": self.namespace}

    # ------------------------------------------------------------------ other types

    def _describe_array(self, item: Any, path: str, name: str) -> AvroSchemaOf:
        return {"type": "array", "items": self._describe_type(item, f"{path}[]", name)}

    def _describe_map(self, arguments: tuple[Any, ...], path: str, name: str) -> AvroSchemaOf:
        key, value = arguments
        if split_type_and_metadata(key).kind is not str:
            raise undescribable_type_error(path, "the keys of a map are str in Avro")
        return {"type": "map", "values": self._describe_type(value, f"{path}[]", name)}

    def _describe_union(self, arms: tuple[Any, ...], path: str, name: str) -> AvroSchemaOf:
        kinds = [arm for arm in arms if arm is not type(None)]
        schemas: list[Any] = ["null"] if len(kinds) < len(arms) else []
        for arm in kinds:
            schema = self._describe_type(arm, path, name if len(kinds) == 1 else f"{name}_{len(schemas)}")
            schemas += schema if isinstance(schema, list) else [schema]
        if len(kinds) > 1:
            self.needs_preparing = self.needs_fitting = True
            _check_discriminator(kinds, path)
        branches = [_branch_key(schema) for schema in schemas]
        if twice := next((one for one in branches if branches.count(one) > 1), None):
            raise undescribable_type_error(
                path, f"Avro cannot tell two types of a union apart that are both {twice}; use records with a name each"
            )
        return schemas

    # ------------------------------------------------------------------ defaults

    def _encode_default(self, schema: AvroSchemaOf, value: Any, path: str) -> Any:
        """A default as a schema has it."""
        match value:
            case None | bool() | str() if not isinstance(value, enum.Enum):
                return value
            case enum.Enum():
                return value.value
            case int() | float():
                return float(value) if schema == "double" else value
            case bytes():
                return value.decode("latin-1")
            case uuid.UUID():
                return str(value)
            case decimal.Decimal() if isinstance(schema, Mapping):
                return _encode_decimal(value, schema["scale"]).decode("latin-1")
            case dt.datetime() if value.tzinfo is not None:
                return (value - EPOCH) // dt.timedelta(milliseconds=1)
            case dt.date() if not isinstance(value, dt.datetime):
                return (value - EPOCH.date()).days
            case list() | tuple() | set() | frozenset() if not value:
                return []
            case list() | tuple() if isinstance(schema, Mapping):
                return [self._encode_default(schema.get("items"), one, path) for one in value]
            case dict() if isinstance(schema, Mapping):
                return {str(key): self._encode_default(schema.get("values"), one, path) for key, one in value.items()}
            case _ if isinstance(schema, list):
                return self._encode_default(schema[0], value, path)
        raise undescribable_type_error(
            path, f"its default, of type {type(value).__name__}, cannot be written into an Avro schema"
        )


def _check_avro_type_fits_annotation(own: AvroType, plain: Plain, path: str) -> None:
    """Raises:
    Undescribed: no value of the type fits its `AvroType`.
    """
    kind = without_none(plain.kind)
    is_serialized = any(isinstance(one, PlainSerializer | WrapSerializer) for one in plain.metadata)
    if kind in (*SCALARS, decimal.Decimal, dt.timedelta) and not is_serialized and not may_hold_type(own.schema, kind):
        raise undescribable_type_error(
            path,
            f"a {annotation_text(kind)} cannot be written as {own.schema}; add a field_serializer that"
            " returns what can, with the type that it returns",
        )


def _check_discriminator(arms: list[Any], path: str) -> None:
    """Models of a union have a field whose values say which of them it is: the writer, and readers, cannot tell else.

    Raises:
        Undescribed: they have none.
    """
    models = [model for arm in arms if (model := model_of(split_type_and_metadata(arm).kind)) is not None]
    if len(models) < 2:
        return
    first, *others = [{one.name: _literal_values(one.annotation) for one in fields_of(model) or ()} for model in models]
    for name in first:
        values = [value for one in (first, *others) for value in one.get(name) or [None]]
        if None not in values and len(set(values)) == len(values):
            return
    raise undescribable_type_error(
        path,
        f"nothing tells {' and '.join(annotation_text(one) for one in models)} apart; give each a discriminator: a"
        ' field with a Literal of its own, such as kind: Literal["card"]',
    )


def _literal_values(annotation: Any) -> list[Any]:
    """The values of a Literal; empty for other types."""
    kind = split_type_and_metadata(annotation).kind
    return list(typing.get_args(kind)) if typing.get_origin(kind) is typing.Literal else []


def _union_arms(union: Plain) -> tuple[Any, ...]:
    """The arms of a union; of `Decimal | None`, the constraints are those of the Decimal."""
    arms = typing.get_args(union.kind)
    is_optional = len(arms) == 2 and type(None) in arms
    if not (is_optional and union.metadata):
        return arms
    return tuple(arm if arm is type(None) else typing.Annotated[arm, *union.metadata] for arm in arms)


def _fields_with_arguments(kind: Any, model: type) -> list[Field]:
    """The fields; of a generic dataclass or TypedDict with its arguments in place."""
    fields = fields_of(model) or []
    arguments = dict(zip(getattr(model, "__parameters__", ()), typing.get_args(kind), strict=False))
    if not arguments:
        return fields
    return [
        Field(one.name, substitute_type_arguments(one.annotation, arguments), one.default, one.may_be_missing)
        for one in fields
    ]


def _avro_name(kind: Any) -> str:
    """`Page[Order]` is Page_Order."""
    parts = [str((typing.get_origin(kind) or kind).__name__)]
    parts += [_avro_name(one) if model_of(one) else annotation_text(one) for one in typing.get_args(kind)]
    return re.sub(r"[^A-Za-z0-9_]+", "_", "_".join(parts)).strip("_")


def is_valid_namespace(given: object) -> bool:
    return isinstance(given, str) and NAMESPACE.fullmatch(given) is not None


def is_url_class(kind: type) -> bool:
    """Pydantic's URLs: AnyUrl and others, which have no common base in all versions."""
    return kind.__module__ in ("pydantic.networks", "pydantic_core._pydantic_core") and not issubclass(kind, BaseModel)


def _describe_decimal(plain: Plain, path: str) -> AvroSchemaOf:
    precision, scale = plain.constraint("max_digits"), plain.constraint("decimal_places")
    if precision is None or scale is None:
        raise undescribable_type_error(
            path, "a Decimal in Avro has a fixed number of digits: Field(max_digits=12, decimal_places=2)"
        )
    return {"type": "bytes", "logicalType": "decimal", "precision": precision, "scale": scale}


def _encode_decimal(value: decimal.Decimal, scale: int) -> bytes:
    unscaled = int(value.scaleb(scale))
    return unscaled.to_bytes(unscaled.bit_length() // 8 + 1, signed=True)


def _put_default_first(schemas: list[Any], default: Any) -> list[Any]:
    """A union with the branch of its default first, as Avro demands."""
    if default is None or "null" not in schemas:
        return schemas
    return [*(one for one in schemas if one != "null"), "null"]


def _branch_key(schema: AvroSchemaOf) -> str:
    """What tells a branch of a union apart."""
    if isinstance(schema, str):
        return schema
    kind = str(schema["type"])
    if kind in ("record", "enum"):
        return f"{schema['namespace']}.{schema['name']}" if "namespace" in schema else str(schema["name"])
    return kind
