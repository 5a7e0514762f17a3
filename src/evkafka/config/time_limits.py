"""Time limits in error texts: a setting as the user wrote it, any other time in rounded seconds."""

from __future__ import annotations

from evkafka.config.section import to_ms


def time_limit_text(limit_s: float, key: str) -> str:
    """A time limit that a key of the configuration sets, in milliseconds, with the key."""
    return f"{to_ms(limit_s)} ms ({key})"


def seconds_text(time_s: float) -> str:
    """A time that was computed, such as what was left of a limit: three digits are enough."""
    return f"{float(f'{time_s:.3g}'):g} s"


def send_limit_text(limit_s: float, delivery_timeout_s: float) -> str:
    """The time limit of a send: the delivery timeout, unless less was left of an attempt's time."""
    if limit_s == delivery_timeout_s:
        return time_limit_text(limit_s, "delivery_timeout_ms")
    return f"{seconds_text(limit_s)} (the time that the endpoint had left)"
