"""Runs each row in pairs with its baseline: baseline, row, baseline, row... so that a slow minute affects both."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import quantiles
from typing import Any

from bench.progress import print_progress

RUN_TIMEOUT_S = 600.0


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table: the module to run, how many events it is args, and the other arguments."""

    title: str
    module: str
    events: int
    options: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Run:
    cpu_us_per_event: float
    events_per_s: float


@dataclass(frozen=True, slots=True)
class Spread:
    """A median and its quartiles."""

    low: float
    median: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        if len(values) == 1:
            return cls(values[0], values[0], values[0])
        return cls(*quantiles(values, n=4, method="inclusive"))


@dataclass(frozen=True, slots=True)
class Result:
    """A row's figures. `ratio` is that of the pairs: the baseline's CPU time per event over the row's."""

    title: str
    cpu_us_per_event: Spread
    ratio: Spread
    ratios: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """Rows with the same baseline."""

    baseline: Row
    rows: tuple[Row, ...]


EVENTS = {"small": 500_000, "real": 100_000}
"""How many events a row handles, by profile; slow rows handle a part of them."""


def consuming_tables(profile: str) -> tuple[Table, ...]:
    """The tables of consuming: decoded by pydantic, decoded by msgspec, and the paths beside the plain one."""
    events = EVENTS[profile]
    pydantic = (
        Row("EVKafka", "bench.rows.evkafka_default", events),
        Row("EVKafka, extra `speed`", "bench.rows.evkafka_default", events, ("speed",)),
        Row("confluent-kafka, `consume(500)`, hand-written", "bench.rows.confluent_consume", events, ("pydantic",)),
        Row("confluent-kafka, nothing decoded", "bench.rows.confluent_consume", events, ("nothing",)),
    )
    faststream = (
        Row("FastStream, batches", "bench.rows.faststream_batch", 200_000),
        Row("FastStream", "bench.rows.faststream_default", 100_000),
    )
    return (
        Table(
            Row("aiokafka `getmany` loop, hand-written", "bench.rows.aiokafka_loop", events, ("pydantic",)),
            (*pydantic, *faststream) if profile == "small" else pydantic,  # FastStream would decode all of `real`
        ),
        Table(
            Row("aiokafka `getmany` loop, msgspec", "bench.rows.aiokafka_loop", events, ("msgspec",)),
            (
                Row("EVKafka, msgspec", "bench.rows.evkafka_msgspec", events),
                Row("EVKafka, msgspec, extra `speed`", "bench.rows.evkafka_msgspec", events, ("speed",)),
                Row("confluent-kafka, msgspec", "bench.rows.confluent_consume", events, ("msgspec",)),
            ),
        ),
        _paths_table(events),
    )


def _paths_table(events: int) -> Table:
    def path(name: str, title: str, part: int) -> Row:
        return Row(title, "bench.rows.evkafka_path", events // part, (name,))

    return Table(
        path("plain", "EVKafka, a plain endpoint", 1),
        (
            Row("with metrics listeners", "bench.rows.evkafka_listeners", events),
            Row("metrics scraped every second", "bench.rows.evkafka_web", events),
            path("one dependency", "one `Depends`", 4),
            path("three dependencies", "three `Depends`, one of which yields", 5),
            path("middleware", "one middleware", 4),
            path("def", "a `def` endpoint", 10),
            path("64 in flight", "64 in flight, all records of one key", 2),
            path("retried", "each attempt fails and is repeated", 10),
            path("failing", "each attempt fails and its record is given up", 10),
            Row("traced, no span sampled", "bench.rows.evkafka_traced", events // 5, ("0",)),
            Row("traced, each span sampled", "bench.rows.evkafka_traced", events // 5, ("1",)),
        ),
    )


WATCHED = (
    Table(
        Row("EVKafka", "bench.rows.evkafka_default", 1_000_000),
        (Row("with its metrics scraped every second", "bench.rows.evkafka_web", 1_000_000),),
    ),
    Table(
        Row("EVKafka, with its web part", "bench.rows.evkafka_open_page", 1_000_000, ("0",)),
        (Row("and the dashboard open, ten times", "bench.rows.evkafka_open_page", 1_000_000, ("10",)),),
    ),
)
PRODUCING = tuple(
    Table(
        Row(f"AIOKafkaProducer, {title}", "bench.rows.produce_aiokafka", events, (mode,)),
        (Row(f"EVKafkaProducer, {title}", "bench.rows.produce_evkafka", events, (mode,)),),
    )
    for title, mode, events in (
        ("1,000 tasks, each send awaited", "awaited", 100_000),
        ("pipelined", "pipelined", 200_000),
    )
)


def compare(table: Table, bootstrap_servers: str, topic: str, *, pairs: int) -> list[Result]:
    """Measure each row in pairs with the baseline; return the baseline's result first."""
    baselines: list[Run] = []
    results = []
    for row in table.rows:
        runs: list[tuple[Run, Run]] = []
        for number in range(1, pairs + 1):
            runs.append((run(table.baseline, bootstrap_servers, topic), run(row, bootstrap_servers, topic)))
            before, after = runs[-1]
            print_progress(
                f"{row.title}, pair {number} of {pairs}: "
                f"{before.cpu_us_per_event:.2f} us the baseline, {after.cpu_us_per_event:.2f} us this row"
            )
        baselines += [before for before, _ in runs]
        ratios = tuple(before.cpu_us_per_event / after.cpu_us_per_event for before, after in runs)
        results.append(_summarize(row, [after for _, after in runs], ratios))
    return [_summarize(table.baseline, baselines, (1.0,)), *results]


def run(row: Row, bootstrap_servers: str, topic: str) -> Run:
    """Run a row once, in its own process."""
    measured = run_module([row.module, bootstrap_servers, topic, str(row.events), *row.options])
    return Run(measured["cpu_s"] / measured["events"] * 1e6, measured["events"] / measured["wall_s"])


def run_module(command: list[str], timeout_s: float = RUN_TIMEOUT_S) -> dict[str, Any]:
    """Run `python -m` with this command; return the JSON of its last line of output."""
    completed = subprocess.run(
        [sys.executable, "-m", *command], capture_output=True, text=True, timeout=timeout_s, check=False
    )
    lines = completed.stdout.strip().splitlines()
    if completed.returncode or not lines:
        raise RuntimeError(f"{' '.join(command)} ended with {completed.returncode}:\n{completed.stderr[-3000:]}")
    measured: dict[str, Any] = json.loads(lines[-1])
    return measured


def _summarize(row: Row, runs: list[Run], ratios: tuple[float, ...]) -> Result:
    return Result(row.title, Spread.of([run.cpu_us_per_event for run in runs]), Spread.of(ratios), ratios)
