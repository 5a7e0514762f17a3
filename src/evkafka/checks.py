"""How one configuration value is checked: small functions that return the value as it is used, or raise `Fault`.

A fault names the key, shows the value unless it is secret, and says what is allowed.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

Check = Callable[[str, Any], Any]

TOPIC_NAME = re.compile(r"[a-zA-Z0-9._-]{1,249}")
SECRET_KEYS = frozenset({"sasl_plain_password", "sasl_oauth_token_provider", "ssl_context"})


class Fault(Exception):
    """One thing wrong with one key."""


def shown(key: str, value: Any) -> str:
    """A value as an error may show it: never a secret, never long."""
    if key in SECRET_KEYS:
        return f"a {type(value).__name__}"
    text = repr(without_userinfo(value) if isinstance(value, str) else value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def without_userinfo(server: str) -> str:
    """An address without the user and password that somebody may have put into it."""
    return re.sub(r"(^|//|,)[^@/,]*@", r"\1***@", server)


def nearest(key: str, known: Iterable[str]) -> str:
    """ "; did you mean ...?" for an unknown key, where one is near."""
    near = difflib.get_close_matches(key, list(known), n=1, cutoff=0.6)
    return f"; did you mean {near[0]!r}?" if near else ""


def integer(least: int, most: int | None = None, *, unit: str = "") -> Check:
    """A whole number in a range; True and False are none."""
    span = f"at least {least}" if most is None else f"from {least} to {most}"

    def check(key: str, value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise Fault(f"{key} is a whole number{unit}, {span}; not {shown(key, value)}")
        if value < least or (most is not None and value > most):
            raise Fault(f"{key} is {value}; it must be {span}{unit}")
        return value

    return check


def milliseconds(least: int, most: int | None = None) -> Check:
    """A time in ms, given back in seconds."""
    whole = integer(least, most, unit=" of milliseconds")

    def check(key: str, value: Any) -> float:
        number: int = whole(key, value)
        return number / 1000

    return check


def number(least: float, most: float | None = None) -> Check:
    span = f"at least {least:g}" if most is None else f"from {least:g} to {most:g}"

    def check(key: str, value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise Fault(f"{key} is a number, {span}; not {shown(key, value)}")
        if not value >= least or (most is not None and value > most):
            raise Fault(f"{key} is {value}; it must be {span}")
        return float(value)

    return check


def one_of(*allowed: Any) -> Check:
    def check(key: str, value: Any) -> Any:
        for one in allowed:
            if type(one) is type(value) and one == value:
                return value
        raise Fault(f"{key} is {shown(key, value)}; it must be one of {', '.join(map(repr, allowed))}")

    return check


def optional(inner: Check) -> Check:
    return lambda key, value: None if value is None else inner(key, value)


def boolean(key: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise Fault(f"{key} is True or False, not {shown(key, value)}")
    return value


def text(key: str, value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise Fault(f"{key} is a non-empty string, not {shown(key, value)}")
    return value


def secret(key: str, value: Any) -> str:
    """A string, or an object with `get_secret_value()` as pydantic's SecretStr."""
    reveal = getattr(value, "get_secret_value", None)
    revealed = reveal() if callable(reveal) else value
    if not isinstance(revealed, str):
        raise Fault(f"{key} is a string (or a SecretStr), not {shown(key, value)}")
    return revealed


def anything(key: str, value: Any) -> Any:
    return value


def servers(key: str, value: Any) -> tuple[str, ...]:
    """`"a:9092,b:9092"` or a list of such."""
    parts = value.split(",") if isinstance(value, str) else value
    if not isinstance(parts, Sequence) or isinstance(parts, bytes) or not parts:
        raise Fault(f"{key} is 'host:port', several with commas, or a list of them; not {shown(key, value)}")
    found = []
    for part in parts:
        if not isinstance(part, str) or not re.fullmatch(r"\s*(\[[0-9a-fA-F:.]+\]|[^\s:/@\[\]]+)(:\d{1,5})?\s*", part):
            raise Fault(f"{key}: {shown(key, part)} is no address; write 'host:port'")
        found.append(part.strip())
    return tuple(found)


def topic_name(key: str, value: Any) -> str:
    if not isinstance(value, str) or not TOPIC_NAME.fullmatch(value) or value in (".", ".."):
        raise Fault(f"{key}: {shown(key, value)} is no topic name: 1 to 249 of a-z A-Z 0-9 . _ -")
    return value


def pattern(key: str, value: Any) -> re.Pattern[str]:
    if isinstance(value, re.Pattern):
        return value
    try:
        return re.compile(text(key, value))
    except re.error as error:
        raise Fault(f"{key}: {shown(key, value)} is no regular expression: {error}") from None


def error_types(key: str, value: Any) -> tuple[type[Exception], ...]:
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise Fault(f"{key} is a list of exception classes, not {shown(key, value)}")
    for one in value:
        if not isinstance(one, type) or not issubclass(one, Exception):
            raise Fault(f"{key}: {shown(key, one)} is no exception class")
    return tuple(value)


def check_all(
    given: Mapping[str, Any], checks: Mapping[str, Check], faults: list[str], *, where: str = ""
) -> dict[str, Any]:
    """Every given key through its check; what is wrong is added to the faults, what is right is returned."""
    values: dict[str, Any] = {}
    for key, value in given.items():
        check = checks.get(key)
        if check is None:
            faults.append(f"{where}{key!r} is no key here{nearest(str(key), checks)}")
            continue
        try:
            values[key] = check(f"{where}{key}" if where else key, value)
        except Fault as fault:
            faults.append(str(fault))
    return values
