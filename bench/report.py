"""Formats the figures: a table for the terminal, Markdown for docs/performance.md, JSON for the next comparison."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bench.app_costs import FirstRecord, Memory
from bench.compare import Result, Spread
from bench.event import PROFILE
from bench.latency import Latency

METHOD = (
    f"{PROFILE.description}. Decoded into a model of seven fields, 4 partitions, a handler that does nothing, Kafka on "
    "the same machine. Medians, with quartiles in brackets. The ratio is the CPU time per event of the table's first "
    "row divided by the row's, in pairs of runs, one after the other: more than 1 is cheaper. FastStream ran without "
    "its two log lines per event."
)

WATCHED_METHOD = (
    "174 bytes of JSON into a pydantic model, 4 partitions, a handler that does nothing, Kafka on the same machine. "
    "Medians; the ratio is the CPU time per event of the row above over this one's, in pairs of runs, one after the "
    "other. Whoever looks is a process of its own, whose time does not count."
)

SENDING_METHOD = (
    "174 bytes, 4 partitions, 64 keys, confirmed by all replicas (of which there is one) with idempotence on, Kafka on "
    "the same machine. Medians; the ratio is the CPU time per event of aiokafka's producer divided by EVKafka's, in "
    "pairs of runs. Latency: 1,000 events a second through consume, handle, send, consume, from when an event was due "
    "until its result was read."
)

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True, slots=True)
class Figures:
    """The figures of one run of `make bench`; None for those that were not measured."""

    date: str
    machine: str
    tables: Sequence[Sequence[Result]]
    first: FirstRecord | None = None
    idle_percent: float | None = None
    memory: Memory | None = None
    import_s: float | None = None


@dataclass(frozen=True, slots=True)
class SendingFigures:
    """The figures of sending. `results`: baseline and row in turn, for each mode of sending."""

    date: str
    machine: str
    results: Sequence[Result]
    latency: Sequence[Latency]


def today() -> str:
    return f"{datetime.now(UTC):%Y-%m-%d}"


def machine() -> str:
    """Describe the processor, the system and the versions that influence the figures."""
    libraries = ", ".join(f"{name} {version(name)}" for name in ("aiokafka", "pydantic", "faststream"))
    return (
        f"{os.cpu_count()} cores of {_processor()}, {platform.system()}, "
        f"Python {platform.python_version()}, {libraries}"
    )


def write(name: str, figures: Any, markdown: str) -> None:
    """Write the figures (a dataclass) as JSON, and the Markdown, to bench/results/."""
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps(asdict(figures), indent=2) + "\n", encoding="utf-8")
    (RESULTS / f"{name}.md").write_text(markdown, encoding="utf-8")


def text(figures: Figures) -> str:
    """Return the table and the sentences for the terminal."""
    tables = [line for table in figures.tables for line in (*_text_table(table), "")]
    return "\n".join([*tables, *_sentences(figures)])


def markdown(figures: Figures, method: str = METHOD) -> str:
    """Return the table and the sentences for docs/performance.md."""
    tables = [line for table in figures.tables for line in (*_markdown_table(table), "")]
    lines = [*tables, method, *_sentences(figures)]
    return "\n".join([*lines, "", f"{figures.date}, {figures.machine}.", ""])


def sending_text(figures: SendingFigures) -> str:
    width = max(len(latency.title) for latency in figures.latency)
    lines = [*_text_table(figures.results), "", f"{'End to end, ms':{width}}     p50     p99    most"]
    lines += [
        f"{latency.title:{width}} {latency.p50_ms:7.1f} {latency.p99_ms:7.1f} {latency.most_ms:7.1f}"
        for latency in figures.latency
    ]
    return "\n".join(lines)


def sending_markdown(figures: SendingFigures) -> str:
    lines = [
        *_markdown_table(figures.results),
        "",
        "| end to end, ms | p50 | p99 | most |",
        "| --- | ---: | ---: | ---: |",
    ]
    lines += [
        f"| {latency.title} | {latency.p50_ms:.1f} | {latency.p99_ms:.1f} | {latency.most_ms:.1f} |"
        for latency in figures.latency
    ]
    return "\n".join([*lines, "", SENDING_METHOD, "", f"{figures.date}, {figures.machine}.", ""])


def _text_table(results: Sequence[Result]) -> list[str]:
    width = max(len(result.title) for result in results)
    lines = [f"{'':{width}}  {'CPU us/event':>22}  {'ratio':>18}"]
    return lines + [
        f"{result.title:{width}}  {_spread(result.cpu_us_per_event):>22}  {_spread(result.ratio):>18}"
        for result in results
    ]


def _markdown_table(results: Sequence[Result]) -> list[str]:
    lines = ["| | CPU us per event | ratio |", "| --- | ---: | ---: |"]
    return lines + [
        f"| {result.title} | {_spread(result.cpu_us_per_event)} | {_spread(result.ratio)} |" for result in results
    ]


def _spread(spread: Spread) -> str:
    return f"{spread.median:.2f} ({spread.low:.2f}-{spread.high:.2f})"


def _sentences(figures: Figures) -> list[str]:
    sentences = []
    if figures.import_s is not None:
        sentences.append(f"`import evkafka` takes {figures.import_s:.2f} s.")
    if (first := figures.first) is not None:
        sentences.append(
            f"First record handled {first.since_run_s:.2f} s after `app.run()`, "
            f"{first.since_process_s:.2f} s after the start of the process."
        )
    if figures.idle_percent is not None:
        sentences.append(f"Idle: {figures.idle_percent:.2f} % of one core.")
    if (memory := figures.memory) is not None:
        sentences.append(
            f"Memory over {memory.events:,} events: {memory.start_mib:.0f} MiB at first, "
            f"{memory.end_mib:.0f} MiB at the end, {memory.most_mib:.0f} MiB at most."
        )
    return sentences


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()
