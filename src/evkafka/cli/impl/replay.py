"""`evkafka replay`: a piece of a topic's history, through one consumer's handler, in this process."""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from evkafka.cli.connection import FoundCluster, quiet, reads
from evkafka.cli.impl.dlq_handler import standing
from evkafka.cli.impl.tail import event_type_of
from evkafka.cli.output import plain, print_json
from evkafka.cli.position import Position, bounds_of_topic, offsets_of
from evkafka.dlq.dry_run import predict_outcome
from evkafka.exceptions import ConfigError
from evkafka.kafka.admin.log_reader import follow
from evkafka.records import Record
from evkafka.runtime.failure_cause import Fatal, failure_message, reported_exception
from evkafka.runtime.ports import Slot, UnreadRecord
from evkafka.service.plan import DeclaredConsumer
from evkafka.service.service import ConsumerPlan
from evkafka.service.single_attempt import Attempt, Delivery, delivery_of, works

SHOWN = 20
"""Of so many failures the reasons are told."""


@dataclass(frozen=True, slots=True)
class Piece:
    """What is replayed.

    Attributes:
        start, end: places; the end is excluded, None for the topic's end as it is now.
        limit: most records; None for all.
        rate: most records per second.
    """

    topic: str
    start: Position
    end: Position | None = None
    partition: int | None = None
    event_types: tuple[str, ...] = ()
    limit: int | None = None
    rate: float | None = None


@dataclass(slots=True)
class Report:
    """What became of the records.

    Attributes:
        outcomes: outcome -> how many; in a dry run `would run` stands for those that can be decoded.
        failures: the first of them, with address and reason.
    """

    read: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    failed: int = 0
    failures: list[tuple[str, str]] = field(default_factory=list)

    def note(self, record: Record, outcome: str, why: str | None) -> None:
        self.read += 1
        self.outcomes[outcome] += 1
        if why is not None:
            self.failed += 1
            if len(self.failures) < SHOWN:
                self.failures.append((f"{record.topic}[{record.partition}]@{record.offset}", why))


Judge = Callable[[Record], Awaitable[tuple[str, str | None]]]
"""What becomes of a record: its outcome, and why it has failed."""


def replay(found: FoundCluster, piece: Piece, *, dry_run: bool, fail_fast: bool, as_json: bool) -> int:
    """Do it, and say what became of each; 1 where one has failed, or would.

    Raises:
        ConfigError: it cannot be told which consumer is meant, or there is no such topic.
        StartFailed, BrokerError: the app could not start, or the topic not be read.
    """
    quiet()
    signal.signal(signal.SIGTERM, lambda signum, frame: signal.raise_signal(signal.SIGINT))
    signal.signal(signal.SIGINT, signal.default_int_handler)
    report = Report()
    try:
        asyncio.run(_replay(found, piece, report, dry_run=dry_run, fail_fast=fail_fast))
    except KeyboardInterrupt:
        print("broken off; what was handled so far:", file=sys.stderr)
        _say(report, dry_run=dry_run, as_json=as_json)
        return 130
    _say(report, dry_run=dry_run, as_json=as_json)
    return 1 if report.failed else 0


def chosen(found: FoundCluster, topic: str) -> DeclaredConsumer:
    """The consumer whose handler is meant.

    Raises:
        ConfigError: none of the app's reads the topic, or several do.
    """
    assert found.app is not None
    if found.consumer is not None:
        return found.consumer
    readers = [one.name for one in found.app.consumers.values() if reads(one, topic)]
    if not readers:
        raise ConfigError(f"--topic {topic}: no consumer of this app reads it; name one with --consumer to force it")
    raise ConfigError(f"{', '.join(map(repr, readers))} read {topic!r}: say with --consumer whose handler is meant")


async def _replay(found: FoundCluster, piece: Piece, report: Report, *, dry_run: bool, fail_fast: bool) -> None:
    declared = chosen(found, piece.topic)
    bounds = await bounds_of_topic(found.connection, piece.topic, piece.partition)
    starts = await offsets_of(found.connection, piece.start, bounds)
    ends = await offsets_of(found.connection, piece.end or Position(word="latest"), bounds)
    total = min(sum(max(ends[at] - starts[at], 0) for at in bounds), piece.limit or sys.maxsize)
    records = follow(
        found.connection,
        piece.topic,
        {at.partition: offset for at, offset in starts.items()},
        {at.partition: max(ends[at], starts[at]) for at in bounds},
    )
    async with _judging(found, declared, dry_run=dry_run) as judge:
        screen = Console(stderr=True)
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=screen, disable=not screen.is_terminal, transient=True) as bar:
            task = bar.add_task("decoding" if dry_run else "replaying", total=total)
            async with aclosing(records), aclosing(_wanted(records, piece, found.type_header)) as wanted:
                async for record in wanted:
                    unread = isinstance(record, UnreadRecord)
                    outcome, why = ("unreadable", str(record)) if unread else await judge(record)
                    report.note(record, outcome, why)
                    bar.update(task, completed=report.read)
                    if (why is not None and fail_fast) or report.read == piece.limit:
                        return


async def _wanted(batches: AsyncIterator[Sequence[Record]], piece: Piece, header: str) -> AsyncGenerator[Record]:
    each_s, next_s = 1 / piece.rate if piece.rate else 0.0, time.monotonic()
    async for batch in batches:
        for record in batch:
            unread = isinstance(record, UnreadRecord)  # nobody knows its type
            if piece.event_types and not unread and event_type_of(record, header) not in piece.event_types:
                continue
            if each_s:
                await asyncio.sleep(max(0.0, next_s - time.monotonic()))
                next_s = max(next_s + each_s, time.monotonic())
            yield record


# ---------------------------------------------------------------------------- one record


@asynccontextmanager
async def _judging(found: FoundCluster, declared: DeclaredConsumer, *, dry_run: bool) -> AsyncIterator[Judge]:
    """Inside, records are decoded (dry run), or handled by the app, which has been started without its consumers."""
    if dry_run:
        yield _decoding(declared, found.type_header)
        return
    assert found.app is not None
    async with standing(found.app, declared) as (plan, state, threads):
        yield _handling(plan, state, threads)


def _decoding(declared: DeclaredConsumer, header: str) -> Judge:
    types = declared.topic_event_types
    handler = declared.handler

    async def judge(record: Record) -> tuple[str, str | None]:
        event_type = event_type_of(record, header) or types.get(record.topic)
        return predict_outcome(handler, event_type=event_type, value=record.value)

    return judge


def _handling(plan: ConsumerPlan, state: Mapping[str, Any], threads: ThreadPoolExecutor) -> Judge:
    identity, limit_s, shortest_s = plan.identity, plan.settings.max_endpoint_exec_time_s, plan.shortest_limit_s

    async def judge(record: Record) -> tuple[str, str | None]:
        [work] = works(plan.dispatch, [record], lambda: Slot(identity, state, threads))
        attempt = Attempt(work.records[0], work.slot, limit_s=limit_s, shortest_limit_s=shortest_s)
        result = await attempt.run(work)
        if isinstance(result, Fatal):
            raise result.error
        [ended] = work.results(result)
        return _said(delivery_of(ended))

    return judge


def _said(delivery: Delivery) -> tuple[str, str | None]:
    match delivery:
        case Delivery(outcome="done" | "skip" as outcome):
            return outcome, None
        case Delivery(outcome="unmatched", reason=reason):
            return f"unmatched ({reason})", None
        case Delivery(outcome="failed", error=error) if error is not None:
            return "failed", f"{type(reported_exception(error)).__name__}: {failure_message(error)}"
        case Delivery(outcome=outcome, reason=reason):
            return outcome, f"the endpoint says {outcome}" + (f": {reason}" if reason else "")


# ---------------------------------------------------------------------------- words


def _say(report: Report, *, dry_run: bool, as_json: bool) -> None:
    if as_json:
        failures = [{"record": address, "why": why} for address, why in report.failures]
        print_json(
            {
                "dry_run": dry_run,
                "read": report.read,
                "outcomes": dict(report.outcomes),
                "failed": report.failed,
                "failures": failures,
            }
        )
        return
    for address, why in report.failures:
        print(f"{'would fail' if dry_run else 'failed'}  {address}: {plain(why)}", file=sys.stderr)
    if report.failed > SHOWN:
        print(f"and {report.failed - SHOWN} more", file=sys.stderr)
    by_number = sorted(report.outcomes.items(), key=lambda pair: (-pair[1], pair[0]))
    each = ", ".join(f"{many} {outcome}" for outcome, many in by_number)
    print(f"{report.read} record{'' if report.read == 1 else 's'}" + (f": {each}" if each else ""))
