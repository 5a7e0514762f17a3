"""Types of settings: how the value of a configuration key is read, and whether it may be shown.

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
class SettingType(ABC):
    """The type of one setting, which is read from one key.

    Attributes:
        shown: False: logs and pages show `***`. Types that may hold a secret are hidden unless declared otherwise.
        textual: False: the value is an object, or is not used; it cannot come from the environment.
    """

    _: KW_ONLY
    shown: bool = True
    textual: bool = True

    @abstractmethod
    def read_from_section(self, section: Section, key: str, default: Any) -> Any:
        """The key's value, or the default."""


@dataclass(frozen=True, slots=True)
class Integer(SettingType):
    least: int
    most: int = INT32
    none: bool = False

    def read_from_section(self, section: Section, key: str, default: Any) -> Any:
        return section.integer(key, default, least=self.least, most=self.most, none=self.none)


@dataclass(frozen=True, slots=True)
class Milliseconds(SettingType):
    least: int = 0
    none: bool = False

    def read_from_section(self, section: Section, key: str, default: Any) -> Any:
        return section.milliseconds(key, default, least=self.least, none=self.none)


@dataclass(frozen=True, slots=True)
class MillisecondsToSeconds(SettingType):
    """A field in seconds, whose key is in milliseconds: `backoff_s` is read from `backoff_ms`."""

    least_ms: int = 0
    none: bool = False

    def read_from_section(self, section: Section, key: str, default: Any) -> Any:
        return section.milliseconds_as_seconds(key, default, least_ms=self.least_ms, none=self.none)


@dataclass(frozen=True, slots=True)
class Number(SettingType):
    least: float
    most: float
    above: bool = False

    def read_from_section(self, section: Section, key: str, default: Any) -> Any:
        return section.number(key, default, least=self.least, most=self.most, above=self.above)


@dataclass(frozen=True, slots=True)
class Flag(SettingType):
    def read_from_section(self, section: Section, key: str, default: Any) -> Any:
        return section.flag(key, default)


@dataclass(frozen=True, slots=True)
class Choice(SettingType):
    """One of the values of a Literal."""

    literal: Any
    none: bool = False

    def read_from_section(self, section: Section, key: str, default: Any) -> Any:
        return section.choice(key, default, get_args(self.literal), none=self.none)


@dataclass(frozen=True, slots=True)
class Text(SettingType):
    _: KW_ONLY
    shown: bool = False
    none: bool = False
    empty: bool = False

    def read_from_section(self, section: Section, key: str, default: Any) -> Any:
        return section.text(key, default, none=self.none, empty=self.empty)


@dataclass(frozen=True, slots=True)
class Credential(SettingType):
    """A user name or password, plain or in a `SecretStr`."""

    _: KW_ONLY
    shown: bool = False

    def read_from_section(self, section: Section, key: str, default: Any) -> Any:
        return section.secret_as_plain_text(key)


@dataclass(frozen=True, slots=True)
class TypeWithoutReader(SettingType):
    """A key with rules of its own: the readers of `read_settings_over_defaults` and `read_aiokafka_options` must have a
    function for it."""

    _: KW_ONLY
    shown: bool = False

    def read_from_section(self, section: Section, key: str, default: Any) -> Any:
        raise LookupError(f"no function reads {key}")


def setting(default: T, setting_type: SettingType, *, in_repr: bool = True) -> T:
    """A field of a settings class that is read from a key."""
    declared: T = field(default=default, metadata={"setting_type": setting_type}, repr=in_repr)
    return declared


def config_key_of_field(field_name: str) -> str:
    """The key that a field is read from: times are in milliseconds in a key, and in seconds in a field."""
    return f"{field_name.removesuffix('_s')}_ms" if field_name.endswith("_s") else field_name


def setting_types_of(settings_class: Any) -> dict[str, SettingType]:
    """The types of all keys of a settings class."""
    declared = ((one.name, one.metadata.get("setting_type")) for one in fields(settings_class))
    return {config_key_of_field(name): setting_type for name, setting_type in declared if setting_type is not None}


def read_setting(section: Section, base: Any, name: str) -> Any:
    """The value of one field; its default is the base's value."""
    [declared] = [one for one in fields(base) if one.name == name]
    return _read_setting_of_field(section, base, declared)


def _read_setting_of_field(section: Section, base: Any, declared: Field[Any]) -> Any:
    setting_type: SettingType = declared.metadata["setting_type"]
    return setting_type.read_from_section(section, config_key_of_field(declared.name), getattr(base, declared.name))


def read_settings_over_defaults(
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
        elif "setting_type" in one.metadata and one.name not in already_read:
            values[one.name] = _read_setting_of_field(section, base, one)
    return replace(base, **values)


def read_aiokafka_options(
    section: Section, options: Mapping[str, SettingType], readers: Mapping[str, Callable[[], Any]]
) -> dict[str, Any]:
    """Options that aiokafka gets under the key's own name: only those that are given."""
    values = {
        key: readers[key]() if key in readers else setting_type.read_from_section(section, key, None)
        for key, setting_type in options.items()
    }
    return {key: value for key, value in values.items() if value is not None}
