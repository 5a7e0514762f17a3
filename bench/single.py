"""The figures that need no comparison: first record, idle CPU, memory."""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import dataclass
from statistics import median

from bench.compare import measure

FIRST_RUNS = 5


@dataclass(frozen=True, slots=True)
class First:
    """Medians, in seconds: from `app.run()`, and from the start of the process, imports and all."""

    since_run_s: float
    since_process_s: float


@dataclass(frozen=True, slots=True)
class Memory:
    """Resident size, in MiB: after the first twentieth of the events, after the last, and the most seen."""

    events: int
    start_mib: float
    end_mib: float
    most_mib: float


def import_s() -> float:
    """From the start of `python -c "import evkafka"` to its end, over the same of an empty program; medians."""
    empty, importing = [], []
    for _ in range(2 * FIRST_RUNS):
        for code, taken in (("", empty), ("import evkafka; evkafka.EVKafkaApp", importing)):
            began = time.perf_counter()
            subprocess.run([sys.executable, "-c", code], check=True, timeout=60.0)
            taken.append(time.perf_counter() - began)
    return median(importing) - median(empty)


def first(bootstrap_servers: str, topic: str) -> First:
    since_run_s, since_process_s = [], []
    for _ in range(FIRST_RUNS):
        spawned_s = time.monotonic()
        measured = measure(["bench.rows.evkafka_first", bootstrap_servers, topic, "1"])
        since_run_s.append(measured["since_run_s"])
        since_process_s.append(measured["handled_at_s"] - spawned_s)
    return First(median(since_run_s), median(since_process_s))


def idle_percent(bootstrap_servers: str, topic: str) -> float:
    """CPU time over wall time while nothing comes, in percent of one core."""
    measured = measure(["bench.rows.evkafka_idle", bootstrap_servers, topic, "0"])
    return 100 * float(measured["cpu_s"]) / float(measured["wall_s"])


def memory(bootstrap_servers: str, topic: str, events: int) -> Memory:
    """Over so many events, which are written while they are read."""
    command = [bootstrap_servers, topic, str(events)]
    with subprocess.Popen([sys.executable, "-m", "bench.load", *command]) as loading:
        try:
            measured = measure(["bench.rows.evkafka_memory", *command], timeout_s=1200.0)
        except BaseException:
            loading.kill()
            raise
    resident_mib = measured["resident_mib"]
    return Memory(int(measured["events"]), resident_mib[0], resident_mib[-1], max(resident_mib))
