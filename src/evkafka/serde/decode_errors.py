"""Error texts for values that cannot be decoded.

A value may be secret, so a text contains nothing out of it: neither values nor keys, only words of the declared type.
"""

from __future__ import annotations

import os
import re
import typing
from collections.abc import Callable
from typing import Any

from pydantic import ValidationError
from pydantic_core.core_schema import ErrorType

MOST_ERRORS_SHOWN = 5
"""How many of a value's errors one text lists."""

QUOTING = frozenset(
    {
        "value_error",  # the message of a user's own validator, which often repeats the refused value
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
"""Pydantic's error types whose message repeats a part of the value; the error type's name is shown instead."""

SHOWABLE = frozenset(typing.get_args(ErrorType)) - QUOTING

_MSGSPEC_PATH = re.compile(r" - at (?:`key` in )?`\$(?P<path>[^`]*)`$")
_MSGSPEC_STEP = re.compile(r"\.?(?P<name>[^.\[\]]+)|\[(?P<index>\d+|\.\.\.)\]")
_MSGSPEC_QUOTED = re.compile(r" ?(?:['\"`]|-?\d).*", re.DOTALL)
_MSGSPEC_SHOWABLE = (
    "Expected ",
    "Object missing required field ",
    "Invalid RFC3339",
    "Invalid ISO8601",
    "JSON is malformed",
)


class ShowableError(ValueError):
    """An error of a decoder of ours; its text contains nothing out of the value."""


class FieldError(ShowableError):
    """A field of a msgspec type that pydantic refused."""


def decode_error_text(error: BaseException, names: frozenset[str] = frozenset()) -> str:
    """The error as a sentence that contains nothing out of the value.

    Args:
        names: words that may be shown in the path to a field; any other key is shown as `*`.
    """
    match error:
        case ValidationError():
            faults = error.errors(include_url=False, include_context=False, include_input=False)
            shown = [
                f"{_field_path(fault['loc'], names)}: {_pydantic_error_text(fault)}"
                for fault in faults[:MOST_ERRORS_SHOWN]
            ]
            more = f"; and {len(faults) - MOST_ERRORS_SHOWN} more" if len(faults) > MOST_ERRORS_SHOWN else ""
            return "; ".join(shown) + more
        case ShowableError():
            return str(error)
        case UnicodeDecodeError():
            return f"it is not valid UTF-8 (byte {error.start})"
        case RecursionError():
            return "it is nested too deeply"
        case _ if type(error).__module__ == "msgspec":
            return _msgspec_error_text(error)
        case _:
            return f"{type(error).__name__}{_function_and_line_of_validator_error(error)}"


def _field_path(location: tuple[int | str, ...], names: frozenset[str]) -> str:
    return ".".join(str(part) if isinstance(part, int) or part in names else "*" for part in location) or "value"


def _pydantic_error_text(fault: Any) -> str:
    kind = str(fault["type"])
    return str(fault["msg"]) if kind in SHOWABLE else kind


def _msgspec_error_text(error: BaseException) -> str:
    """The path to the field, and msgspec's message without the parts that quote the value."""
    message, path = str(error), ""
    if (found := _MSGSPEC_PATH.search(message)) is not None:
        message, path = message[: found.start()], found["path"]
    if isinstance(error.__cause__, FieldError):
        message = str(error.__cause__)
    elif error.__cause__ is not None:  # the message of a user's own validator, which often repeats the refused value
        message = "value_error"
    elif not message.startswith(_MSGSPEC_SHOWABLE):
        message = _MSGSPEC_QUOTED.sub("", message)
    steps = [step["name"] or step["index"].replace("...", "*") for step in _MSGSPEC_STEP.finditer(path)]
    return f"{'.'.join(steps) or 'value'}: {message}"


def _function_and_line_of_validator_error(error: BaseException) -> str:
    """Text for the place where the user's validator raised it, to help to find the bug: its message is not shown."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return ""
    code = trace.tb_frame.f_code
    return f" in {code.co_name} ({os.path.basename(code.co_filename)}:{trace.tb_lineno})"


def strings_in_schema(schema: Callable[[], Any]) -> frozenset[str]:
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
