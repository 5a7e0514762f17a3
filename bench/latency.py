"""End-to-end latency: consume, handle, send, consume, at a steady rate; a relay on aiokafka and one on EVKafka."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from bench.compare import run_module
from bench.progress import print_progress
from bench.rows.latency_probe import output_topic
from bench.topics import create_topic

EVENTS = 12_000
RELAYS = (("hand-written on aiokafka", "bench.rows.relay_aiokafka"), ("EVKafka", "bench.rows.relay_evkafka"))


@dataclass(frozen=True, slots=True)
class Latency:
    """Medians over the runs, in milliseconds."""

    title: str
    p50_ms: float
    p99_ms: float
    most_ms: float


def latencies(bootstrap_servers: str, *, runs: int) -> Sequence[Latency]:
    measured: dict[str, list[dict[str, float]]] = {title: [] for title, _ in RELAYS}
    for number in range(1, runs + 1):
        for title, module in RELAYS:
            found = _run_relay(bootstrap_servers, module)
            measured[title].append(found)
            print_progress(
                f"latency {title}, {number} of {runs}: p50 {found['p50_ms']:.1f} ms, p99 {found['p99_ms']:.1f} ms"
            )
    return [
        Latency(title, *(median(run[name] for run in runs_) for name in ("p50_ms", "p99_ms", "most_ms")))
        for title, runs_ in measured.items()
    ]


def _run_relay(bootstrap_servers: str, module: str) -> dict[str, float]:
    """Run a relay once, on new topics."""
    topic = f"relay-{uuid.uuid4().hex[:8]}"
    for name in (topic, output_topic(topic)):
        asyncio.run(create_topic(bootstrap_servers, name))
    relay = [sys.executable, "-m", module, bootstrap_servers, topic, "0"]
    with subprocess.Popen(relay, stderr=subprocess.DEVNULL) as running:
        try:
            return run_module(["bench.rows.latency_probe", bootstrap_servers, topic, str(EVENTS)])
        finally:
            running.kill()
