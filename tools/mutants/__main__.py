"""`python -m tools.mutants`: each breakage in a copy of the tree, and the tests that must see it. A table; 1 where one
stays green, cannot be applied, or takes longer than two minutes to turn red."""

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
MOST_S = 120.0
HANGING = ("-o", "timeout=90", "-o", "timeout_method=thread")
"""A test that hangs is red in time, also where the engine takes the error that would end it for a record's."""
NOT_COPIED = shutil.ignore_patterns(".git", ".venv*", "__pycache__", ".*_cache", ".hypothesis", "dist", "site", "build")

PASSED, FAILED = 0, 1
"""Pytest's exit codes that say something about the tests."""


@dataclass(frozen=True)
class Seen:
    """What became of one breakage: `red` is as it should be. `by` is the first test that failed, or what went wrong."""

    breakage: Breakage
    red: bool
    by: str
    took_s: float

    def __str__(self) -> str:
        return f"{'red  ' if self.red else 'GREEN'} {self.took_s:4.0f} s  {self.breakage.name:<58} {self.by}"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.mutants", description=__doc__)
    parser.add_argument("--only", default="", help="those whose name or file contains this")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="how many at once (one for each core)")
    asked = parser.parse_args()
    chosen = [one for one in BREAKAGES if asked.only in f"{one.file}: {one.name}"]
    if faults := [f"{one.name}: {fault}" for one in chosen if (fault := one.fault(ROOT))]:
        sys.exit("cannot be applied:\n" + "\n".join(faults))
    with copies(asked.jobs) as trees:
        whole = pytest(ROOT, sorted({tests for one in chosen for tests in one.seen_by}), most_s=3600)
        if whole.returncode != PASSED:
            sys.exit(f"the tests fail without any breakage:\n{whole.stdout}")
        seen = list(told(run_all(chosen, trees)))
    lost = [one for one in seen if not one.red]
    print(f"\n{len(seen) - len(lost)} of {len(seen)} breakages turned the suite red")
    for one in lost:
        print(f"{one.breakage.file}: {one.breakage.name}: {one.by}. It would cost: {one.breakage.cost}")
    return 1 if lost else 0


@contextmanager
def copies(count: int) -> Iterator[queue.SimpleQueue[Path]]:
    """So many copies of the tree, for as many runs at once."""
    trees: queue.SimpleQueue[Path] = queue.SimpleQueue()
    with tempfile.TemporaryDirectory(prefix="evkafka-mutants-") as scratch:
        for number in range(count):
            tree = Path(scratch) / str(number)
            shutil.copytree(ROOT, tree, ignore=NOT_COPIED)
            trees.put(tree)
        yield trees


def run_all(chosen: Sequence[Breakage], trees: queue.SimpleQueue[Path]) -> Iterator[Seen]:
    def run(one: Breakage) -> Seen:
        tree = trees.get()
        try:
            return look(one, tree)
        finally:
            trees.put(tree)

    with ThreadPoolExecutor(trees.qsize()) as pool:
        yield from pool.map(run, chosen)


def look(one: Breakage, tree: Path) -> Seen:
    """Whether the tests see this breakage."""
    began_s = time.monotonic()
    with one.applied(tree):
        try:
            ended = pytest(tree, one.seen_by, most_s=MOST_S)
        except subprocess.TimeoutExpired:
            return Seen(one, False, f"no test had failed after {MOST_S:.0f} s", time.monotonic() - began_s)
    took_s = time.monotonic() - began_s
    match ended.returncode:
        case 0:
            return Seen(one, False, "every test passed", took_s)
        case 1:
            first = re.search(r"^(?:FAILED|ERROR) (\S+)", ended.stdout, re.MULTILINE)
            return Seen(one, True, first[1] if first else "a test failed", took_s)
        case code:
            said = (ended.stdout + ended.stderr).strip().splitlines()[-1:]
            return Seen(one, False, f"pytest ended with {code}: {''.join(said)}", took_s)


def pytest(tree: Path, tests: Iterable[str], *, most_s: float) -> subprocess.CompletedProcess[str]:
    """Run these tests of a tree, up to the first one that fails."""
    return subprocess.run(  # nosec B603 # our own command
        [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *HANGING, *tests],
        cwd=tree,
        env={**os.environ, "PYTHONPATH": str(tree / "src")},
        capture_output=True,
        text=True,
        timeout=most_s,
        check=False,
    )


def told(ended: Iterable[Seen]) -> Iterator[Seen]:
    """Each of them, printed as it comes."""
    for one in ended:
        print(one, flush=True)
        yield one


if __name__ == "__main__":
    sys.exit(main())
