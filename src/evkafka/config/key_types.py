"""Types of configuration keys: how a key's value is read, and whether it may be shown.

The settings classes declare the type of each key with its range (`settings.py`). Reading, masking and the environment
follow these declarations.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, Field, dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, TypeVar, get_args

from evkafka.config.section import INT32, Section

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T")
S = TypeVar("S", bound="DataclassInstance")


@dataclass(frozen=True, slots=True)
class KeyType(ABC):
    """The type of one key.

    Attributes:
        shown: False: logs and pages show `***`. Types that may hold a secret are hidden unless declared otherwise.
        textual: False: the value is an object, or is not used; it cannot come from the environment.
    """

    _: KW_ONLY
    shown: bool = True
    textual: bool = True

    @abstractmethod
    def read(self, section: Section, key: str, default: Any) -> Any:
        """The key's value, or the default."""


@dataclass(frozen=True, slots=True)
class Integer(KeyType):
    least: int
    most: int = INT32
    none: bool = False

    def read(self, section: Section, key: str, default: Any) -> Any:
        return section.integer(key, default, least=self.least, most=self.most, none=self.none)


@dataclass(frozen=True, slots=True)
class Milliseconds(KeyType):
    least: int = 0
    none: bool = False

    def read(self, section: Section, key: str, default: Any) -> Any:
        return section.milliseconds(key, default, least=self.least, none=self.none)


@dataclass(frozen=True, slots=True)
class MillisecondsAsSeconds(KeyType):
    """A field in seconds, whose key is in milliseconds: `backoff_s` is read from `backoff_ms`."""

    least_ms: int = 0
    none: bool = False

    def read(self, section: Section, key: str, default: Any) -> Any:
        return section.milliseconds_as_seconds(key, default, least_ms=self.least_ms, none=self.none)


@dataclass(frozen=True, slots=True)
class Number(KeyType):
    least: float
    most: float
    above: bool = False

    def read(self, section: Section, key: str, default: Any) -> Any:
        return section.number(key, default, least=self.least, most=self.most, above=self.above)


@dataclass(frozen=True, slots=True)
class Flag(KeyType):
    def read(self, section: Section, key: str, default: Any) -> Any:
        return section.flag(key, default)


@dataclass(frozen=True, slots=True)
class Choice(KeyType):
    """One of the values of a Literal."""

    literal: Any
    none: bool = False

    def read(self, section: Section, key: str, default: Any) -> Any:
        return section.choice(key, default, get_args(self.literal), none=self.none)


@dataclass(frozen=True, slots=True)
class Text(KeyType):
    _: KW_ONLY
    shown: bool = False
    none: bool = False
    empty: bool = False

    def read(self, section: Section, key: str, default: Any) -> Any:
        return section.text(key, default, none=self.none, empty=self.empty)


@dataclass(frozen=True, slots=True)
class Credential(KeyType):
    """A user name or password, plain or in a `SecretStr`."""

    _: KW_ONLY
    shown: bool = False

    def read(self, section: Section, key: str, default: Any) -> Any:
        return section.secret(key)


@dataclass(frozen=True, slots=True)
class TypeWithoutReader(KeyType):
    """A key with rules of its own: the readers of `read_settings` and `read_options` must have a function for it."""

    _: KW_ONLY
    shown: bool = False

    def read(self, section: Section, key: str, default: Any) -> Any:
        raise LookupError(f"no function reads {key}")


def setting(default: T, key_type: KeyType, *, in_repr: bool = True) -> T:
    """A field of a settings class that is read from a key."""
    declared: T = field(default=default, metadata={"key_type": key_type}, repr=in_repr)
    return declared


def key_of(field_name: str) -> str:
    """The key that a field is read from: times are in milliseconds in a key, and in seconds in a field."""
    return f"{field_name.removesuffix('_s')}_ms" if field_name.endswith("_s") else field_name


def key_types_of(settings_class: Any) -> dict[str, KeyType]:
    """The types of all keys of a settings class."""
    declared = ((one.name, one.metadata.get("key_type")) for one in fields(settings_class))
    return {key_of(name): key_type for name, key_type in declared if key_type is not None}


def read_setting(section: Section, base: Any, name: str) -> Any:
    """The value of one field; its default is the base's value."""
    [declared] = [one for one in fields(base) if one.name == name]
    return _read_field(section, base, declared)


def _read_field(section: Section, base: Any, declared: Field[Any]) -> Any:
    key_type: KeyType = declared.metadata["key_type"]
    return key_type.read(section, key_of(declared.name), getattr(base, declared.name))


def read_settings(
    section: Section, base: S, readers: Mapping[str, Callable[[], Any]], *, already_read: Sequence[str] = ()
) -> S:
    """The base, with the values of all given keys.

    Args:
        base: settings whose values are the defaults.
        readers: field -> the function that reads it, in place of its type.
        already_read: fields that are left as they are.
    """
    values: dict[str, Any] = {}
    for one in fields(base):
        if one.name in readers:
            values[one.name] = readers[one.name]()
        elif "key_type" in one.metadata and one.name not in already_read:
            values[one.name] = _read_field(section, base, one)
    return replace(base, **values)


def read_options(
    section: Section, options: Mapping[str, KeyType], readers: Mapping[str, Callable[[], Any]]
) -> dict[str, Any]:
    """Options that aiokafka gets under the key's own name: only those that are given."""
    values = {
        key: readers[key]() if key in readers else key_type.read(section, key, None)
        for key, key_type in options.items()
    }
    return {key: value for key, value in values.items() if value is not None}
