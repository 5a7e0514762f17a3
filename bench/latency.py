"""End-to-end latency: consume, handle, send, consume, at a steady rate; a relay on aiokafka and one on EVKafka."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import median

from bench.compare import run_module
from bench.progress import print_progress
from bench.rows.latency_probe import output_topic
from bench.topics import create_topic

EVENTS = 12_000
DIRECT = "Kafka alone: sent and read, no relay"
RELAYS = (
    ("hand-written on aiokafka", "bench.rows.relay_aiokafka", ()),
    ("EVKafka", "bench.rows.relay_evkafka", ()),
    ("EVKafka, `acks` 1", "bench.rows.relay_evkafka", ("acks=1",)),
    ("EVKafka, `linger_ms` 5", "bench.rows.relay_evkafka", ("linger_ms=5",)),
    ("EVKafka, `fetch_max_wait_ms` 10", "bench.rows.relay_evkafka", ("fetch_max_wait_ms=10",)),
    ("EVKafka, `fetch_min_bytes` 10000", "bench.rows.relay_evkafka", ("fetch_min_bytes=10000",)),
)
EXACTLY_ONCE = (
    ("EVKafka, at least once", "bench.rows.relay_evkafka", ()),
    ("EVKafka, exactly once", "bench.rows.relay_evkafka", ("exactly_once=1",)),
    (
        "EVKafka, exactly once, `transaction_interval_ms` 20",
        "bench.rows.relay_evkafka",
        ("exactly_once=1", "transaction_interval_ms=20"),
    ),
)

Relays = Sequence[tuple[str, str, Sequence[str]]]


@dataclass(frozen=True, slots=True)
class Latency:
    """Medians over the runs, in milliseconds."""

    title: str
    p50_ms: float
    p99_ms: float
    most_ms: float


def latencies(bootstrap_servers: str, relays: Relays = RELAYS, *, runs: int) -> Sequence[Latency]:
    measured: dict[str, list[dict[str, float]]] = {DIRECT: [], **{title: [] for title, *_ in relays}}
    for number in range(1, runs + 1):
        for title, run in _kinds_of_run(bootstrap_servers, relays):
            found = run()
            measured[title].append(found)
            print_progress(
                f"latency {title}, {number} of {runs}: p50 {found['p50_ms']:.1f} ms, p99 {found['p99_ms']:.1f} ms"
            )
    return [
        Latency(title, *(median(run[name] for run in runs_) for name in ("p50_ms", "p99_ms", "most_ms")))
        for title, runs_ in measured.items()
    ]


def _kinds_of_run(bootstrap_servers: str, relays: Relays) -> Iterator[tuple[str, Callable[[], dict[str, float]]]]:
    yield DIRECT, partial(_run_direct, bootstrap_servers)
    for title, module, settings in relays:
        yield title, partial(_run_relay, bootstrap_servers, module, settings)


def _run_direct(bootstrap_servers: str) -> dict[str, float]:
    topic = f"direct-{uuid.uuid4().hex[:8]}"
    asyncio.run(create_topic(bootstrap_servers, topic))
    return run_module(["bench.rows.latency_probe", bootstrap_servers, topic, str(EVENTS), "direct"])


def _run_relay(bootstrap_servers: str, module: str, settings: Sequence[str]) -> dict[str, float]:
    """Run a relay once, on new topics."""
    topic = f"relay-{uuid.uuid4().hex[:8]}"
    for name in (topic, output_topic(topic)):
        asyncio.run(create_topic(bootstrap_servers, name))
    relay = [sys.executable, "-m", module, bootstrap_servers, topic, "0", *settings]
    with subprocess.Popen(relay, stderr=subprocess.DEVNULL) as running:
        try:
            return run_module(["bench.rows.latency_probe", bootstrap_servers, topic, str(EVENTS)])
        finally:
            running.kill()
