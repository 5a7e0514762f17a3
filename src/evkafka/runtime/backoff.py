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
    """The wait after the given attempt (from 1): `first_s * multiplier ** (attempt - 1)`, and never above `most_s`.

    The waits vary evenly between the shortest and the longest possible one. If longer waits were cut at `most_s`
    instead, half of the last ones would be equal, and records would be retried together.

    Args:
        jitter: the share by which the wait may be longer or shorter, 0.2 for +-20 %, so that records which failed
            together are not all retried together.
        random: returns a number in [0, 1).
    """
    try:
        wait_s = min(first_s * multiplier ** (attempt - 1), most_s)
    except OverflowError:  # 2.0 ** 1024: a record that failed a thousand times
        wait_s = most_s
    shortest_s, longest_s = wait_s * (1.0 - jitter), min(wait_s * (1.0 + jitter), most_s)
    return shortest_s + (longest_s - shortest_s) * random()
