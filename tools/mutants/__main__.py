"""`python -m tools.mutants`: apply each breakage to a copy of the tree, and run the tests that must fail.

Prints a table. Exits with 1 if the tests pass with a breakage, if one cannot be applied, or if no test has failed after
two minutes.
"""

from __future__ import annotations

import argparse
import os
import queue
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tools.mutants.breakage import Breakage
from tools.mutants.breakages import BREAKAGES

ROOT = Path(__file__).parents[2]
LONGEST_S = 120.0
TEST_TIMEOUT = ("-o", "timeout=90", "-o", "timeout_method=thread")
"""A test that hangs fails in time. The thread method works even if the runtime takes the exception of pytest-timeout's
signal for a failure of the record."""
NOT_COPIED = shutil.ignore_patterns(".git", ".venv*", "__pycache__", ".*_cache", ".hypothesis", "dist", "site", "build")

PASSED, FAILED = 0, 1
"""Pytest's exit codes for a completed run."""


@dataclass(frozen=True)
class Result:
    """`red`: a test failed, as it should. `reason`: the first failed test, or why there is none."""

    breakage: Breakage
    red: bool
    reason: str
    took_s: float

    def __str__(self) -> str:
        return f"{'red  ' if self.red else 'GREEN'} {self.took_s:4.0f} s  {self.breakage.name:<58} {self.reason}"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.mutants", description=__doc__)
    parser.add_argument("--only", default="", help="breakages whose name or file contains this")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="parallel runs (one for each core)")
    options = parser.parse_args()
    chosen = [one for one in BREAKAGES if options.only in f"{one.file}: {one.name}"]
    if faults := [f"{one.name}: {fault}" for one in chosen if (fault := one.find_fault(ROOT))]:
        sys.exit("cannot be applied:\n" + "\n".join(faults))
    with copy_trees(options.jobs) as trees:
        unbroken = run_pytest(ROOT, sorted({tests for one in chosen for tests in one.seen_by}), timeout_s=3600)
        if unbroken.returncode != PASSED:
            sys.exit(f"the tests fail without any breakage:\n{unbroken.stdout}")
        results = []
        for result in run_all(chosen, trees):
            print(result, flush=True)
            results.append(result)
    missed = [result for result in results if not result.red]
    print(f"\n{len(results) - len(missed)} of {len(results)} breakages turned the suite red")
    for result in missed:
        breakage = result.breakage
        print(f"{breakage.file}: {breakage.name}: {result.reason}. It would cost: {breakage.cost}")
    return 1 if missed else 0


@contextmanager
def copy_trees(count: int) -> Iterator[queue.SimpleQueue[Path]]:
    """Yield `count` copies of the tree, one for each parallel run."""
    trees: queue.SimpleQueue[Path] = queue.SimpleQueue()
    with tempfile.TemporaryDirectory(prefix="evkafka-mutants-") as scratch:
        for number in range(count):
            tree = Path(scratch) / str(number)
            shutil.copytree(ROOT, tree, ignore=NOT_COPIED)
            trees.put(tree)
        yield trees


def run_all(chosen: Sequence[Breakage], trees: queue.SimpleQueue[Path]) -> Iterator[Result]:
    def run(one: Breakage) -> Result:
        tree = trees.get()
        try:
            return run_one(one, tree)
        finally:
            trees.put(tree)

    with ThreadPoolExecutor(trees.qsize()) as pool:
        yield from pool.map(run, chosen)


def run_one(one: Breakage, tree: Path) -> Result:
    """Apply the breakage to the tree and run its tests."""
    began_s = time.monotonic()
    with one.apply(tree):
        try:
            ended = run_pytest(tree, one.seen_by, timeout_s=LONGEST_S)
        except subprocess.TimeoutExpired:
            return Result(one, False, f"no test had failed after {LONGEST_S:.0f} s", time.monotonic() - began_s)
    took_s = time.monotonic() - began_s
    if ended.returncode == PASSED:
        return Result(one, False, "every test passed", took_s)
    if ended.returncode == FAILED:
        first = re.search(r"^(?:FAILED|ERROR) (\S+)", ended.stdout, re.MULTILINE)
        return Result(one, True, first[1] if first else "a test failed", took_s)
    last_line = (ended.stdout + ended.stderr).strip().splitlines()[-1:]
    return Result(one, False, f"pytest ended with {ended.returncode}: {''.join(last_line)}", took_s)


def run_pytest(tree: Path, tests: Iterable[str], *, timeout_s: float) -> subprocess.CompletedProcess[str]:
    """Run these tests of a tree; stop at the first failure."""
    return subprocess.run(  # nosec B603 # our own command
        [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *TEST_TIMEOUT, *tests],
        cwd=tree,
        env={**os.environ, "PYTHONPATH": str(tree / "src")},
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )


if __name__ == "__main__":
    sys.exit(main())
