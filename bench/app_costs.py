"""Figures without a baseline: import time, first record, idle CPU, memory."""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import dataclass
from statistics import median

from bench.compare import run_module

FIRST_RUNS = 5


@dataclass(frozen=True, slots=True)
class FirstRecord:
    """Time until the first record is handled, in seconds (medians): from `app.run()`, and from the process's start."""

    since_run_s: float
    since_process_s: float


@dataclass(frozen=True, slots=True)
class Memory:
    """Resident MiB: after the first twentieth of the events, after the last one, and at most."""

    events: int
    start_mib: float
    end_mib: float
    most_mib: float


def import_s() -> float:
    """Return how much longer `python -c "import evkafka"` takes than an empty program, in seconds (medians)."""
    empty: list[float] = []
    importing: list[float] = []
    for _ in range(2 * FIRST_RUNS):
        for code, times_s in (("", empty), ("import evkafka; evkafka.EVKafkaApp", importing)):
            start_s = time.perf_counter()
            subprocess.run([sys.executable, "-c", code], check=True, timeout=60.0)
            times_s.append(time.perf_counter() - start_s)
    return median(importing) - median(empty)


def first_record(bootstrap_servers: str, topic: str) -> FirstRecord:
    since_run_s, since_process_s = [], []
    for _ in range(FIRST_RUNS):
        spawned_s = time.monotonic()
        measured = run_module(["bench.rows.evkafka_first_record", bootstrap_servers, topic, "1"])
        since_run_s.append(measured["since_run_s"])
        since_process_s.append(measured["handled_at_s"] - spawned_s)
    return FirstRecord(median(since_run_s), median(since_process_s))


def idle_percent(bootstrap_servers: str, topic: str) -> float:
    """Return CPU time over wall time while no records arrive, in percent of one core."""
    measured = run_module(["bench.rows.evkafka_idle", bootstrap_servers, topic, "0"])
    return 100 * float(measured["cpu_s"]) / float(measured["wall_s"])


def memory(bootstrap_servers: str, topic: str, events: int) -> Memory:
    """Measure memory over this many events, which are written while they are read."""
    command = [bootstrap_servers, topic, str(events)]
    with subprocess.Popen([sys.executable, "-m", "bench.topics", *command]) as loading:
        try:
            measured = run_module(["bench.rows.evkafka_memory", *command], timeout_s=1200.0)
        except BaseException:
            loading.kill()
            raise
    resident_mib = measured["resident_mib"]
    return Memory(int(measured["events"]), resident_mib[0], resident_mib[-1], max(resident_mib))
