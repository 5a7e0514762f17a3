"""CPU time per event by partitions, handlers, keys, size, records in flight, and the share of unmatched records:
`make bench ARGS=--curves`.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from statistics import median

from aiokafka import AIOKafkaProducer

from bench.compare import Row, run
from bench.event import event_type
from bench.progress import print_progress
from bench.report import machine, today
from bench.topics import PARTITIONS, create_topic

MODULE = "bench.rows.curve"
SIZE = 200  # bytes of JSON, except in the curve of sizes
EVENTS, EVENTS_FOR_KEYS = 400_000, 1_000_000
MAX_TOPIC_BYTES = 400_000_000
BATCH_BYTES = 100_000


@dataclass(frozen=True, slots=True)
class Point:
    """One place on the horizontal axis: how the topic is filled, and the arguments of the rows."""

    x: int
    events: int = EVENTS
    partitions: int = PARTITIONS
    handlers: int = 1
    keys: int = 1_000
    size: int = SIZE
    concurrency: int = 1
    unmatched_percent: int = 0

    @property
    def matched(self) -> int:
        """How many of the events have an endpoint."""
        return self.events * (100 - self.unmatched_percent) // 100


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a curve.

    Attributes:
        concurrency: None: that of the point.
        extras: the extras of EVKafka that it runs with.
    """

    title: str
    library: str
    concurrency: int | None = None
    extras: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Curve:
    name: str
    title: str
    axis: str
    points: tuple[Point, ...]
    lines: tuple[Line, ...]
    in_tens: bool = True


@dataclass(frozen=True, slots=True)
class Measured:
    """A curve's figures: by line title, the CPU microseconds per event at each point."""

    name: str
    title: str
    axis: str
    xs: Sequence[int]
    lines: dict[str, list[float]]
    in_tens: bool = True


@dataclass(frozen=True, slots=True)
class CurveFigures:
    date: str
    machine: str
    curves: Sequence[Measured]


AIOKAFKA, EVKAFKA, EVKAFKA_64, EVKAFKA_SPEED = (
    Line("hand-written", "aiokafka"),
    Line("EVKafka", "evkafka"),
    Line("EVKafka, 64 in flight", "evkafka", 64),
    Line("EVKafka, extra `speed`", "evkafka", extras=("speed",)),
)
CURVES = (
    Curve(
        "partitions",
        "Partitions",
        "partitions of the topic, all read by one process",
        tuple(Point(number, partitions=number) for number in (1, 4, 16, 64, 200, 500)),
        (AIOKAFKA, EVKAFKA),
    ),
    Curve(
        "handlers",
        "Handlers",
        "handlers, each with its own type and model, in turn",
        tuple(Point(number, handlers=number) for number in (1, 10, 100, 1_000)),
        (AIOKAFKA, EVKAFKA),
    ),
    Curve(
        "keys",
        "Keys",
        "keys, in turn; order is kept by key",
        tuple(
            Point(number, events=EVENTS_FOR_KEYS, keys=number)
            for number in (1, 10, 100, 1_000, 10_000, 100_000, 1_000_000)
        ),
        (EVKAFKA, EVKAFKA_64),
    ),
    Curve(
        "size",
        "Size of a record",
        "bytes of JSON",
        tuple(
            Point(size, events=min(EVENTS, MAX_TOPIC_BYTES // size), size=size)
            for size in (100, 300, 1_000, 3_000, 10_000, 30_000, 100_000, 300_000, 1_000_000)
        ),
        (AIOKAFKA, EVKAFKA, EVKAFKA_SPEED),
    ),
    Curve(
        "in-flight",
        "Records in flight",
        "records in flight (concurrency), of 1,000 keys; the endpoint does nothing",
        tuple(Point(number, concurrency=number) for number in (1, 2, 8, 64, 500, 2_000)),
        (EVKAFKA,),
    ),
    Curve(
        "unmatched",
        "Records without an endpoint",
        "per cent of the records that have no endpoint; microseconds per record",
        tuple(Point(percent, unmatched_percent=percent) for percent in (0, 25, 50, 75, 90, 95, 99)),
        (AIOKAFKA, EVKAFKA),
        in_tens=False,
    ),
)


def measure_all(servers: str, curves: Sequence[Curve] = CURVES, *, runs: int) -> CurveFigures:
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # a new topic has no leader at first
    return CurveFigures(today(), machine(), [_measure(curve, servers, runs) for curve in curves])


def _measure(curve: Curve, servers: str, runs: int) -> Measured:
    lines: dict[str, list[float]] = {line.title: [] for line in curve.lines}
    for point in curve.points:
        topic = f"{curve.name}-{point.x}"
        asyncio.run(_fill_topic(servers, topic, point))
        found: dict[str, list[float]] = {line.title: [] for line in curve.lines}
        for _ in range(runs):  # in turn, so that a slow minute affects every line
            for line in curve.lines:
                concurrency = line.concurrency or point.concurrency
                options = (line.library, str(point.handlers), str(concurrency), *line.extras)
                row = Row(line.title, MODULE, point.matched, options)
                cpu_us = run(row, servers, topic).cpu_us_per_event
                found[line.title].append(cpu_us * point.matched / point.events)
        for title, figures in found.items():
            lines[title].append(median(figures))
        print_progress(
            f"{curve.name}, {point.x:,}: " + ", ".join(f"{title} {lines[title][-1]:.2f} us" for title in lines)
        )
    return Measured(curve.name, curve.title, curve.axis, [point.x for point in curve.points], lines, curve.in_tens)


async def _fill_topic(servers: str, topic: str, point: Point) -> None:
    """Write events evenly over partitions, types and keys; each key in one partition."""
    await create_topic(servers, topic, point.partitions)
    value = _payload_of_size(point.size)
    headers = cycle(_cycle_of_headers(point))
    left = point.events
    per_batch = max(1, min(400, BATCH_BYTES // point.size))
    keys = [
        cycle(range(partition, max(point.keys, partition + 1), point.partitions))
        for partition in range(point.partitions)
    ]
    async with AIOKafkaProducer(
        bootstrap_servers=servers, max_batch_size=2_000_000, max_request_size=4_000_000
    ) as producer:
        for partition in cycle(range(point.partitions)):
            if left <= 0:
                break
            batch, now_ms = producer.create_batch(), int(time.time() * 1000)
            for key, event_headers in zip(islice(keys[partition], min(per_batch, left)), headers, strict=False):
                batch.append(key=f"customer-{key}".encode(), value=value, timestamp=now_ms, headers=event_headers)
            left -= batch.record_count()
            batch.close()
            await producer.send_batch(batch, topic, partition=partition)
        await producer.flush()


def _cycle_of_headers(point: Point) -> list[list[tuple[str, bytes]]]:
    """The records' headers, in turn: the share without an endpoint has a type of its own, evenly among the others."""
    if not point.unmatched_percent:
        return [[("Event-Type", event_type(number).encode())] for number in range(point.handlers)]
    matched = 100 - point.unmatched_percent
    return [
        [("Event-Type", event_type(0).encode() if number * matched % 100 < matched else b"ForOthers")]
        for number in range(100)
    ]


def _payload_of_size(size: int) -> bytes:
    order = {"order_id": "7c9e6679", "customer": 7, "total": 11.5, "paid": True, "text": ""}
    bare = len(json.dumps(order))
    return json.dumps(order | {"text": "x" * max(0, size - bare)}).encode()


def markdown(figures: CurveFigures) -> str:
    """Return a table for each curve."""
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
