"""The fields of payload types (pydantic models, dataclasses, TypedDicts), as they are written."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, NotRequired, Required

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined
from typing_extensions import ReadOnly, get_type_hints, is_typeddict

from evkafka.serde.annotations import unwrap_aliases, without_none
from evkafka.serde.formats.registry_format import Undescribed

NO_DEFAULT: Any = object()

QUALIFIERS: tuple[Any, ...] = (Required, NotRequired, ReadOnly)

COLLECTIONS = (list, dict, set, frozenset, tuple)


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a payload type.

    Attributes:
        name: as it is written.
        default: `NO_DEFAULT` if there is none that is always the same.
        may_be_missing: it may be left out of an event (`NotRequired`).
    """

    name: str
    annotation: Any
    default: Any = NO_DEFAULT
    may_be_missing: bool = False


def fields_of(kind: Any) -> list[Field] | None:
    """The fields of a record type; None if it is not one."""
    if not isinstance(kind, type):
        return None
    if issubclass(kind, BaseModel):
        return list(_pydantic_fields(kind))
    if is_typeddict(kind):
        return list(_typed_dict_fields(kind))
    if dataclasses.is_dataclass(kind):
        return list(_dataclass_fields(kind))
    return None


def model_of(annotation: Any) -> type | None:
    """The class of a record type, also of a generic one with arguments; None if it is not one."""
    kind = typing.get_origin(annotation) or annotation
    return kind if isinstance(kind, type) and fields_of(kind) is not None else None


def _pydantic_fields(kind: type[BaseModel]) -> Iterator[Field]:
    if not kind.__pydantic_complete__:
        kind.model_rebuild()
    serialized = dict(_serializer_return_types(kind))
    for name, info in kind.model_fields.items():
        if info.exclude:
            continue
        one, written = _pydantic_field(name, info), serialized.get(name, info.annotation)
        if written != info.annotation:  # its default is not what is written, either
            one = replace(one, annotation=typing.Annotated[written, None, *info.metadata], default=NO_DEFAULT)
        yield one
    for name, computed in kind.model_computed_fields.items():
        yield Field(computed.alias or name, computed.return_type)


def _serializer_return_types(kind: type[BaseModel]) -> Iterator[tuple[str, Any]]:
    """The fields with a `field_serializer` that says what it returns, and that type."""
    for decorator in kind.__pydantic_decorators__.field_serializers.values():
        info = decorator.info
        given: Any = info.return_type
        returned = given if given is not PydanticUndefined else _return_annotation(decorator.func)
        if info.when_used == "always" and returned not in (PydanticUndefined, Any):
            for name in info.fields:
                yield name, returned


def _return_annotation(function: Any) -> Any:
    """What a function is annotated to return; `PydanticUndefined` if that is not known."""
    try:
        return get_type_hints(function, include_extras=True).get("return", PydanticUndefined)
    except (NameError, TypeError):
        return PydanticUndefined


def _pydantic_field(name: str, info: FieldInfo) -> Field:
    annotation = typing.Annotated[info.annotation, *info.metadata] if info.metadata else info.annotation
    return Field(info.serialization_alias or name, annotation, _default_of(info))


def _default_of(info: FieldInfo) -> Any:
    if info.is_required():
        return NO_DEFAULT
    if info.default_factory is None:
        return info.default
    factory: Any = info.default_factory
    return factory() if factory in COLLECTIONS else NO_DEFAULT


def _dataclass_fields(kind: Any) -> Iterator[Field]:
    hints = get_type_hints(kind, include_extras=True)
    for one in dataclasses.fields(kind):
        default = one.default if one.default is not dataclasses.MISSING else NO_DEFAULT
        if one.default_factory in COLLECTIONS:
            default = one.default_factory()
        annotation, info = hints[one.name], _field_info_in(hints[one.name])
        if isinstance(default, FieldInfo):
            info, default = default, _default_of(default)
            annotation = typing.Annotated[annotation, *info.metadata] if info.metadata else annotation
        alias = info.serialization_alias if info is not None else None
        yield Field(alias or one.name, annotation, default)


def _typed_dict_fields(kind: Any) -> Iterator[Field]:
    for name, hint in get_type_hints(kind, include_extras=True).items():
        annotation, qualifiers = hint, list[Any]()
        while (qualifier := typing.get_origin(annotation)) in QUALIFIERS:
            qualifiers.append(qualifier)
            [annotation] = typing.get_args(annotation)
        info = _field_info_in(annotation)
        alias = info.serialization_alias if info is not None else None
        missing = NotRequired in qualifiers or (name in kind.__optional_keys__ and Required not in qualifiers)
        yield Field(alias or name, annotation, may_be_missing=missing)


def _field_info_in(annotation: Any) -> FieldInfo | None:
    return next((one for one in typing.get_args(unwrap_aliases(annotation))[1:] if isinstance(one, FieldInfo)), None)


def field_names_of_models_in_annotation(annotation: Any) -> frozenset[str]:
    """The names of the fields of all record types in an annotation."""
    names, seen, rest = set[str](), set[Any](), [annotation]
    while rest:
        kind = split_type_and_metadata(rest.pop()).kind
        rest += typing.get_args(kind)
        model = model_of(kind)
        if model is None or model in seen:
            continue
        seen.add(model)
        for one in fields_of(model) or ():
            names.add(one.name)
            rest.append(one.annotation)
    return frozenset(names)


# ---------------------------------------------------------------------------- one type


@dataclass(frozen=True, slots=True)
class Plain:
    """An annotation without its `Annotated` layers, and what was in them."""

    kind: Any
    metadata: tuple[Any, ...]

    def constraint(self, name: str) -> Any:
        """A constraint of pydantic's `Field`, such as `max_digits`; None if it is not given."""
        for one in self.metadata:
            for part in (one, *getattr(one, "metadata", ())):
                if (value := getattr(part, name, None)) is not None:
                    return value
        return None


def split_type_and_metadata(annotation: Any) -> Plain:
    metadata: list[Any] = []
    while True:
        annotation = unwrap_aliases(annotation)
        if typing.get_origin(annotation) is not typing.Annotated:
            return Plain(annotation, tuple(metadata))
        annotation, *more = typing.get_args(annotation)
        metadata = [*more, *metadata]


def is_any_or_plain_dict(annotation: Any) -> bool:
    """Whether payloads are dicts with any content, or anything, so that only a registered schema says what is in
    them."""
    return split_type_and_metadata(without_none(unwrap_aliases(annotation))).kind in (Any, dict, dict[str, Any])


def undescribable_type_error(path: str, why: str) -> Undescribed:
    return Undescribed(f"{path}: {why}")
