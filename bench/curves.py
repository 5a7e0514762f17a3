"""What an event costs against partitions, handlers, keys and the record's size: `make bench ARGS=--curves`."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import cycle
from statistics import median

from aiokafka import AIOKafkaProducer

from bench.compare import Row, run
from bench.event import event_type
from bench.load import PARTITIONS, make_topic

MODULE = "bench.rows.curve"
SIZE = 200  # bytes of JSON, where that is not what is looked at
MANY, MOST = 400_000, 1_000_000  # events
MOST_BYTES = 400_000_000
BATCH_BYTES = 100_000


@dataclass(frozen=True, slots=True)
class Point:
    """One place on the horizontal axis: how the topic is filled, and what each line's row is told."""

    x: int
    events: int = MANY
    partitions: int = PARTITIONS
    handlers: int = 1
    keys: int = 1_000
    size: int = SIZE


@dataclass(frozen=True, slots=True)
class Line:
    title: str
    who: str
    concurrency: int = 1


@dataclass(frozen=True, slots=True)
class Curve:
    name: str
    title: str
    axis: str
    points: tuple[Point, ...]
    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True)
class Measured:
    """A curve's figures: for each line's title the CPU microseconds per event, point by point."""

    name: str
    title: str
    axis: str
    xs: Sequence[int]
    lines: dict[str, list[float]]


@dataclass(frozen=True, slots=True)
class CurveFigures:
    date: str
    machine: str
    curves: Sequence[Measured]


HAND, ONE, MANY_IN_FLIGHT = (
    Line("by hand", "hand"),
    Line("EVKafka", "evkafka"),
    Line("EVKafka, 64 in flight", "evkafka", 64),
)
CURVES = (
    Curve(
        "partitions",
        "Partitions",
        "partitions of the topic, all read by one process",
        tuple(Point(number, partitions=number) for number in (1, 4, 16, 64, 200, 500)),
        (HAND, ONE),
    ),
    Curve(
        "handlers",
        "Handlers",
        "handlers, each with a type and a model of its own, in turn",
        tuple(Point(number, handlers=number) for number in (1, 10, 100, 1_000)),
        (HAND, ONE),
    ),
    Curve(
        "keys",
        "Keys",
        "keys, in turn; order is kept by key",
        tuple(Point(number, events=MOST, keys=number) for number in (1, 10, 100, 1_000, 10_000, 100_000, 1_000_000)),
        (ONE, MANY_IN_FLIGHT),
    ),
    Curve(
        "size",
        "Size of a record",
        "bytes of JSON",
        tuple(
            Point(size, events=min(MANY, MOST_BYTES // size), size=size)
            for size in (100, 300, 1_000, 3_000, 10_000, 30_000, 100_000, 300_000, 1_000_000)
        ),
        (HAND, ONE),
    ),
)


def measure_all(servers: str, *, runs: int, date: str, machine: str, progress: Callable[[str], None]) -> CurveFigures:
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # new topics have no leaders for a moment
    return CurveFigures(date, machine, [_measure(curve, servers, runs, progress) for curve in CURVES])


def _measure(curve: Curve, servers: str, runs: int, progress: Callable[[str], None]) -> Measured:
    lines: dict[str, list[float]] = {line.title: [] for line in curve.lines}
    for point in curve.points:
        topic = f"{curve.name}-{point.x}"
        asyncio.run(_fill(servers, topic, point))
        found: dict[str, list[float]] = {line.title: [] for line in curve.lines}
        for _ in range(runs):  # in turn, so that a slow minute hits every line
            for line in curve.lines:
                row = Row(line.title, MODULE, point.events, (line.who, str(point.handlers), str(line.concurrency)))
                found[line.title].append(run(row, servers, topic).cpu_us_per_event)
        for title, figures in found.items():
            lines[title].append(median(figures))
        progress(f"{curve.name}, {point.x:,}: " + ", ".join(f"{title} {lines[title][-1]:.2f} us" for title in lines))
    return Measured(curve.name, curve.title, curve.axis, [point.x for point in curve.points], lines)


async def _fill(servers: str, topic: str, point: Point) -> None:
    """Evenly over partitions, types and keys; each key in one partition."""
    await make_topic(servers, topic, point.partitions)
    values, headers = _value(point.size), [[("Event-Type", event_type(n).encode())] for n in range(point.handlers)]
    kinds, left = cycle(headers), point.events
    per_batch = max(1, min(400, BATCH_BYTES // point.size))
    keys = [
        cycle(range(partition, max(point.keys, partition + 1), point.partitions))
        for partition in range(point.partitions)
    ]
    async with AIOKafkaProducer(bootstrap_servers=servers, max_batch_size=2_000_000, max_request_size=4_000_000) as to:
        for partition in cycle(range(point.partitions)):
            if left <= 0:
                break
            batch, now_ms = to.create_batch(), int(time.time() * 1000)
            for key, kind in zip(_some(keys[partition], min(per_batch, left)), kinds, strict=False):
                batch.append(key=f"customer-{key}".encode(), value=values, timestamp=now_ms, headers=kind)
            left -= batch.record_count()
            batch.close()
            await to.send_batch(batch, topic, partition=partition)
        await to.flush()


def _some(keys: Iterable[int], most: int) -> Iterable[int]:
    return (key for key, _ in zip(keys, range(most), strict=False))


def _value(size: int) -> bytes:
    order = {"order_id": "7c9e6679", "customer": 7, "total": 11.5, "paid": True, "text": ""}
    bare = len(json.dumps(order))
    return json.dumps(order | {"text": "x" * max(0, size - bare)}).encode()


def markdown(figures: CurveFigures) -> str:
    """A table for each curve."""
    parts = []
    for curve in figures.curves:
        titles = list(curve.lines)
        parts += [f"| {curve.axis} | " + " | ".join(f"{title}, us" for title in titles) + " |"]
        parts += ["| ---: |" + " ---: |" * len(titles)]
        parts += [
            f"| {x:,} | " + " | ".join(f"{curve.lines[title][number]:,.2f}" for title in titles) + " |"
            for number, x in enumerate(curve.xs)
        ]
        parts += [""]
    return "\n".join([*parts, f"{figures.date}, {figures.machine}.", ""])
