"""`make fuzz`: every property, again and again with new seeds, until the time is up; says what it has covered.

Ends with 1, and Hypothesis's smallest example, at the first thing that is not as it must be. `--seed` begins elsewhere
than the last run did; a failing round names its own.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from tests.fuzz.configurations import ENVIRONMENTS, configurations
from tests.fuzz.inputs import cases
from tests.fuzz.run import hold
from tests.fuzz.wrong import outside, refused_by_key, taken_or_refused

Hold = Callable[[Any], Counter[str]]

ROUND = 200
"""Examples of each property in a round; records have as many again, for they are the point."""


def properties() -> Iterator[tuple[st.SearchStrategy[Any], Hold, int]]:
    yield cases(), hold, 2 * ROUND
    for kind in ("consumer", "producer", "policy"):
        yield configurations(kind), lambda values, kind=kind: refused_by_key(kind, values), ROUND
    yield (
        configurations("consumer"),
        lambda values: taken_or_refused({"topics": ["orders"], "group_id": "g", **values}),
        ROUND,
    )
    yield ENVIRONMENTS, outside, ROUND


def main(arguments: list[str]) -> int:
    given_ = _parsed(arguments)
    ends, began, rounds, seen = time.monotonic() + 60 * given_.minutes, time.monotonic(), 0, Counter[str]()
    examples = Counter[str]()
    while time.monotonic() < ends:
        number = given_.seed + rounds
        for strategy, held, many in properties():
            try:
                _try(strategy, held, many, number, seen, examples)
            except BaseException:  # also an ExceptionGroup of several
                traceback.print_exc()
                print(f"\nround {number} has failed: make fuzz ARGS='--seed {number}' begins with it")
                _tell(seen, examples, rounds, time.monotonic() - began)
                return 1
            if time.monotonic() >= ends:
                break
        rounds += 1
    _tell(seen, examples, rounds, time.monotonic() - began)
    return 0


def _parsed(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make fuzz", description=__doc__)
    minutes = float(os.environ.get("EVKAFKA_FUZZ_MINUTES", "10"))
    parser.add_argument("--minutes", type=float, default=minutes, help="how long (default %(default)g)")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="the first round's (default: the time)")
    return parser.parse_args(arguments)


def _try(
    strategy: st.SearchStrategy[Any], held: Hold, many: int, number: int, seen: Counter[str], examples: Counter[str]
) -> None:
    @seed(number)
    @settings(max_examples=many, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(strategy)
    def example(value: Any) -> None:
        seen.update(held(value))
        examples["all"] += 1

    example()


def _tell(seen: Counter[str], examples: Counter[str], rounds: int, took_s: float) -> None:
    print(
        f"{examples['all']} examples in {rounds} rounds, {took_s:.0f} s; what was decided of records, and of configs:"
    )
    for what, many in sorted(seen.items()):
        print(f"  {many:>9,}  {what}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
