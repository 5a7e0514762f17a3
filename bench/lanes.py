"""Many records in flight, batches, and what a blocked handler costs: `make bench ARGS=--lanes`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

from aiokafka import AIOKafkaProducer

from bench.compare import Row, Run, measure, run
from bench.event import HEADERS, VALUE
from bench.load import PARTITIONS, RECORDS_PER_BATCH, make_topic

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
        Row(f"{workers} tasks by hand", "bench.rows.lanes_by_hand", events, (str(workers),)),
        Row(f"EVKafka, {workers} in flight", "bench.rows.lanes_evkafka", events, (str(workers), "wait")),
    )
    for workers, events in ((64, 30_000), (500, 150_000))
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
    """Two rows, measured in turn. `ratio`: the second's events per second over the first's, or CPU time the other way
    round where that is what is compared."""

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
    """Resident size, in MiB, of a consumer with this much lag whose handler never returns."""

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


def measure_all(servers: str, *, runs: int, date: str, machine: str, progress: Callable[[str], None]) -> LaneFigures:
    progress(f"Filling a topic with {LAG:,} events of {KEYS:,} keys")
    asyncio.run(_fill(servers, "lanes"))
    return LaneFigures(
        date,
        machine,
        [_pair(servers, first, second, runs, progress, by_wall=True) for first, second in WAITING],
        _pair(servers, *NOTHING, runs, progress, by_wall=False),
        _pair(servers, *BATCHES, runs, progress, by_wall=False),
        _blocked(servers),
    )


def _pair(servers: str, first: Row, second: Row, runs: int, progress: Callable[[str], None], *, by_wall: bool) -> Pair:
    found: list[tuple[Run, Run]] = []
    for number in range(1, runs + 1):
        found.append((run(first, servers, "lanes"), run(second, servers, "lanes")))
        one, other = found[-1]
        progress(
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
    measured = measure(["bench.rows.lanes_blocked", servers, "lanes", str(LAG)])
    seen: list[float] = measured["resident_mib"]
    return Blocked(LAG, measured["pending"], seen[0], seen[-1], max(seen))


async def _fill(servers: str, topic: str) -> None:
    """Keys in turn; each partition has its own."""
    await make_topic(servers, topic)
    async with AIOKafkaProducer(bootstrap_servers=servers, max_batch_size=1_000_000) as producer:
        for number in range(LAG // RECORDS_PER_BATCH):
            partition, now_ms = number % PARTITIONS, int(time.time() * 1000)
            batch = producer.create_batch()
            for position in range(RECORDS_PER_BATCH):
                key = (number // PARTITIONS * RECORDS_PER_BATCH + position) % (
                    KEYS // PARTITIONS
                ) * PARTITIONS + partition
                batch.append(key=f"customer-{key}".encode(), value=VALUE, timestamp=now_ms, headers=HEADERS)
            batch.close()
            await producer.send_batch(batch, topic, partition=partition)
        await producer.flush()


def markdown(figures: LaneFigures) -> str:
    lines = ["| 10 ms handlers | events/s by hand | EVKafka | ratio |", "| --- | ---: | ---: | ---: |"]
    for pair in figures.waiting:
        title = pair.second.removeprefix("EVKafka, ")
        lines.append(f"| {title} | {pair.first_per_s:,.0f} | {pair.second_per_s:,.0f} | {pair.ratio:.2f} |")
    lines += ["", "| a handler that does nothing | CPU us per event | events/s |", "| --- | ---: | ---: |"]
    for pair in (figures.nothing, figures.batches):
        lines.append(f"| {pair.first} | {pair.first_cpu_us:.2f} | {pair.first_per_s:,.0f} |")
        lines.append(f"| {pair.second} | {pair.second_cpu_us:.2f} | {pair.second_per_s:,.0f} |")
    return "\n".join(
        [*lines, "", _sentence(figures.blocked), "", METHOD, "", f"{figures.date}, {figures.machine}.", ""]
    )


def _sentence(blocked: Blocked) -> str:
    return (
        f"A blocked handler and {blocked.lag:,} records of lag: {blocked.pending:,} records read; "
        f"{blocked.start_mib:.0f} MiB before the start, {blocked.settled_mib:.0f} MiB in the end, "
        f"{blocked.most_mib:.0f} MiB at most."
    )
