"""A rolling restart of a group under steady load, with each group protocol: `make bench ARGS=--rebalance`.

Each of the members is stopped cleanly and started again, in turn. Every handler notes when it began with which record,
so that a gap shows how long a partition stood still.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import time
import uuid
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import count, pairwise
from statistics import median
from typing import Any

from aiokafka import AIOKafkaProducer

from bench.event import HEADERS, VALUE
from bench.progress import print_progress
from bench.report import machine, today
from bench.topics import create_topic

MEMBERS, PARTITIONS, IN_FLIGHT = 4, 24, 16
HANDLER_S = 0.05
INTERVAL_S = 0.1
"""Time between two records of one partition."""
RESTART_EVERY_S = 15.0
START_S = STOP_S = 60.0
"""How long a process may take to handle its first record, and to stop."""
BEFORE_S = 5.0
SHOWN_S = 0.25

SLOW_PARTITION = 0
SLOW_S = 5.0
"""What a record of the slow partition takes, in the rows that have one. It is in no figure itself."""


@dataclass(frozen=True, slots=True)
class Member:
    """What the processes of a row run: a module, the group's protocol, seconds that a record of partition 0 takes."""

    title: str
    module: str
    protocol: str = "classic"
    slow_s: float = HANDLER_S


EVKAFKA = "bench.rows.rebalance_evkafka"
ROWS = (
    Member("EVKafka, classic protocol", EVKAFKA),
    Member("EVKafka, consumer protocol", EVKAFKA, "consumer"),
    Member("FastStream", "bench.rows.rebalance_faststream"),
    Member("EVKafka, classic protocol, slow records", EVKAFKA, "classic", SLOW_S),
    Member("EVKafka, consumer protocol, slow records", EVKAFKA, "consumer", SLOW_S),
)
METHOD = (
    f"{MEMBERS} processes, {PARTITIONS} partitions, one record per partition every {INTERVAL_S * 1000:g} ms, handlers "
    f"that wait {HANDLER_S * 1000:g} ms. Each process is stopped with SIGTERM and started again, one every "
    f"{RESTART_EVERY_S:g} s; each time each of the {PARTITIONS} partitions either stays with its process or moves. A "
    f"standstill is the time between two records of a partition, less {INTERVAL_S * 1000:g} ms; those above "
    f"{SHOWN_S * 1000:g} ms are added up. Steady after is the median time from the signal to the last change. With "
    f"slow records, those of one partition take {SLOW_S:g} s each; the other {PARTITIONS - 1} are measured. Kafka 4.2 "
    "with its default settings, on the same machine."
)


@dataclass(frozen=True, slots=True)
class Handled:
    """One call of a handler; `member` is the number of its process."""

    at_s: float
    member: int
    partition: int
    offset: int


@dataclass(frozen=True, slots=True)
class Restart:
    """One restart.

    Attributes:
        stayed, moved: the longest standstill of each partition that one process had all the time, and of each other.
        steady_s: from the signal to the first record that the last partition's new owner handled.
    """

    stayed: Sequence[float]
    moved: Sequence[float]
    steady_s: float


@dataclass(frozen=True, slots=True)
class RollingRestart:
    """One row: the restarts of all members.

    Attributes:
        signals_s: when each process was told to stop, in seconds since a moment before the first signal.
        pauses: (partition, from, to) of every standstill above `SHOWN_S`, on the same clock. The chart shows them.
    """

    title: str
    restarts: Sequence[Restart]
    records: int
    twice: int
    signals_s: Sequence[float]
    pauses: Sequence[tuple[int, float, float]]


@dataclass(frozen=True, slots=True)
class RebalanceFigures:
    date: str
    machine: str
    rows: Sequence[RollingRestart]


def measure_all(servers: str, *, only: str | None = None) -> RebalanceFigures:
    rows = [asyncio.run(_measure(servers, row)) for row in ROWS if only is None or only in row.title]
    return RebalanceFigures(today(), machine(), rows)


# ---------------------------------------------------------------------------- the run


async def _measure(servers: str, row: Member) -> RollingRestart:
    print_progress(f"{row.title}: {MEMBERS} restarts, {(MEMBERS + 1) * RESTART_EVERY_S:g} s")
    topic = group = f"rebalance-{uuid.uuid4().hex[:8]}"
    await create_topic(servers, topic, PARTITIONS)
    command = [sys.executable, "-m", row.module, servers, topic, "0", group, row.protocol, str(row.slow_s)]
    ended: list[list[Any]] = []
    async with _steady_load(servers, topic):
        running = await asyncio.gather(*(_start(command) for _ in range(MEMBERS)))
        await asyncio.sleep(RESTART_EVERY_S)
        signals_s = []
        for number in range(MEMBERS):
            signals_s.append(time.monotonic())
            ended.append(await _stop(running[number]))
            running[number] = await _start(command)
            await asyncio.sleep(signals_s[-1] + RESTART_EVERY_S - time.monotonic())
        end_s = time.monotonic()
        ended += await asyncio.gather(*map(_stop, running))
    handled = sorted(
        (
            Handled(at_s, member, partition, offset)
            for member, rows in enumerate(ended)
            for at_s, partition, offset in rows
        ),
        key=lambda one: one.at_s,
    )
    measured = [
        one for one in handled if one.at_s < end_s and (row.slow_s != SLOW_S or one.partition != SLOW_PARTITION)
    ]
    return _summarize_row(row.title, measured, signals_s, end_s)


@asynccontextmanager
async def _steady_load(servers: str, topic: str) -> Any:
    async with AIOKafkaProducer(bootstrap_servers=servers) as producer:

        async def send() -> None:
            begin_s = time.monotonic()
            for number in count():
                await producer.send(topic, VALUE, partition=number % PARTITIONS, headers=HEADERS)
                due_s = begin_s + (number + 1) * INTERVAL_S / PARTITIONS
                await asyncio.sleep(max(0.0, due_s - time.monotonic()))

        sending = asyncio.create_task(send())
        try:
            yield
        finally:
            sending.cancel()
            await asyncio.wait([sending])


async def _start(command: Sequence[str]) -> asyncio.subprocess.Process:
    """Start a member. Returns when it has handled its first record."""
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
    )
    assert process.stdout is not None
    async with asyncio.timeout(START_S):
        await process.stdout.readline()
    return process


async def _stop(process: asyncio.subprocess.Process) -> list[Any]:
    """Stop it cleanly. Returns what it has handled."""
    process.send_signal(signal.SIGTERM)
    async with asyncio.timeout(STOP_S):
        printed, _ = await process.communicate()
    rows: list[Any] = json.loads(printed)["handled"]
    return rows


# ---------------------------------------------------------------------------- the figures


def _summarize_row(title: str, handled: Sequence[Handled], signals_s: Sequence[float], end_s: float) -> RollingRestart:
    by_partition: defaultdict[int, list[Handled]] = defaultdict(list)
    for one in handled:
        by_partition[one.partition].append(one)
    windows = pairwise([*signals_s, end_s])
    restarts = [_summarize_restart(by_partition, begin_s, until_s) for begin_s, until_s in windows]
    records = len({(one.partition, one.offset) for one in handled})
    zero_s = signals_s[0] - BEFORE_S
    pauses = [
        (partition, round(before.at_s + INTERVAL_S - zero_s, 2), round(after.at_s - zero_s, 2))
        for partition, calls in sorted(by_partition.items())
        for before, after in pairwise(one for one in calls if one.at_s >= zero_s)
        if after.at_s - before.at_s - INTERVAL_S > SHOWN_S
    ]
    signals = [round(at_s - zero_s, 2) for at_s in signals_s]
    return RollingRestart(title, restarts, records, len(handled) - records, signals, pauses)


def _summarize_restart(by_partition: Mapping[int, Sequence[Handled]], begin_s: float, until_s: float) -> Restart:
    stayed, moved, steady_s = [], [], 0.0
    for calls in by_partition.values():
        window = list(_calls_within(calls, begin_s, until_s))
        standstill_s = max((after.at_s - before.at_s for before, after in pairwise(window)), default=until_s - begin_s)
        kept = len({one.member for one in window}) == 1
        (stayed if kept else moved).append(max(standstill_s - INTERVAL_S, 0.0))
        changes = [after.at_s for before, after in pairwise(window) if before.member != after.member]
        steady_s = max([steady_s, *(at_s - begin_s for at_s in changes)])
    return Restart(stayed, moved, steady_s)


def _calls_within(calls: Sequence[Handled], begin_s: float, until_s: float) -> Iterator[Handled]:
    """The calls of this time, and the last one before it."""
    before = [one for one in calls if one.at_s < begin_s]
    yield from before[-1:]
    yield from (one for one in calls if begin_s <= one.at_s < until_s)


def markdown(figures: RebalanceFigures) -> str:
    lines = [
        "| | stayed | their longest standstill | of those that moved | added up | steady after | handled twice |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for row in figures.rows:
        stayed = [one for restart in row.restarts for one in restart.stayed]
        moved = [one for restart in row.restarts for one in restart.moved]
        lines.append(
            f"| {row.title} | {len(stayed)} of {len(stayed) + len(moved)}"
            f" | {_format_seconds(stayed)} | {_format_seconds(moved)} |"
            f" {sum(to_s - from_s for _, from_s, to_s in row.pauses):.0f} s |"
            f" {median(one.steady_s for one in row.restarts):.1f} s | {row.twice:,} of {row.records:,} |"
        )
    return "\n".join([*lines, "", METHOD, "", f"{figures.date}, {figures.machine}.", ""])


def _format_seconds(standstills: Sequence[float]) -> str:
    return f"{max(standstills):.2f} s" if standstills else "-"
