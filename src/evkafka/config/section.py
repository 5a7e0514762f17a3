"""Reads the values of a configuration, one section at a time, and collects all faults before one error is raised.

A reader asks its `Section` for each known key, with type, range and default. A wrong value adds a fault and reads as
the default, so that one run finds all faults. `refuse_unknown_keys` adds a fault for each key that was not asked for.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from evkafka.config.masking import Secret, describe_type, text_for_error
from evkafka.exceptions import ConfigError

D = TypeVar("D")

INT32 = 2**31 - 1
"""The largest value of Kafka's own fields for times and sizes."""

MISSING: Any = object()

INT16 = 2**15 - 1
"""The most bytes of a string in Kafka's protocol."""

NEAR_ENOUGH = 0.6
"""Similarity from which a known key is suggested for an unknown one."""


class Faults:
    """The faults of one configuration, each a sentence."""

    def __init__(self, subject: str) -> None:
        self._subject = subject
        self._sentences: list[str] = []

    def add(self, sentence: str) -> None:
        self._sentences.append(sentence)

    def raise_if_any(self) -> None:
        """Raise all faults as one error.

        Raises:
            ConfigError: there is at least one fault.
        """
        if self._sentences:
            raise self.error()

    def error(self) -> ConfigError:
        """All faults as one error."""
        if len(self._sentences) == 1:
            return ConfigError(f"{self._subject}: {self._sentences[0]}")
        lines = "".join(f"\n- {sentence}" for sentence in self._sentences)
        return ConfigError(f"{self._subject}: {len(self._sentences)} errors{lines}")


class Section:
    """One mapping of a configuration, while it is read.

    Args:
        path: prefix of its keys in error texts, for example `on_error.`.
        doc: the class that documents its keys.
        on_fault: called for each fault.
    """

    def __init__(
        self,
        values: Mapping[Any, object],
        faults: Faults,
        *,
        doc: str,
        path: str = "",
        on_fault: Callable[[], object] = lambda: None,
    ) -> None:
        self._values = values
        self._faults = faults
        self._doc = doc
        self._path = path
        self._on_fault = on_fault
        self._known: dict[str, None] = {}
        self._refused: set[str] = set()
        self._invalid: set[str] = set()

    # ------------------------------------------------------------------ faults

    def add_fault(self, key: str, sentence: str) -> None:
        """Add a fault of a key's value."""
        self._invalid.add(key)
        self._add_sentence(f"{self._path}{key}: {sentence}")

    def _add_sentence(self, sentence: str) -> None:
        self._faults.add(sentence)
        self._on_fault()

    def are_keys_valid(self, *keys: str) -> bool:
        """False if one of the keys has a fault: it reads as its default, which must not be compared with other keys."""
        return self._invalid.isdisjoint(keys)

    def add_fault_if_key_is_given(self, key: str, sentence: str) -> None:
        """Add a fault if the key is given, for keys of aiokafka that are not supported; the sentence says what to do
        instead."""
        self._refused.add(key)
        if key in self._values:
            self.add_fault(key, sentence)

    def refuse_unknown_keys(self) -> None:
        """Add a fault for each key that was not asked for; called after all known keys have been read."""
        for key in self._values:
            if key in self._known or key in self._refused:
                continue
            near = self._nearest_key(key) if isinstance(key, str) else None
            advice = f"did you mean {near!r}?" if near else f"remove it; {self._doc} lists the keys"
            self._add_sentence(f"{self._path}{_key_in_error(key)}: unknown key; {advice}")

    def _nearest_key(self, key: str) -> str | None:
        """The most similar known key; Java's dots and dashes (`group.id`) count as underscores."""
        plain = key[:80].lower().replace(".", "_").replace("-", "_")
        near = difflib.get_close_matches(plain, self._known, n=1, cutoff=NEAR_ENOUGH)
        return near[0] if near else None

    # ------------------------------------------------------------------ values

    def value_or_missing(self, key: str) -> Any:
        """The value as given, or MISSING."""
        self._known[key] = None
        return self._values.get(key, MISSING)

    def is_given(self, *keys: str) -> bool:
        """True if one of the keys has a value other than None."""
        return any(self._values.get(key) is not None for key in keys)

    def integer(
        self, key: str, default: D, *, least: int, most: int = INT32, unit: str = "", none: bool = False
    ) -> int | D:
        """A whole number.

        Args:
            none: None means the default, as in aiokafka.
        """
        value = self.value_or_missing(key)
        if value is MISSING or (none and value is None):
            return default
        if not isinstance(value, int) or isinstance(value, bool):
            self.add_fault(
                key,
                f"{text_for_error(value)} is not a whole number{unit}; give an int{_or_none_suffix(none)}, unquoted",
            )
        elif not least <= value <= most:
            self.add_fault(key, f"{text_for_error(value)} is out of range; give {least} to {most}")
        else:
            return int(value)
        return default

    def milliseconds(self, key: str, default: D, *, least: int = 0, none: bool = False) -> int | D:
        """A time in milliseconds; the key's name ends with `_ms`."""
        return self.integer(key, default, least=least, unit=" of milliseconds", none=none)

    def milliseconds_as_seconds(self, key: str, default_s: float, *, least_ms: int = 0, none: bool = False) -> float:
        """A `*_ms` key in seconds; the default is in seconds too."""
        value_ms = self.milliseconds(key, None, least=least_ms, none=none)
        return default_s if value_ms is None else value_ms / 1000

    def number(self, key: str, default: float, *, least: float, most: float, above: bool = False) -> float:
        """A number, as a float.

        Args:
            above: the value must be above `least`.
        """
        value = self.value_or_missing(key)
        if value is MISSING:
            return default
        if not isinstance(value, int | float) or isinstance(value, bool):
            self.add_fault(key, f"{text_for_error(value)} is not a number; give a float, unquoted")
        elif (
            (isinstance(value, float) and math.isnan(value)) or not least <= value <= most or (above and value == least)
        ):
            first = f"more than {least:g}, at most" if above else f"{least:g} to"
            self.add_fault(key, f"{text_for_error(value)} is out of range; give {first} {most:g}")
        else:
            return float(value)
        return default

    def flag(self, key: str, default: D) -> bool | D:
        value = self.value_or_missing(key)
        if value is MISSING:
            return default
        if not isinstance(value, bool):
            self.add_fault(key, f"{text_for_error(value)} is not a bool; give True or False")
            return default
        return value

    def text(self, key: str, default: D, *, none: bool = False, empty: bool = False) -> str | D:
        """A string.

        Args:
            none: None means the default.
            empty: allow an empty string.
        """
        value = self.value_or_missing(key)
        if value is MISSING or (none and value is None):
            return default
        if not isinstance(value, str):
            self.add_fault(key, f"{text_for_error(value)} is not a str; give a str{_or_none_suffix(none)}")
        elif not value and not empty:
            self.add_fault(key, "it is empty; give a text, or remove the key")
        elif not _fits_kafka_string(value):
            self.add_fault(key, f"it is not valid UTF-8, or longer than {INT16} bytes")
        else:
            return str.__str__(value)
        return default

    def secret_as_plain_text(self, key: str) -> str | None:
        """A credential, plain or in a `SecretStr`. Its value is in no error text."""
        value = self.value_or_missing(key)
        if value is MISSING or value is None:
            return None
        plain = value.get_secret_value() if isinstance(value, Secret) and not isinstance(value, type) else value
        if not isinstance(plain, str):
            self.add_fault(key, f"it is {describe_type(plain)}; give a str, or a pydantic SecretStr")
        elif not _fits_kafka_string(plain):
            self.add_fault(key, f"it is not valid UTF-8, or longer than {INT16} bytes")
        else:
            return str.__str__(plain)
        return None

    def choice(self, key: str, default: D, options: Sequence[D], *, none: bool = False) -> D:
        """One of a few values."""
        value = self.value_or_missing(key)
        if value is MISSING or (none and value is None):
            return default
        for option in options:
            if _is_same(value, option):
                return option
        self.add_fault(
            key, f"{text_for_error(value)} is not allowed; use {join_options(options)}{_or_none_suffix(none)}"
        )
        return default

    def sequence(self, key: str, *, items: str) -> list[Any] | None:
        """A list or tuple; None if the key is missing or wrong.

        Args:
            items: the kind of its items, for error texts.
        """
        value = self.value_or_missing(key)
        if value is MISSING:
            return None
        if isinstance(value, str):
            self.add_fault(
                key,
                f"{text_for_error(value)} is one str, but must be a list of {items}; write [{text_for_error(value)}]",
            )
            return None
        if not isinstance(value, Sequence) or isinstance(value, bytes | bytearray | memoryview | range):
            self.add_fault(key, f"it is {describe_type(value)}; give a list of {items}")
            return None
        return list(value)

    def callable_value(self, key: str, *, like: str) -> Callable[..., Any] | None:
        value = self.value_or_missing(key)
        if value is MISSING or value is None:
            return None
        if not callable(value):
            self.add_fault(key, f"{text_for_error(value)} is not callable; give a function {like}")
            return None
        function: Callable[..., Any] = value
        return function

    def mapping(self, key: str, *, none: bool = False) -> Mapping[str, object] | None:
        """A nested mapping; None if it is missing, wrong, or (with `none`) None."""
        value = self.value_or_missing(key)
        if value is MISSING or (none and value is None):
            return None
        if not isinstance(value, Mapping):
            self.add_fault(key, f"it is {describe_type(value)}; give a dict{_or_none_suffix(none)}")
            return None
        return value

    def create_nested_section(
        self, key: str, values: Mapping[Any, object], *, doc: str, index: int | None = None
    ) -> Section:
        """A section for a nested mapping; its faults are also faults of this section's key.

        Args:
            index: the position of the mapping, if the key has a list of them.
        """
        path = f"{self._path}{key}." if index is None else f"{self._path}{key}[{index}]."
        return Section(values, self._faults, doc=doc, path=path, on_fault=lambda: self._mark_key_invalid(key))

    def _mark_key_invalid(self, key: str) -> None:
        self._invalid.add(key)
        self._on_fault()

    # ------------------------------------------------------------------ for tests

    @property
    def known_keys(self) -> Iterable[str]:
        """The keys that were asked for."""
        return self._known


def require_mapping(values: object, faults: Faults) -> Mapping[str, object]:
    """A configuration, checked to be a mapping.

    Raises:
        ConfigError: it is something else.
    """
    if isinstance(values, Mapping):
        return values
    faults.add(f"it is {describe_type(values)}; give a dict of keys and values")
    raise faults.error()


def to_ms(seconds: float) -> int:
    return round(seconds * 1000)


def join_options(options: Sequence[object]) -> str:
    *first, last = [repr(option) for option in options]
    return f"{', '.join(first)} or {last}" if first else last


def _key_in_error(key: object) -> str:
    return key[:80] if isinstance(key, str) and key.isprintable() and key else text_for_error(key)


def _is_same(value: object, option: object) -> bool:
    """Equal, and of the same type: True is not 1, but a member of a str enumeration equals its text."""
    kind = str if isinstance(option, str) else type(option)
    return isinstance(value, kind) and isinstance(value, bool) == isinstance(option, bool) and value == option


def _fits_kafka_string(text: str) -> bool:
    try:
        return len(text.encode()) <= INT16
    except UnicodeEncodeError:  # half of a surrogate pair
        return False


def _or_none_suffix(none: bool) -> str:
    return " or None" if none else ""
