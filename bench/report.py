"""The figures as a table for people, as Markdown for the README, and as JSON for the next comparison."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

from bench.compare import Result
from bench.single import First, Memory

METHOD = (
    "174 bytes of JSON into a pydantic model, 4 partitions, a handler that does nothing, Kafka on the same machine. "
    "Medians; the ratio is the CPU time per event of the loop by hand over the row's, in pairs of runs, one after the "
    "other. FastStream ran without its two log lines per event."
)

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True, slots=True)
class Figures:
    """What one run of `make bench` found out; None stands for what it was not asked."""

    date: str
    machine: str
    results: Sequence[Result]
    first: First | None
    idle_percent: float | None
    memory: Memory | None


def machine() -> str:
    """Processor, system and versions, as far as they bear on the figures."""
    libraries = ", ".join(f"{name} {version(name)}" for name in ("aiokafka", "pydantic", "faststream"))
    return (
        f"{os.cpu_count()} cores of {_processor()}, {platform.system()}, "
        f"Python {platform.python_version()}, {libraries}"
    )


def write(figures: Figures) -> None:
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "latest.json").write_text(json.dumps(asdict(figures), indent=2) + "\n", encoding="utf-8")
    (RESULTS / "latest.md").write_text(markdown(figures), encoding="utf-8")


def text(figures: Figures) -> str:
    """For the terminal."""
    width = max(len(result.title) for result in figures.results)
    lines = [f"{'':{width}}  CPU us/event   events/s   ratio"]
    lines += [
        f"{result.title:{width}}  {result.cpu_us_per_event:12.2f} {result.events_per_s:10,.0f}   {result.ratio:5.2f}"
        for result in figures.results
    ]
    return "\n".join([*lines, "", *_sentences(figures)])


def markdown(figures: Figures) -> str:
    """For the README."""
    lines = ["| | CPU us per event | events/s | ratio |", "| --- | ---: | ---: | ---: |"]
    lines += [
        f"| {result.title} | {result.cpu_us_per_event:.2f} | {result.events_per_s:,.0f} | {result.ratio:.2f} |"
        for result in figures.results
    ]
    return "\n".join([*lines, "", METHOD, *_sentences(figures), "", f"{figures.date}, {figures.machine}.", ""])


def _sentences(figures: Figures) -> list[str]:
    sentences = []
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
