"""Inspects payload annotations: looks through `Annotated`, `type` aliases, NewTypes and `| None`."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from pydantic import BaseModel
from pydantic.errors import PydanticUserError
from typing_extensions import TypeAliasType, is_typeddict

UNIONS = (typing.Union, type(int | None))
ALIASES = (TypeAliasType, getattr(typing, "TypeAliasType", TypeAliasType))  # one class only from Python 3.14 on


class NotYetDefined(Exception):
    """A type refers to a name that is not defined yet.

    Attributes:
        name: the undefined name.
        place: which part of the type refers to it.
    """

    def __init__(self, name: str, place: str = "its annotations") -> None:
        super().__init__(name)
        self.name = name
        self.place = place


@contextmanager
def translate_pydantic_type_errors(annotation: Any, cannot: str) -> Iterator[None]:
    """Inside, pydantic uses this type: its errors become ours.

    Args:
        cannot: what it cannot do then: `serialize Order`.

    Raises:
        NotYetDefined: the type, or a field of it, refers to a name that is not defined yet.
        TypeError: pydantic does not support this type; the text says why.
    """
    try:
        yield
    except NameError as error:  # pydantic's PydanticUndefinedAnnotation is one
        raise NotYetDefined(error.name or annotation_text(annotation)) from error
    except PydanticUserError as error:
        raise TypeError(f"pydantic cannot {cannot}: {str(error).splitlines()[0]}") from error


def bytes_or_str_type(annotation: Any) -> type | None:
    """bytes or str, if the payload is the value's bytes or text; else None."""
    plain = unwrap_annotated(annotation)
    if plain is bytes or plain is str:
        return plain
    if not is_union(plain):
        return None
    kinds = {bytes_or_str_type(arm) for arm in typing.get_args(plain) if not _is_none(arm)}
    return kinds.pop() if len(kinds) == 1 else None


def is_constrained(annotation: Any) -> bool:
    """Whether there is more to `str` or `bytes` than the type, as in `Annotated[str, Field(max_length=3)]`."""
    plain = unwrap_aliases(without_none(unwrap_aliases(annotation)))
    return plain is not bytes and plain is not str


def admits_none(annotation: Any) -> bool:
    """Whether None is a value of the annotated type. It is for `Any`."""
    annotation = unwrap_annotated(annotation)
    if _is_none(annotation) or annotation is Any:
        return True
    if typing.get_origin(annotation) is typing.Literal:
        return None in typing.get_args(annotation)
    return is_union(annotation) and any(admits_none(arm) for arm in typing.get_args(annotation))


def contains_msgspec_type(annotation: Any) -> bool:
    """Whether a msgspec Struct or an attrs class is part of the annotation: pydantic supports neither."""
    annotation = unwrap_annotated(annotation)
    if isinstance(annotation, type) and typing.get_origin(annotation) is None:
        return hasattr(annotation, "__struct_config__") or hasattr(annotation, "__attrs_attrs__")
    return any(
        contains_msgspec_type(part) for part in (typing.get_origin(annotation), *typing.get_args(annotation)) if part
    )


def protobuf_class(annotation: Any) -> Any:
    """The generated Protobuf class, if the annotation is one, or one that may be None; else None."""
    plain = unwrap_annotated(without_none(unwrap_annotated(annotation)))
    is_generated = isinstance(plain, type) and hasattr(plain, "DESCRIPTOR") and hasattr(plain, "FromString")
    return plain if is_generated else None


def with_dict_type_arguments(annotation: Any) -> Any:
    """`dict` as `dict[str, Any]`: the same for JSON, and faster, because the type of keys is not checked."""
    if annotation is dict:
        return dict[str, Any]
    return dict[str, Any] | None if is_union(annotation) and without_none(annotation) is dict else annotation


def may_have_field(annotation: Any, name: str) -> bool:
    """False if a payload of this type certainly has no such field, attribute or item."""
    if not isinstance(annotation, type):
        return True
    if is_typeddict(annotation):
        return name in annotation.__annotations__
    if hasattr(annotation, name):
        return True
    if hasattr(annotation, "__struct_fields__"):
        return False
    if hasattr(annotation, "__attrs_attrs__"):
        return name in {attribute.name for attribute in annotation.__attrs_attrs__}
    if issubclass(annotation, BaseModel):
        return name in annotation.model_fields or annotation.model_config.get("extra") == "allow"
    if dataclasses.is_dataclass(annotation):
        return name in {field.name for field in dataclasses.fields(annotation)}
    return not issubclass(annotation, str | bytes)


def json_field_name(annotation: Any, name: str) -> str:
    """The name of a model's field in JSON: its alias, if it has one."""
    kind = unwrap_aliases(without_none(unwrap_aliases(annotation)))
    if isinstance(kind, type) and issubclass(kind, BaseModel) and name in kind.model_fields:
        return kind.model_fields[name].serialization_alias or name
    return name


# ---------------------------------------------------------------------------- layers of an annotation


def is_union(annotation: Any) -> bool:
    return typing.get_origin(annotation) in UNIONS


def without_none(annotation: Any) -> Any:
    """The annotation without None, if None is an arm of a union."""
    if not is_union(annotation):
        return annotation
    arms = tuple(arm for arm in typing.get_args(annotation) if not _is_none(arm))
    return arms[0] if len(arms) == 1 else typing.Union[arms]  # noqa: UP007 - built, not written


def unwrap_annotated(annotation: Any) -> Any:
    """The type in an `Annotated`, a `type` alias or a NewType."""
    while True:
        annotation = unwrap_aliases(annotation)
        if typing.get_origin(annotation) is not typing.Annotated:
            return annotation
        annotation = typing.get_args(annotation)[0]


def unwrap_aliases(annotation: Any) -> Any:
    """The type that `type` aliases, also generic ones, and NewTypes stand for."""
    while True:
        if isinstance(annotation, ALIASES):
            annotation = annotation.__value__
        elif isinstance(alias := typing.get_origin(annotation), ALIASES):
            annotation = _value_of_alias(alias, typing.get_args(annotation))
        elif isinstance(annotation, typing.NewType):
            annotation = annotation.__supertype__
        else:
            return annotation


def _value_of_alias(alias: Any, arguments: tuple[Any, ...]) -> Any:
    """The value of a generic alias, `type Maybe[T] = T | None`, with these arguments."""
    return substitute_type_arguments(alias.__value__, dict(zip(alias.__type_params__, arguments, strict=False)))


def substitute_type_arguments(annotation: Any, arguments: Mapping[Any, Any]) -> Any:
    """The annotation with these arguments in place of its type variables."""
    if annotation in arguments:
        return arguments[annotation]
    wanted = getattr(annotation, "__parameters__", ())
    return annotation[tuple(arguments.get(one, one) for one in wanted)] if wanted else annotation


def _is_none(annotation: Any) -> bool:
    return annotation is None or annotation is type(None)


def annotation_text(annotation: Any) -> str:
    """The type as text for errors."""
    return annotation.__name__ if isinstance(annotation, type) else str(annotation).replace("typing.", "")
