"""Configuration as text for logs and pages, without secrets: a key is hidden unless its type is declared as shown."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

from evkafka.config.masking import HIDDEN, describe_type, without_userinfo
from evkafka.config.setting_types import config_key_of_field
from evkafka.config.settings import SETTING_TYPES

SHOWN_KEYS = frozenset(key for key, setting_type in SETTING_TYPES.items() if setting_type.shown)


def value_text_or_mask(key: str, value: object) -> str:
    """The value as text; `***` unless the key is declared as shown."""
    if key not in SHOWN_KEYS:
        return HIDDEN
    match value:
        case str():
            return without_userinfo(value)
        case list() | tuple():
            return ", ".join(value_text_or_mask(key, item) for item in value)
        case type():
            return value.__name__
        case None | bool() | int() | float():
            return str(value)
        case _:
            return describe_type(value)


def masked_mapping(values: Mapping[str, object], prefix: str = "") -> dict[str, str]:
    """`value_text_or_mask` for every key; nested mappings become `outer.inner`."""
    flat: dict[str, str] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= masked_mapping(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value_text_or_mask(key, value)
    return flat


def masked_fields(settings: Any, prefix: str = "") -> dict[str, str]:
    """Checked settings as key -> text; nested keys are `outer.inner`."""
    flat: dict[str, str] = {}
    for field in dataclasses.fields(settings):
        if field.name.startswith("transaction") and getattr(settings, "transaction_settings", None) is None:
            continue  # they have no effect
        value = getattr(settings, field.name)
        match field.name, value:
            case _, None if field.name not in ("max_attempts", "dead_letter_limit"):
                continue
            case "dead_letter_topics", _:
                continue  # each policy shows its own topic
            case "connection", _:
                flat |= value.shown
            case "options", _:
                flat |= masked_mapping(value, prefix)
            case _, Mapping():
                flat |= masked_mapping(value, f"{prefix}{field.name}.")
            case "value_format", _:
                flat[field.name] = repr(value)  # its registry is shown without login
            case "topics", _:
                flat[field.name] = ", ".join(topic.name for topic in value)
            case _, re.Pattern():
                flat[field.name] = value.pattern
            case _, _ if dataclasses.is_dataclass(value):
                flat |= masked_fields(value, f"{prefix}{field.name}.")
            case _, float() if field.name.endswith("_s"):
                key = config_key_of_field(field.name)
                flat[prefix + key] = value_text_or_mask(key, round(value * 1000))
            case _:
                flat[prefix + field.name] = value_text_or_mask(field.name, value)
    return flat
