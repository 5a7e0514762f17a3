"""Many records in flight, batches, and the memory of a blocked handler: `make bench ARGS=--lanes`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from aiokafka import AIOKafkaProducer

from bench.compare import Row, Run, run, run_module
from bench.event import HEADERS, VALUE
from bench.progress import print_progress
from bench.report import machine, today
from bench.topics import PARTITIONS, RECORDS_PER_BATCH, create_topic

KEYS = 1000
LAG = 1_000_000
METHOD = (
    f"{PARTITIONS} partitions, {KEYS:,} keys, order kept by key, 174 bytes of JSON into a pydantic model, Kafka on the "
    "same machine; medians of pairs of runs, one after the other. By hand: as many asyncio tasks as there are records "
    "in flight, which do nothing but the same sleep, without Kafka and JSON. The handler's 10 ms are "
    "`asyncio.sleep(0.01)`."
)

WAITING = tuple(
    (
        Row(f"{workers} tasks, hand-written", "bench.rows.lanes_asyncio", events, (str(workers),)),
        Row(f"EVKafka, {workers} in flight", "bench.rows.lanes_evkafka", events, (str(workers), "wait")),
    )
    for workers, events in ((64, 30_000), (500, 150_000), (2_000, 300_000))
)
NOTHING = (
    Row("one after the other", "bench.rows.lanes_evkafka", 300_000, ("1", "nothing")),
    Row("64 in flight", "bench.rows.lanes_evkafka", 300_000, ("64", "nothing")),
)
BATCHES = (
    Row("FastStream, batches", "bench.rows.faststream_batch", 200_000),
    Row("EVKafka, batches", "bench.rows.lanes_evkafka", 500_000, ("1", "batch")),
)


@dataclass(frozen=True, slots=True)
class Pair:
    """Two rows, measured in turn.

    Attributes:
        ratio: the second's events per second over the first's; if CPU time is compared, the first's CPU time over the
            second's.
    """

    first: str
    second: str
    first_per_s: float
    second_per_s: float
    first_cpu_us: float
    second_cpu_us: float
    ratio: float
    ratios: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Blocked:
    """Resident MiB of a consumer with this lag whose handler never returns."""

    lag: int
    pending: int
    start_mib: float
    settled_mib: float
    most_mib: float


@dataclass(frozen=True, slots=True)
class LaneFigures:
    date: str
    machine: str
    waiting: Sequence[Pair]
    nothing: Pair
    batches: Pair
    blocked: Blocked


def measure_all(servers: str, *, runs: int) -> LaneFigures:
    print_progress(f"Filling a topic with {LAG:,} events of {KEYS:,} keys")
    asyncio.run(fill_keys(servers, "lanes", LAG))
    return LaneFigures(
        today(),
        machine(),
        [_pair(servers, first, second, runs, by_wall=True) for first, second in WAITING],
        _pair(servers, *NOTHING, runs, by_wall=False),
        _pair(servers, *BATCHES, runs, by_wall=False),
        _blocked(servers),
    )


def _pair(servers: str, first: Row, second: Row, runs: int, *, by_wall: bool) -> Pair:
    found: list[tuple[Run, Run]] = []
    for number in range(1, runs + 1):
        found.append((run(first, servers, "lanes"), run(second, servers, "lanes")))
        one, other = found[-1]
        print_progress(
            f"{second.title}, pair {number} of {runs}: {one.events_per_s:,.0f}/s and {other.events_per_s:,.0f}/s, "
            f"{one.cpu_us_per_event:.2f} us and {other.cpu_us_per_event:.2f} us"
        )
    ratios = tuple(
        other.events_per_s / one.events_per_s if by_wall else one.cpu_us_per_event / other.cpu_us_per_event
        for one, other in found
    )
    return Pair(
        first.title,
        second.title,
        median(one.events_per_s for one, _ in found),
        median(other.events_per_s for _, other in found),
        median(one.cpu_us_per_event for one, _ in found),
        median(other.cpu_us_per_event for _, other in found),
        median(ratios),
        ratios,
    )


def _blocked(servers: str) -> Blocked:
    measured = run_module(["bench.rows.lanes_blocked", servers, "lanes", str(LAG)])
    resident_mib: list[float] = measured["resident_mib"]
    return Blocked(LAG, measured["pending"], resident_mib[0], resident_mib[-1], max(resident_mib))


async def fill_keys(servers: str, topic: str, events: int) -> None:
    """Write events with the keys in turn; each partition has its own keys."""
    await create_topic(servers, topic)
    async with AIOKafkaProducer(bootstrap_servers=servers, max_batch_size=1_000_000) as producer:
        for number in range(events // RECORDS_PER_BATCH):
            partition, now_ms = number % PARTITIONS, int(time.time() * 1000)
            batch = producer.create_batch()
            for position in range(RECORDS_PER_BATCH):
                turn = (number // PARTITIONS * RECORDS_PER_BATCH + position) % (KEYS // PARTITIONS)
                key = turn * PARTITIONS + partition
                batch.append(key=f"customer-{key}".encode(), value=VALUE, timestamp=now_ms, headers=HEADERS)
            batch.close()
            await producer.send_batch(batch, topic, partition=partition)
        await producer.flush()


def markdown(figures: LaneFigures) -> str:
    lines = ["| 10 ms handlers | events/s hand-written | EVKafka | ratio |", "| --- | ---: | ---: | ---: |"]
    for pair in figures.waiting:
        title = pair.second.removeprefix("EVKafka, ")
        lines.append(f"| {title} | {pair.first_per_s:,.0f} | {pair.second_per_s:,.0f} | {pair.ratio:.2f} |")
    lines += ["", "| a handler that does nothing | CPU us per event | events/s |", "| --- | ---: | ---: |"]
    for pair in (figures.nothing, figures.batches):
        lines.append(f"| {pair.first} | {pair.first_cpu_us:.2f} | {pair.first_per_s:,.0f} |")
        lines.append(f"| {pair.second} | {pair.second_cpu_us:.2f} | {pair.second_per_s:,.0f} |")
    return "\n".join(
        [*lines, "", _blocked_sentence(figures.blocked), "", METHOD, "", f"{figures.date}, {figures.machine}.", ""]
    )


def _blocked_sentence(blocked: Blocked) -> str:
    return (
        f"A blocked handler and {blocked.lag:,} records of lag: {blocked.pending:,} records read; "
        f"{blocked.start_mib:.0f} MiB before the start, {blocked.settled_mib:.0f} MiB in the end, "
        f"{blocked.most_mib:.0f} MiB at most."
    )
