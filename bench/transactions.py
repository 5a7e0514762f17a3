"""Exactly once against at least once, with the same sends: `make bench ARGS=--transactions`."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from bench.compare import Row, Run, run
from bench.lanes import KEYS, fill_keys
from bench.latency import EXACTLY_ONCE, Latency, latencies
from bench.progress import print_progress
from bench.report import machine, today
from bench.rows.latency_probe import output_topic
from bench.topics import PARTITIONS, create_topic

METHOD = (
    f"Each record is decoded, waits as long as the table says, and is sent on, 174 bytes; {PARTITIONS} partitions, "
    f"{KEYS:,} keys, order kept by key, default settings (`transaction_interval_ms` 100), Kafka on the same machine. "
    "From the first record to the last commit; CPU time of the process. Medians of pairs of runs, one after the other. "
    "At least once, the endpoint waits for each confirmation of the broker."
)

MODES = ("post-commit", "exactly-once")
WORKLOADS = (
    ("one after the other", 20_000, "1", "0"),
    ("64 in flight, no wait", 60_000, "64", "0"),
    ("64 in flight, 10 ms", 30_000, "64", "10"),
    ("500 in flight, 10 ms", 100_000, "500", "10"),
)


@dataclass(frozen=True, slots=True)
class Workload:
    """The two modes with one workload, in turn.

    Attributes:
        per_s, cpu_us: events per second, and CPU time per event: at least once, exactly once.
        rate: exactly once over at least once, events per second.
        cost: the same of the CPU time.
    """

    title: str
    per_s: tuple[float, float]
    cpu_us: tuple[float, float]
    rate: float
    cost: float


@dataclass(frozen=True, slots=True)
class TransactionFigures:
    date: str
    machine: str
    workloads: Sequence[Workload]
    latency: Sequence[Latency]


def measure_all(servers: str, *, runs: int) -> TransactionFigures:
    most = max(events for _, events, *_ in WORKLOADS)
    print_progress(f"Filling a topic with {most:,} events")
    asyncio.run(fill_keys(servers, "orders", most))
    asyncio.run(create_topic(servers, output_topic("orders")))
    workloads = [_measure_workload(servers, runs, *workload) for workload in WORKLOADS]
    latency = latencies(servers, EXACTLY_ONCE, runs=min(runs, 5))
    return TransactionFigures(today(), machine(), workloads, latency)


def _measure_workload(servers: str, runs: int, title: str, events: int, concurrency: str, wait_ms: str) -> Workload:
    rows = [Row(mode, "bench.rows.relay_throughput", events, (mode, concurrency, wait_ms)) for mode in MODES]
    found: list[tuple[Run, Run]] = []
    for number in range(1, runs + 1):
        once, exact = (run(row, servers, "orders") for row in rows)
        found.append((once, exact))
        print_progress(
            f"{title}, pair {number} of {runs}: {once.events_per_s:,.0f}/s and {exact.events_per_s:,.0f}/s, "
            f"{once.cpu_us_per_event:.2f} us and {exact.cpu_us_per_event:.2f} us"
        )
    return Workload(
        title,
        (median(once.events_per_s for once, _ in found), median(exact.events_per_s for _, exact in found)),
        (median(once.cpu_us_per_event for once, _ in found), median(exact.cpu_us_per_event for _, exact in found)),
        median(exact.events_per_s / once.events_per_s for once, exact in found),
        median(exact.cpu_us_per_event / once.cpu_us_per_event for once, exact in found),
    )


def markdown(figures: TransactionFigures) -> str:
    lines = [
        "| | at least once, events/s | exactly once | ratio | at least once, CPU us per event | exactly once | ratio |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for one in figures.workloads:
        rates = " | ".join(f"{value:,.0f}" for value in one.per_s)
        costs = " | ".join(f"{value:.2f}" for value in one.cpu_us)
        lines.append(f"| {one.title} | {rates} | {one.rate:.2f} | {costs} | {one.cost:.2f} |")
    lines += ["", "| from an event to its output, read committed | p50, ms | p99, ms |", "| --- | ---: | ---: |"]
    lines += [f"| {one.title} | {one.p50_ms:.1f} | {one.p99_ms:.1f} |" for one in figures.latency]
    return "\n".join([*lines, "", METHOD, "", f"{figures.date}, {figures.machine}.", ""])
