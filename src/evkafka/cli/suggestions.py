"""Suggestions for names that were misspelt on the command line."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def nearest_name(name: str, names: Iterable[str]) -> str | None:
    """The name that looks most like this one; None if none does."""
    return next(iter(difflib.get_close_matches(name, names, n=1)), None)


def unknown_consumer_text(name: str, names: tuple[str, ...]) -> str:
    """The end of a sentence about a consumer that the app does not have."""
    if near := nearest_name(name, names):
        return f"this app has no such consumer: did you mean {near!r}?"
    return f"this app has no such consumer; its consumers: {', '.join(map(repr, names)) or 'none'}"
