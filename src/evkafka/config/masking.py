"""Values in error texts, without secrets.

`text_for_error` does not know the key: its callers make sure that the key holds no secret. Logs and pages show values
by key, with `display.py`.
"""

from __future__ import annotations

import re
from typing import Protocol, runtime_checkable

HIDDEN = "***"

LONGEST = 80
"""How many characters of a value an error text shows."""

_USERINFO = re.compile(r".*:.*@", re.DOTALL)


@runtime_checkable
class Secret(Protocol):
    """A string whose repr is masked; pydantic's `SecretStr` is one."""

    def get_secret_value(self) -> str: ...


def text_for_error(value: object) -> str:
    """A plain value as written, shortened; for any other value only its type, because its repr may show a secret."""
    match value:
        case None | bool() | float():
            return repr(value)
        case int():
            return repr(value) if -(10**20) < value < 10**20 else "an int of more than 20 digits"
        case str():
            text = without_userinfo(str.__str__(value))
            return repr(text if len(text) <= LONGEST else text[:LONGEST] + "...")
        case _:
            return describe_type(value)


def without_userinfo(text: str) -> str:
    """`sasl_ssl://user:password@host` -> `***@host`, up to the last @: a password may contain one."""
    return _USERINFO.sub(f"{HIDDEN}@", text)


def describe_type(value: object) -> str:
    """The type of a value that is not shown itself."""
    if value is None:
        return "None"
    return f"the class {value.__name__}" if isinstance(value, type) else f"a value of type {type(value).__name__}"
