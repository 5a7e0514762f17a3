"""`make fuzz`: runs every property repeatedly with new seeds until the time is up, and prints what was covered.

Exits with 1 and Hypothesis's smallest example at the first violation. The first seed is the time, or `--seed`; a
failing round prints its own.
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

from tests.fuzz.config_checks import check_app, check_environment, check_settings
from tests.fuzz.configurations import ENVIRONMENTS, configurations
from tests.fuzz.inputs import cases
from tests.fuzz.run import check_case

Check = Callable[[Any], Counter[str]]

ROUND = 200
"""Examples of each property in a round; records have twice as many, because they matter most."""


def properties() -> Iterator[tuple[st.SearchStrategy[Any], Check, int]]:
    yield cases(), check_case, 2 * ROUND
    for kind in ("consumer", "producer", "policy"):
        yield configurations(kind), lambda values, kind=kind: check_settings(kind, values), ROUND
    yield (
        configurations("consumer"),
        lambda values: check_app({"topics": ["orders"], "group_id": "g", **values}),
        ROUND,
    )
    yield ENVIRONMENTS, check_environment, ROUND


def main(arguments: list[str]) -> int:
    options = _parse(arguments)
    end_s, start_s, rounds, seen = time.monotonic() + 60 * options.minutes, time.monotonic(), 0, Counter[str]()
    examples = Counter[str]()
    while time.monotonic() < end_s:
        number = options.seed + rounds
        for strategy, check, count in properties():
            try:
                _run_property(strategy, check, count, number, seen, examples)
            except BaseException:  # an ExceptionGroup too
                traceback.print_exc()
                print(f"\nround {number} has failed: make fuzz ARGS='--seed {number}' starts with it")
                _print_summary(seen, examples, rounds, time.monotonic() - start_s)
                return 1
            if time.monotonic() >= end_s:
                break
        rounds += 1
    _print_summary(seen, examples, rounds, time.monotonic() - start_s)
    return 0


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make fuzz", description=__doc__)
    minutes = float(os.environ.get("EVKAFKA_FUZZ_MINUTES", "10"))
    parser.add_argument("--minutes", type=float, default=minutes, help="duration (default %(default)g)")
    parser.add_argument(
        "--seed", type=int, default=int(time.time()), help="seed of the first round (default: the time)"
    )
    return parser.parse_args(arguments)


def _run_property(
    strategy: st.SearchStrategy[Any], check: Check, count: int, number: int, seen: Counter[str], examples: Counter[str]
) -> None:
    @seed(number)
    @settings(max_examples=count, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(strategy)
    def example(value: Any) -> None:
        seen.update(check(value))
        examples["all"] += 1

    example()


def _print_summary(seen: Counter[str], examples: Counter[str], rounds: int, took_s: float) -> None:
    print(f"{examples['all']} examples in {rounds} rounds, {took_s:.0f} s; outcomes of records and configurations:")
    for outcome, count in sorted(seen.items()):
        print(f"  {count:>9,}  {outcome}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
