"""Two workers of a group compared with one, on a full topic: `make bench ARGS=--workers`.

Kafka runs on the same machine, so the CPU time of all other processes is measured too.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from bench.progress import print_progress
from bench.report import machine, today
from bench.topics import create_topic, fill

EVENTS = 6_000_000
SECONDS = 4.0
SETTLED_S = 0.7
WORKERS = (1, 2)

Mark = tuple[float, float, int]
"""Monotonic time in seconds, CPU seconds, events handled so far."""


@dataclass(frozen=True, slots=True)
class Workers:
    """Medians over the runs.

    Attributes:
        per_s: events per second of all workers together.
        cpu_us: CPU microseconds per event.
        others_cores: cores that all other processes used, mainly the broker.
        ratio: events per second over those of one worker.
    """

    number: int
    per_s: float
    cpu_us: float
    others_cores: float
    ratio: float


@dataclass(frozen=True, slots=True)
class WorkerFigures:
    date: str
    machine: str
    workers: Sequence[Workers]


def measure_all(servers: str, *, runs: int) -> WorkerFigures:
    print_progress(f"Filling a topic with {EVENTS:,} events")
    asyncio.run(create_topic(servers, "workers"))
    asyncio.run(fill(servers, "workers", EVENTS))
    found: dict[int, list[tuple[float, float, float]]] = {number: [] for number in WORKERS}
    for _ in range(runs):
        for number in WORKERS:
            found[number].append(_run(servers, number))
            per_s, cpu_us, others = found[number][-1]
            print_progress(f"{number} workers: {per_s:,.0f}/s, {cpu_us:.2f} us, all else {others:.2f} cores")
    one = [per_s for per_s, _, _ in found[1]]
    results = []
    for number, figures in found.items():
        per_s, cpu_us, others = (median(column) for column in zip(*figures, strict=True))
        ratio = median(figure[0] / alone for figure, alone in zip(figures, one, strict=True))
        results.append(Workers(number, per_s, cpu_us, others, ratio))
    return WorkerFigures(today(), machine(), results)


def _run(servers: str, number: int) -> tuple[float, float, float]:
    group = f"workers-{uuid.uuid4().hex[:8]}"
    command = [sys.executable, "-m", "bench.rows.evkafka_worker", servers, "workers", "0", group, str(SECONDS)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(number)]
    machine_cpu = []
    while any(process.poll() is None for process in running):
        machine_cpu.append((time.monotonic(), _machine_cpu_s()))
        time.sleep(0.1)
    marks: list[list[Mark]] = [json.loads(process.communicate()[0])["marks"] for process in running]
    begin, end = max(m[0][0] for m in marks) + SETTLED_S, min(m[-1][0] for m in marks)
    measured = [[mark for mark in m if begin <= mark[0] <= end] for m in marks]
    per_s = sum((m[-1][2] - m[0][2]) / (m[-1][0] - m[0][0]) for m in measured)
    cores = sum((m[-1][1] - m[0][1]) / (m[-1][0] - m[0][0]) for m in measured)
    inside = [sample for sample in machine_cpu if begin <= sample[0] <= end]
    all_cores = (inside[-1][1] - inside[0][1]) / (inside[-1][0] - inside[0][0])
    return per_s, cores / per_s * 1e6, all_cores - cores


def _machine_cpu_s() -> float:
    """Return the CPU seconds of all processes since the machine started."""
    user, nice, system, _, _, irq, softirq, *_ = map(int, Path("/proc/stat").read_text().split("\n")[0].split()[1:])
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")


def markdown(figures: WorkerFigures) -> str:
    lines = [
        "| workers | events/s | CPU us per event | cores for all else | ratio |",
        "| ---: | ---: | ---: | ---: | ---: |",
    ]
    lines += [
        f"| {one.number} | {one.per_s:,.0f} | {one.cpu_us:.2f} | {one.others_cores:.2f} | {one.ratio:.2f} |"
        for one in figures.workers
    ]
    return "\n".join([*lines, "", f"{figures.date}, {figures.machine}.", ""])
