"""Checks of arguments that users pass to functions: their annotations do not hold at run time."""

from __future__ import annotations

from typing import Any


def is_nonempty_text(value: object) -> bool:
    """Whether it is a str, and not empty."""
    return isinstance(value, str) and value != ""


def str_subclass_to_str(text: str) -> str:
    """The same text as a plain str. A member of a `(str, Enum)` equals its value, but is formatted as its
    name in dead-letter topics, contract documents and logs. What is no text is returned as it is."""
    given: Any = text
    return str.__str__(given) if isinstance(given, str) else text


def is_whole_number(value: object, *, least: int = 0) -> bool:
    """Whether it is an int of at least `least`. A bool is none."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= least
