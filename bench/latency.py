"""End to end: consume, handle, send, consume, at a steady pace; a relay by hand and EVKafka's, in turn."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

from bench.compare import measure
from bench.load import make_topic
from bench.rows.latency import out_of

EVENTS = 12_000
RELAYS = (("by hand on aiokafka", "bench.rows.relay_by_hand"), ("EVKafka", "bench.rows.relay_evkafka"))


@dataclass(frozen=True, slots=True)
class Latency:
    """Medians over the runs, in milliseconds."""

    title: str
    p50_ms: float
    p99_ms: float
    most_ms: float


def latencies(bootstrap_servers: str, *, runs: int, progress: Callable[[str], None]) -> Sequence[Latency]:
    measured: dict[str, list[dict[str, float]]] = {title: [] for title, _ in RELAYS}
    for number in range(1, runs + 1):
        for title, module in RELAYS:
            found = _one(bootstrap_servers, module)
            measured[title].append(found)
            progress(f"latency {title}, {number} of {runs}: p50 {found['p50_ms']:.1f} ms, p99 {found['p99_ms']:.1f} ms")
    return [
        Latency(title, *(median(run[name] for run in runs_) for name in ("p50_ms", "p99_ms", "most_ms")))
        for title, runs_ in measured.items()
    ]


def _one(bootstrap_servers: str, module: str) -> dict[str, float]:
    """One run, on topics of its own."""
    topic = f"relay-{uuid.uuid4().hex[:8]}"
    for name in (topic, out_of(topic)):
        asyncio.run(make_topic(bootstrap_servers, name))
    relay = [sys.executable, "-m", module, bootstrap_servers, topic, "0"]
    with subprocess.Popen(relay, stderr=subprocess.DEVNULL) as running:
        try:
            return measure(["bench.rows.latency", bootstrap_servers, topic, str(EVENTS)])
        finally:
            running.kill()
