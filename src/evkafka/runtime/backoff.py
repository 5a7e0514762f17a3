"""The wait before the next attempt, in seconds. Pure: randomness is passed in."""

from __future__ import annotations

from collections.abc import Callable


def exponential_delay_s(
    attempt: int,
    *,
    first_s: float,
    multiplier: float,
    most_s: float,
    jitter: float,
    random: Callable[[], float],
) -> float:
    """The wait after the given attempt (from 1): `first_s * multiplier ** (attempt - 1)`, at most `most_s`.

    Args:
        jitter: the share by which the wait may be longer or shorter, 0.2 for +-20 %, so that records which failed
            together are not all retried together.
        random: returns a number in [0, 1).
    """
    try:
        wait_s = min(first_s * multiplier ** (attempt - 1), most_s)
    except OverflowError:  # 2.0 ** 1024: a record that failed a thousand times
        wait_s = most_s
    return max(0.0, wait_s * (1.0 + jitter * (2.0 * random() - 1.0)))
