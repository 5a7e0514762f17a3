"""From an annotation to a decoder, from a value to bytes; chosen once. With `_schema.py`, the files that know pydantic;
`_msgspec.py` is asked where a type is a Struct or an attrs class.

JSON goes from bytes to the payload in one pass, and JSON is what pydantic's parser takes: UTF-8 without a byte order
mark; NaN and Infinity are let in; lone surrogates are not, nor is nesting deeper than 200 levels; the last one of
doubled keys wins. Decoders raise pydantic's or msgspec's ValidationError, and whatever a user's validator raises;
`decode_fault` turns those into sentences without anything out of the payload, which may be secret.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import os
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pydantic_core
from pydantic import BaseModel, PydanticSchemaGenerationError, PydanticUndefinedAnnotation, TypeAdapter, ValidationError
from pydantic.errors import PydanticUserError
from pydantic_core.core_schema import ErrorType
from typing_extensions import TypeAliasType, is_typeddict

Decode = Callable[[bytes], Any]

SHOWN_FAULTS = 5
"""How many of a value's faults an error tells."""


@dataclass(frozen=True, slots=True)
class Decoder:
    """How one endpoint's payload is made.

    Attributes:
        from_bytes: from a record's value.
        from_object: from what a middleware's `decoded_value_cb` gave; None where the bytes are always meant
            (`bytes`, `str`).
        admits_none: True where a tombstone is a payload too.
        expected: the type, as errors show it.
        names: the words of the type itself (its fields, aliases, tags), which an error may show.
    """

    from_bytes: Decode
    from_object: Callable[[Any], Any] | None
    admits_none: bool
    expected: str
    names: Callable[[], frozenset[str]]


class NotYetDefined(Exception):
    """The type names another one that does not exist so far; `name` is that one, `place` says where it stands."""

    def __init__(self, name: str, place: str = "its annotations") -> None:
        super().__init__(name)
        self.name = name
        self.place = place


# ---------------------------------------------------------------------------- decoding


def decoder_for(annotation: Any) -> Decoder:
    """The decoder for a payload of this type. `Optional` ones take tombstones, and the JSON value null, as None.

    Raises:
        NotYetDefined: the type, or a field of it, refers to a name that does not exist so far.
        TypeError: pydantic cannot make a payload of this type; the sentence says why.
    """
    shown = _shown(annotation)
    if by_msgspec(annotation):
        return _msgspec_decoder(annotation, shown)
    try:
        optional, raw = _admits_none(annotation), raw_kind(annotation)
        if raw is not None and not _is_constrained(annotation):
            return Decoder(_text if raw is str else bytes, None, optional, shown, frozenset)
        validator, schema = _validator(annotation)
    except (PydanticUndefinedAnnotation, NameError) as error:
        raise NotYetDefined(error.name or shown) from error
    except (PydanticSchemaGenerationError, PydanticUserError) as error:
        raise TypeError(f"pydantic cannot make {shown} of JSON: {str(error).splitlines()[0]}") from error
    names = functools.cache(functools.partial(_words, schema))
    if raw is not None:
        return Decoder(_then(_text if raw is str else bytes, validator.validate_python), None, optional, shown, names)
    return Decoder(validator.validate_json, validator.validate_python, optional, shown, names)


def _msgspec_decoder(annotation: Any, shown: str) -> Decoder:
    other = _others(annotation)
    try:
        from_bytes, from_object = other.decoder_of(annotation)
    except NameError as error:
        raise NotYetDefined(error.name or shown) from error
    except (TypeError, ValueError) as error:
        raise TypeError(f"msgspec cannot make {shown} of JSON: {str(error).splitlines()[0]}") from error
    return Decoder(from_bytes, from_object, _admits_none(annotation), shown, frozenset)


def by_msgspec(annotation: Any) -> bool:
    """Whether there is a Struct of msgspec's or an attrs class in the annotation: pydantic knows neither."""
    annotation = _inside(annotation)
    if isinstance(annotation, type) and typing.get_origin(annotation) is None:
        return hasattr(annotation, "__struct_config__") or hasattr(annotation, "__attrs_attrs__")
    return any(by_msgspec(part) for part in (typing.get_origin(annotation), *typing.get_args(annotation)) if part)


def _others(annotation: Any) -> Any:
    """The module that knows msgspec."""
    try:
        from evkafka import _msgspec
    except ModuleNotFoundError as error:
        raise TypeError(
            f"{_shown(annotation)} is an attrs class, which needs msgspec: pip install 'evkafka[attrs]'"
        ) from error
    return _msgspec


def _validator(annotation: Any) -> tuple[Any, Callable[[], Any]]:
    """The bound parts of pydantic that check this type, and the way to its schema."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        if not annotation.__pydantic_complete__:
            annotation.model_rebuild()
        return annotation.__pydantic_validator__, lambda: annotation.__pydantic_core_schema__
    adapter: TypeAdapter[Any] = TypeAdapter(any_dict(annotation))
    if not adapter.pydantic_complete:
        adapter.rebuild()
    return adapter.validator, lambda: adapter.core_schema


def any_dict(annotation: Any) -> Any:
    """`dict` as `dict[str, Any]`, which is the same of JSON, and faster: keys need no look at their type."""
    if annotation is dict:
        return dict[str, Any]
    return dict[str, Any] | None if is_union(annotation) and _without_none(annotation) is dict else annotation


def _text(value: bytes) -> str:
    return str(value, "utf-8")


def _then(first: Decode, second: Callable[[Any], Any]) -> Decode:
    return lambda value: second(first(value))


# ---------------------------------------------------------------------------- what is wrong with a value


REPEATING = frozenset(
    {
        "value_error",  # the words of a user's own validator, which often repeat what they refuse
        "assertion_error",
        "union_tag_invalid",
        "uuid_parsing",
        "timezone_offset",
        "get_attribute_error",
        "iteration_error",
        "mapping_type",
        "datetime_object_invalid",
        "no_such_attribute",
        "bytes_invalid_encoding",
    }
)
"""Those of pydantic's faults whose message repeats a part of the value; their bare name is shown instead."""

TELLING = frozenset(typing.get_args(ErrorType)) - REPEATING


def decode_fault(error: BaseException, names: frozenset[str] = frozenset()) -> str:
    """What is wrong with a value, in a sentence without anything out of it: neither values nor keys.

    Args:
        names: words that may be shown where they tell the place of a fault; any other key is shown as `*`.
    """
    match error:
        case ValidationError():
            faults = error.errors(include_url=False, include_context=False, include_input=False)
            shown = [f"{_place(fault['loc'], names)}: {_message(fault)}" for fault in faults[:SHOWN_FAULTS]]
            more = f"; and {len(faults) - SHOWN_FAULTS} more" if len(faults) > SHOWN_FAULTS else ""
            return "; ".join(shown) + more
        case UnicodeDecodeError():
            return f"it is not UTF-8 (byte {error.start})"
        case RecursionError():
            return "it is nested too deeply"
        case _ if type(error).__module__ == "msgspec":
            return str(_others(type(error)).fault(error))
        case _:
            return f"{type(error).__name__}{_raised_in(error)}"


def _raised_in(error: BaseException) -> str:
    """Where the user's validator raised it: its message is not shown, and the place is what helps to find the bug."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return ""
    code = trace.tb_frame.f_code
    return f" in {code.co_name} ({os.path.basename(code.co_filename)}:{trace.tb_lineno})"


def _place(location: tuple[int | str, ...], names: frozenset[str]) -> str:
    return ".".join(str(part) if isinstance(part, int) or part in names else "*" for part in location) or "value"


def _message(fault: Any) -> str:
    kind = str(fault["type"])
    return str(fault["msg"]) if kind in TELLING else kind


def _words(schema: Callable[[], Any]) -> frozenset[str]:
    """Every string in a pydantic schema: more than the field names, but nothing that came with a record."""
    found: set[str] = set()
    rest: list[Any] = [schema()]
    seen: set[int] = set()
    while rest:
        match rest.pop():
            case str() as word:
                found.add(word)
            case dict() as mapping if id(mapping) not in seen:
                seen.add(id(mapping))
                rest += [*mapping.keys(), *mapping.values()]
            case list() | tuple() as items if id(items) not in seen:
                seen.add(id(items))
                rest += items
    return frozenset(found)


# ---------------------------------------------------------------------------- encoding


def encode(event: Any) -> bytes:
    """An event's bytes: a mapping by `json.dumps`, str as UTF-8, bytes as they are, pydantic models by
    `model_dump_json()`, Structs and attrs objects by msgspec, anything else that pydantic can serialize (dataclasses,
    lists, ...) as JSON.

    Raises:
        TypeError, ValueError: it cannot be serialized.
    """
    match event:
        case bytes() | bytearray() | memoryview():
            return bytes(event)
        case str():
            return event.encode()
        case BaseModel():
            return event.model_dump_json().encode()
        case dict():
            return json.dumps(event).encode()
        case Mapping():
            return json.dumps(dict(event)).encode()
        case _ if by_msgspec(type(event)):
            return bytes(_others(type(event)).encode(event))
        case _:
            return pydantic_core.to_json(event, fallback=_fallback)


def _fallback(value: Any) -> Any:
    """What pydantic does not know in a list or the like."""
    if by_msgspec(type(value)):
        return _others(type(value)).plain_of(value)
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")


def encoder_for(annotation: Any) -> Callable[[Any], bytes | None]:
    """An encoder for events of this type: it checks that the event is one, then encodes it; None is a tombstone.

    The encoder raises TypeError where the event is not what the annotation says.

    Raises:
        NotYetDefined: the type, or a field of it, refers to a name that does not exist so far.
        TypeError: pydantic cannot serialize it; the sentence says why.
    """
    try:
        encode_it = _encoder(annotation, _without_none(annotation))
    except (PydanticUndefinedAnnotation, NameError) as error:
        raise NotYetDefined(error.name or _shown(annotation)) from error
    except (PydanticSchemaGenerationError, PydanticUserError) as error:
        raise TypeError(f"pydantic cannot serialize {_shown(annotation)}: {str(error).splitlines()[0]}") from error
    if not _admits_none(annotation):
        return encode_it
    return lambda event: None if event is None else encode_it(event)


def _encoder(annotation: Any, plain: Any) -> Callable[[Any], bytes]:
    if plain is Any:
        return encode
    if plain in (dict, bytes, str) or typing.get_origin(plain) is dict:
        return _checked(dict if typing.get_origin(plain) is dict else plain, annotation, encode)
    if by_msgspec(plain):
        return _others(plain).encoder_of(plain, _shown(annotation))  # type: ignore[no-any-return]
    if isinstance(plain, type) and issubclass(plain, BaseModel):
        if not plain.__pydantic_complete__:
            plain.model_rebuild()
        return _checked(plain, annotation, lambda event: event.model_dump_json().encode())
    adapter: TypeAdapter[Any] = TypeAdapter(plain)
    if not adapter.pydantic_complete:
        adapter.rebuild()
    names = functools.cache(functools.partial(_words, lambda: adapter.core_schema))

    def by_adapter(event: Any) -> bytes:
        try:
            return adapter.dump_json(adapter.validate_python(event, strict=True))
        except ValidationError as error:
            raise TypeError(f"expected {_shown(annotation)}: {decode_fault(error, names())}") from None

    return by_adapter


def may_have_field(annotation: Any, name: str) -> bool:
    """False where a payload of this type certainly has no such field, attribute or item."""
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


def _checked(kind: Any, annotation: Any, then: Callable[[Any], bytes]) -> Callable[[Any], bytes]:
    def check_and_encode(event: Any) -> bytes:
        if not isinstance(event, kind):
            raise TypeError(f"expected {_shown(annotation)}, got {type(event).__name__}")
        return then(event)

    return check_and_encode


# ---------------------------------------------------------------------------- looking into annotations


def _admits_none(annotation: Any) -> bool:
    """Whether the annotation itself says that None is a value of it. `Any` does."""
    annotation = _inside(annotation)
    if annotation is None or annotation is type(None) or annotation is Any:
        return True
    if typing.get_origin(annotation) is typing.Literal:
        return None in typing.get_args(annotation)
    return is_union(annotation) and any(_admits_none(arm) for arm in typing.get_args(annotation))


def raw_kind(annotation: Any) -> type | None:
    """bytes or str where the annotation says that the value's bytes, or text, are the payload; else None."""
    plain = _inside(_without_none(_inside(annotation)))
    return plain if plain is bytes or plain is str else None


def _is_constrained(annotation: Any) -> bool:
    """Whether there is more to `str` or `bytes` than the bare type: `Annotated[str, Field(max_length=3)]`."""
    plain = _without_none(annotation)
    return plain is not bytes and plain is not str


def _without_none(annotation: Any) -> Any:
    """The annotation, without None where it is one arm of a union."""
    if not is_union(annotation):
        return annotation
    arms = tuple(arm for arm in typing.get_args(annotation) if arm is not type(None))
    return arms[0] if len(arms) == 1 else typing.Union[arms]  # noqa: UP007 - built, not written


def is_union(annotation: Any) -> bool:
    return typing.get_origin(annotation) in UNIONS


UNIONS = (typing.Union, type(int | None))
ALIASES = (TypeAliasType, getattr(typing, "TypeAliasType", TypeAliasType))  # one class only from Python 3.14 on


def _inside(annotation: Any) -> Any:
    """What stands in an `Annotated`, a `type` alias or a NewType."""
    while True:
        if typing.get_origin(annotation) is typing.Annotated:
            annotation = typing.get_args(annotation)[0]
        elif isinstance(annotation, ALIASES):
            annotation = annotation.__value__
        elif isinstance(annotation, typing.NewType):
            annotation = annotation.__supertype__
        else:
            return annotation


def _shown(annotation: Any) -> str:
    return annotation.__name__ if isinstance(annotation, type) else str(annotation).replace("typing.", "")
