"""Decoders: one is chosen for each annotation, once.

Only this file, `encoding.py`, `annotations.py` and `json_schema.py` import pydantic. `msgspec.py` decodes Structs and
attrs classes.

JSON goes from bytes to the payload in one pass, and JSON is what pydantic's parser takes: UTF-8 without a byte order
mark; NaN and Infinity are let in; lone surrogates are not, nor is nesting deeper than 200 levels; the last one of
doubled keys wins. Decoders raise pydantic's or msgspec's ValidationError, and whatever a user's validator raises;
`decode_fault` turns those into sentences without anything out of the payload, which may be secret.
"""

from __future__ import annotations

import asyncio
import functools
import os
import typing
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, PydanticSchemaGenerationError, PydanticUndefinedAnnotation, TypeAdapter, ValidationError
from pydantic.errors import PydanticUserError
from pydantic_core.core_schema import ErrorType

from evkafka.serde.annotations import admits_none, any_dict, by_msgspec, is_constrained, raw_kind, shown

Decode = Callable[[bytes], Any]

DECODE_FAILURES: tuple[type[BaseException], ...] = (Exception, asyncio.CancelledError, GeneratorExit)
"""What a value's decoder or validator may raise that concerns its record alone. A decoder awaits nothing, so a
CancelledError out of it cancels no task: it comes from the validator itself, out of a future that it asked."""

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
    expected = shown(annotation)
    if by_msgspec(annotation):
        return _msgspec_decoder(annotation, expected)
    try:
        optional, raw = admits_none(annotation), raw_kind(annotation)
        if raw is not None and not is_constrained(annotation):
            return Decoder(_text if raw is str else bytes, None, optional, expected, frozenset)
        validator, schema = _validator(annotation)
    except (PydanticUndefinedAnnotation, NameError) as error:
        raise NotYetDefined(error.name or expected) from error
    except (PydanticSchemaGenerationError, PydanticUserError) as error:
        raise TypeError(f"pydantic cannot make {expected} of JSON: {str(error).splitlines()[0]}") from error
    names = functools.cache(functools.partial(words_of, schema))
    if raw is not None:
        return Decoder(
            _then(_text if raw is str else bytes, validator.validate_python), None, optional, expected, names
        )
    return Decoder(validator.validate_json, validator.validate_python, optional, expected, names)


def _msgspec_decoder(annotation: Any, expected: str) -> Decoder:
    other = others(annotation)
    try:
        from_bytes, from_object = other.decoder_of(annotation)
    except NameError as error:
        raise NotYetDefined(error.name or expected) from error
    except (TypeError, ValueError) as error:
        raise TypeError(f"msgspec cannot make {expected} of JSON: {str(error).splitlines()[0]}") from error
    return Decoder(from_bytes, from_object, admits_none(annotation), expected, frozenset)


def others(annotation: Any) -> Any:
    """The module that knows msgspec.

    Raises:
        TypeError: it is not installed.
    """
    try:
        from evkafka.serde import msgspec as _msgspec
    except ModuleNotFoundError as error:
        raise TypeError(
            f"{shown(annotation)} is an attrs class, which needs msgspec: pip install 'evkafka[attrs]'"
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
            return str(others(type(error)).fault(error))
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


def words_of(schema: Callable[[], Any]) -> frozenset[str]:
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
